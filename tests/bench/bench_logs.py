"""Logs beside the engine's own: how fast they are taken down and found, and what twenty runs cost that print at once.

Run it with ``pytest tests/bench/bench_logs.py --bench -s`` on a machine that does nothing else. The references are
`docker logs` of the same lines, and `attach_prototype`, in turns with ours.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from docker.api.client import APIClient

from tests.bench import attach_prototype
from tests.bench.figures import Figure, median, percentile, resident_megabytes
from tests.lab.timeball import Timeball, script

pytestmark = [pytest.mark.bench, pytest.mark.engine]

LINES = 1_000_000
LINE = "12:00:00.017 INFO GET /v1/items/4711 200 in 31 ms for 10.0.3.42, as in all day"
ROUNDS = 3
FLOODS = 20
#: Limits nothing, so that a run is as free as the containers of the references.
SIZES = "[sizes.FREE]\ncpus = 2\nmemory_mib = 256\n[sizes.ONE]\ncpus = 1\nmemory_mib = 16\n"


def printing(count: int) -> list[str]:
    """A command that prints so many lines of 79 bytes, as fast as it can."""
    assert len(LINE) == 78
    return script(f"yes '{LINE}' | head -n {count}")


@pytest.fixture
async def timeball(tmp_path: Path, engine_url: str, busybox_image: str) -> AsyncIterator[Timeball]:
    """A daemon on the real engine, with room for all."""
    wide = f"[regions.WIDE]\nurl = '{engine_url}'\ncpus = 64\nmemory_mib = 65536\n"
    timeball = Timeball(tmp_path / "data", engine_url, busybox_image, config=SIZES + wide)
    await timeball.start()
    yield timeball
    await timeball.clear_away()


async def docker(*words: str, into: Path | None = None) -> str:
    """Run the engine's own client; answers what it prints, unless that goes into a file."""
    with (into or Path("/dev/null")).open("wb") as file:
        output = asyncio.subprocess.PIPE if into is None else file
        process = await asyncio.create_subprocess_exec(
            "docker", *words, stdout=output, stderr=asyncio.subprocess.STDOUT
        )
        printed, _ = await process.communicate()
    assert process.returncode == 0
    return (printed or b"").decode().strip()


async def by_docker_logs(image: str, command: list[str], path: Path) -> float:
    """Seconds from the start of a container until `docker logs -f -t` has put all into a file."""
    container = await docker("create", image, *command)
    try:
        began = time.perf_counter()
        await docker("start", container)
        await docker("logs", "-f", "-t", container, into=path)
        return time.perf_counter() - began
    finally:
        await docker("rm", "-f", container)


async def by_timeball(timeball: Timeball, job: int) -> float:
    """Seconds from the request to start a container until its run has ended and its last line is read."""
    one = await timeball.trigger(job)
    run = await timeball.until_ended(job, one, seconds=300)
    path = f"/v1/jobs/{job}/execs/{one}/logs"
    [last] = await timeball.get(f"{path}?stream=stdout&order=desc&limit=1")
    seen = time.time()
    assert (run["status"], last["message"]) == ("S", LINE)
    began = next(
        line for line in await timeball.logs(job, one, stream="system") if line["message"] == "Start running!"
    )
    return seen - datetime.fromisoformat(began["timestamp"]).timestamp()


async def test_a_million_lines_are_readable_sooner_than_docker_logs_has_them(
    timeball: Timeball, engine_client: APIClient, engine_url: str, busybox_image: str, tmp_path: Path
) -> None:
    """From the start of the container to all of its 1,000,000 lines of 79 bytes."""
    job = await timeball.create(printing(LINES), resource_size="FREE")
    ours, prototype, followed = [], [], []
    for number in range(ROUNDS):
        took, size = await attach_prototype.take_down(
            engine_client,
            engine_url.removeprefix("unix://"),
            busybox_image,
            printing(LINES),
            tmp_path / f"{number}.db",
        )
        assert size == LINES * 79
        prototype.append(took)
        ours.append(await by_timeball(timeball, job))
        followed.append(await by_docker_logs(busybox_image, printing(LINES), tmp_path / "followed"))
    detail = f"{min(ours):.2f} s beside {min(followed):.2f} s and {min(prototype):.2f} s"
    figures = [
        Figure("1,000,000 lines / docker logs -f -t", min(ours) / min(followed), 0.5, "×", detail),
        Figure("1,000,000 lines / attach prototype", min(ours) / min(prototype), 1.3, "×", detail),
    ]
    for figure in figures:
        figure.show()
    assert all(figure.is_met for figure in figures)


