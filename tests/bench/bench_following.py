"""How soon a line that was printed is with a follower, and with the command, beside `docker logs -f` on the same run.

The container prints its `/proc/uptime`, which is the machine's: the difference to the reader's own, to a hundredth of
a second, is the time on the way. Both readers read the same lines at the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench.figures import Figure, median, percentile
from tests.lab.timeball import Timeball, script

pytestmark = [pytest.mark.bench, pytest.mark.engine]

LINES = 100
#: Prints a line about every tenth of a second.
PROGRAM = script(
    f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); cut -d' ' -f1 /proc/uptime; sleep 0.1; done; sleep 1"
)


@pytest.fixture
async def timeball(tmp_path: Path, engine_url: str, busybox_image: str) -> AsyncIterator[Timeball]:
    """A daemon on the real engine."""
    timeball = Timeball(tmp_path / "data", engine_url, busybox_image)
    await timeball.start()
    yield timeball
    await timeball.clear_away()


def uptime() -> float:
    """Seconds that the machine has been up."""
    return float(Path("/proc/uptime").read_text().split()[0])


async def by_timeball(timeball: Timeball, path: str) -> list[float]:
    """Seconds on the way, of each line."""
    seconds: list[float] = []
    assert timeball._session is not None
    async with timeball._session.get(timeball._url + path + "?follow=true&stream=stdout") as response:
        async for raw in response.content:
            now = uptime()
            if raw.startswith(b'data: {"message'):
                seconds.append(now - float(json.loads(raw[6:])["message"]))
    return seconds


async def by_docker(container: str) -> list[float]:
    """The same, by the engine's own client."""
    process = await asyncio.create_subprocess_exec(
        "docker", "logs", "-f", container, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    seconds = [uptime() - float(raw) async for raw in process.stdout]
    await process.wait()
    return seconds


async def test_a_printed_line_is_soon_with_its_follower(timeball: Timeball) -> None:
    """Half of them within 150 ms."""
    job = await timeball.create(PROGRAM)
    one = await timeball.trigger(job)
    await timeball.until_status(job, one, "R")
    ours, theirs = await asyncio.gather(
        by_timeball(timeball, f"/v1/jobs/{job}/execs/{one}/logs"), by_docker(f"timeball-{one}")
    )
    # What was printed before they came does not count.
    ours, theirs = ours[-LINES * 3 // 4 :], theirs[-LINES * 3 // 4 :]
    figure = Figure(
        "a line printed → received by a follower, median",
        median(ours) * 1e3,
        150,
        "ms",
        f"95th percentile {percentile(ours, 0.95) * 1e3:.0f} ms; docker logs -f: "
        f"median {median(theirs) * 1e3:.0f} ms, 95th percentile {percentile(theirs, 0.95) * 1e3:.0f} ms; "
        f"ratio {median(ours) / max(median(theirs), 0.005):.1f}",
    )
    figure.show()
    assert len(ours) == LINES * 3 // 4
    assert figure.is_met


async def by_command(timeball: Timeball, job: int) -> list[float]:
    """The same, by `timeball run`, from the run's beginning to its end."""
    where = {"TIMEBALL_URL": timeball._url, "TIMEBALL_DATA_DIR": str(timeball.data_dir)}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("timeball"), "run", str(job), "--quiet",
        stdout=asyncio.subprocess.PIPE, env=os.environ | where,
    )  # fmt: skip
    assert process.stdout is not None
    seconds = [uptime() - float(raw) async for raw in process.stdout]
    assert await process.wait() == 0
    return seconds


async def test_a_printed_line_is_soon_with_who_runs_the_job(timeball: Timeball) -> None:
    """Nineteen of twenty within 200 ms."""
    job = await timeball.create(PROGRAM)
    seconds = await by_command(timeball, job)
    figure = Figure(
        "a line printed → printed by timeball run, 95th percentile",
        percentile(seconds, 0.95) * 1e3,
        200,
        "ms",
        f"median {median(seconds) * 1e3:.0f} ms, longest {max(seconds) * 1e3:.0f} ms",
    )
    figure.show()
    assert len(seconds) == LINES
    assert figure.is_met
