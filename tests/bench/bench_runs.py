"""How fast runs start, beside `docker run` of the same in the same minutes; and what an idle daemon costs.

Run it with ``pytest tests/bench/bench_runs.py --bench -s`` on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.domain.job import STANDARD_SIZES
from scheduler.store import tables
from tests.bench.figures import Figure, median, percentile, resident_megabytes
from tests.bench.million import fill
from tests.lab.timeball import Timeball, until

pytestmark = [pytest.mark.bench, pytest.mark.engine]

PAIRS = 25
BURST = 60
PARALLEL = 16
STORED = 10_000
DUE = 100
COMMAND = ["echo", "hello"]
SIZE = STANDARD_SIZES["XXS"]


@pytest.fixture
async def timeball(tmp_path: Path, engine_url: str, busybox_image: str) -> AsyncIterator[Timeball]:
    """A daemon on the real engine."""
    timeball = Timeball(tmp_path / "data", engine_url, busybox_image)
    await timeball.start()
    yield timeball
    await timeball.clear_away()


async def docker_run(image: str) -> float:
    """Run the command with the client of the engine, under the same limits; answers the seconds it took."""
    began = time.perf_counter()
    limits = [f"--cpus={SIZE.cpus}", f"--memory={SIZE.memory_mib}m", "--pids-limit=512"]
    process = await asyncio.create_subprocess_exec(
        "docker", "run", "--rm", *limits, image, *COMMAND, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    return time.perf_counter() - began


async def first_line(timeball: Timeball, job: int) -> float:
    """Trigger a run and read its log until its first line stands there; answers the seconds it took."""
    began = time.perf_counter()
    one = await timeball.trigger(job)
    while not await timeball.lines(job, one):  # noqa: ASYNC110
        await asyncio.sleep(0)  # ask again at once, as fast as answers come
    took = time.perf_counter() - began
    await timeball.until_ended(job, one)
    return took


async def test_the_first_line_is_readable_as_soon_as_docker_run_shows_it(
    timeball: Timeball, busybox_image: str
) -> None:
    """From `POST …/execs` to the first line read, beside the wall time of `docker run`, in turns."""
    job = await timeball.create(COMMAND, resource_size="XXS")
    ours, theirs = [], []
    for counted in range(-2, PAIRS):
        pair = (await first_line(timeball, job), await docker_run(busybox_image))
        if counted >= 0:
            ours.append(pair[0])
            theirs.append(pair[1])

    ratio = median([a / b for a, b in zip(ours, theirs, strict=True)])
    detail = f"{median(ours) * 1e3:.0f} ms beside {median(theirs) * 1e3:.0f} ms"
    figure = Figure("POST to first line / docker run", ratio, 1.15, "×", detail)
    figure.show()
    assert figure.is_met


async def test_a_burst_of_runs_is_as_fast_as_sixteen_docker_runs_in_parallel(
    timeball: Timeball, busybox_image: str
) -> None:
    """Sixty runs accepted at once, until all have ended; before and after, as many by `docker run`."""

    async def by_docker() -> float:
        gate = asyncio.Semaphore(PARALLEL)

        async def one() -> None:
            async with gate:
                await docker_run(busybox_image)

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(BURST)))
        return BURST / (time.perf_counter() - began)

    async def by_timeball() -> float:
        job = await timeball.create(COMMAND, resource_size="XXS")
        began = time.perf_counter()
        await asyncio.gather(*(timeball.trigger(job) for _ in range(BURST)))

        async def open_runs() -> int:
            # Looked up beside the daemon and seldom: listing runs would take processor time from the engine.
            await asyncio.sleep(0.2)
            with timeball.database() as connection:
                return connection.execute("SELECT count(*) FROM execs WHERE ended_at IS NULL").fetchone()[0]

        await until(open_runs, lambda count: count == 0, seconds=180)
        took = time.perf_counter() - began
        ended = await timeball.until_all_ended(job, count=BURST)
        assert {one["status"] for one in ended} == {"S"}
        return BURST / took

    rates = [(await by_timeball(), await by_docker()) for _ in range(3)]
    ratio = median([ours / theirs for ours, theirs in rates])
    detail = f"{median([r[0] for r in rates]):.1f} a second beside {median([r[1] for r in rates]):.1f}"
    figure = Figure(f"{BURST} runs at once / docker run × {PARALLEL}", ratio, 1.0, "×", detail, at_least=True)
    figure.show()
    assert figure.is_met


async def test_runs_start_on_time_beside_ten_thousand_schedules(
    tmp_path: Path, engine_url: str, busybox_image: str
) -> None:
    """From the due time to the request to start the container, while ten thousand schedules are stored."""
    timeball = Timeball(tmp_path / "data", engine_url, busybox_image)
    repository, tag = busybox_image.rsplit(":", 1)
    begin = datetime.now(UTC) + timedelta(seconds=15)
    dice = random.Random(1)  # noqa: S311 - the same times in every run
    # About one a second: what is measured is the daemon's delay, not how engines start many at once.
    spread = [begin + timedelta(seconds=second + dice.uniform(0, 0.4)) for second in range(DUE)]
    far = begin + timedelta(hours=5)
    await asyncio.to_thread(
        fill,
        timeball.data_dir / "timeball.db",
        [*((moment, 3600 * 24) for moment in spread), *((far, 3600) for _ in range(STORED - DUE))],
        image=(repository, tag),
        region="LOCAL",
    )
    await timeball.start()
    try:
        until = time.monotonic() + (max(spread) - datetime.now(UTC)).total_seconds() + 120
        while time.monotonic() < until:
            with timeball.database() as connection:
                ended = connection.execute(
                    "SELECT count(*) FROM execs WHERE ended_at IS NOT NULL"
                ).fetchone()[0]
            if ended == DUE:
                break
            await asyncio.sleep(1)
        with timeball.database() as connection:
            rows = connection.execute("SELECT job_id, id, scheduled_for FROM execs").fetchall()
        begun, late = [], []
        for job, one, due in rows:
            for line in await timeball.logs(job, one, stream="system"):
                after = (tables.to_micros(datetime.fromisoformat(line["timestamp"])) - due) / 1e3
                if line["message"] == "Start running!":
                    late.append(after)
                elif line["message"].startswith("Start pulling"):
                    begun.append(after)
    finally:
        await timeball.clear_away()

    assert len(late) == DUE
    detail = (
        f"median {median(late):.1f} (launch begun {median(begun):.1f}), "
        f"p90 {percentile(late, 0.9):.1f}, worst {max(late):.1f}"
    )
    figure = Figure("due time to start requested, p99", percentile(late, 0.99), 50, "ms", detail)
    figure.show()
    assert figure.is_met


async def test_an_idle_daemon_costs_next_to_nothing(timeball: Timeball) -> None:
    """Resident memory after the first start, and processor time over twenty seconds."""
    pid = timeball.pid
    ticks = os.sysconf("SC_CLK_TCK")

    def spent() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    await asyncio.sleep(3)
    began, before = time.perf_counter(), spent()
    await asyncio.sleep(20)
    share = (spent() - before) / (time.perf_counter() - began) * 100
    resident = resident_megabytes(pid)
    figures = [
        Figure("idle: resident memory", resident, 90, "MB"),
        Figure("idle: of a core", share, 1, "%"),
    ]
    for figure in figures:
        figure.show()
    assert all(figure.is_met for figure in figures)