async def best(work: Callable[[], Awaitable[object]], times: int) -> float:
    """The least seconds that something takes."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        took.append(time.perf_counter() - began)
    return min(took)


async def test_a_range_and_the_end_are_found_sooner_than_by_docker_logs(
    timeball: Timeball, busybox_image: str
) -> None:
    """One second's lines, a thousand, in the middle of 1,000,000, and the last hundred of all."""
    half = f"yes '{LINE}' | head -n {LINES // 2}"
    text = script(f"{half}; sleep 2; echo mark >&2; seq 1000; sleep 2; {half}")
    job, run = await timeball.run(text, resource_size="FREE")
    container = await docker("run", "-d", busybox_image, *text)
    try:
        await docker("wait", container)
        [mark] = await timeball.logs(job, run["id"], stream="stderr")
        start = datetime.fromisoformat(mark["timestamp"]).timestamp() - 0.5
        path = f"/v1/jobs/{job}/execs/{run['id']}/logs"
        theirs = (await docker("logs", "-t", container)).splitlines()
        [found] = [line.split()[0] for line in theirs if line.endswith(" mark")]
        moment = datetime.fromisoformat(found[:26] + "+00:00")
        since, until = (
            (moment + timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for s in (-0.5, 0.5)
        )

        async def range_of_ours() -> None:
            assert len(await timeball.get(f"{path}?start_time={start:.6f}&end_time={start + 1:.6f}")) == 1001

        async def range_of_theirs() -> None:
            printed = await docker("logs", "--since", since, "--until", until, container)
            assert len(printed.splitlines()) == 1001

        async def end_of_ours() -> None:
            assert len(await timeball.get(f"{path}?order=desc&limit=100&stream=stdout")) == 100

        async def end_of_theirs() -> None:
            assert len((await docker("logs", "--tail", "100", container)).splitlines()) == 100

        ranges = await best(range_of_theirs, 3), await best(range_of_ours, 10)
        ends = await best(end_of_ours, 10), await best(end_of_theirs, 10)
    finally:
        await docker("rm", "-f", container)
    shown = f"{ranges[1] * 1e3:.1f} ms beside {ranges[0]:.2f} s"
    figures = [
        Figure(
            "docker logs --since --until / a second's range",
            ranges[0] / ranges[1],
            200,
            "×",
            shown,
            at_least=True,
        ),
        Figure(
            "last 100 lines / docker logs --tail 100", ends[0] / ends[1], 1, "×", f"{ends[0] * 1e3:.1f} ms"
        ),
    ]
    for figure in figures:
        figure.show()
    assert all(figure.is_met for figure in figures)


async def test_the_api_stays_quick_while_twenty_runs_print_as_fast_as_they_can(timeball: Timeball) -> None:
    """For ten seconds: the 99th percentile of a small GET, and the daemon's memory."""
    job = await timeball.create(
        script(f"timeout 10 yes '{LINE}'; echo done"), resource_size="ONE", region_name="WIDE"
    )
    runs = [await timeball.trigger(job) for _ in range(FLOODS)]
    for one in runs:
        await timeball.until_status(job, one, "R", *"SFC")
    quick, memory = [], []
    began = time.perf_counter()
    while time.perf_counter() - began < 9:
        asked = time.perf_counter()
        await timeball.get(f"/v1/jobs/{job}")
        quick.append(time.perf_counter() - asked)
        memory.append(resident_megabytes(timeball.pid))
        await asyncio.sleep(0.01)
    await timeball.until_all_ended(job, count=FLOODS, seconds=300)
    memory.append(resident_megabytes(timeball.pid))
    with timeball.database() as connection:
        [[size]] = connection.execute("SELECT sum(raw_bytes) FROM log_chunks").fetchall()
    detail = (
        f"median {median(quick) * 1e3:.1f}, worst {max(quick) * 1e3:.0f}; {size / 1e6:.0f} MB were printed"
    )
    figures = [
        Figure("small GET beside twenty floods, p99", percentile(quick, 0.99) * 1e3, 100, "ms", detail),
        Figure("memory beside twenty floods", max(memory), 300, "MB", f"{memory[-1]:.0f} afterwards"),
    ]
    for figure in figures:
        figure.show()
    assert all(figure.is_met for figure in figures)


async def test_a_line_is_stored_soon_after_it_arrived(timeball: Timeball) -> None:
    """One line every 1.5 s, and many in between: from arrival to committed, with nobody asking for it."""
    text = (
        "for i in $(seq 8); do echo line; sleep 1.5; done; for i in $(seq 60); do echo line; sleep 0.1; done"
    )
    job = await timeball.create(script(text))
    one = await timeball.trigger(job)
    late: list[float] = []
    seen = -1
    with closing(sqlite3.connect(timeball.data_dir / "timeball.db")) as connection:
        while not connection.execute("SELECT 1 FROM execs WHERE id = ? AND ended_at > 0", (one,)).fetchone():
            rows = connection.execute(
                "SELECT seq, first_at FROM log_chunks WHERE exec_id = ? AND seq > ? AND streams & 2",
                (one, seen),
            ).fetchall()
            for seq, first in rows:
                late.append((time.time() - first / 1e6) * 1e3)
                seen = seq
            await asyncio.sleep(0.005)
    detail = f"median {median(late):.0f}, of {len(late)} chunks"
    figure = Figure("a chunk's first line arrived to stored, worst", max(late), 1100, "ms", detail)
    figure.show()
    assert figure.is_met
