"""A million schedules: what they cost at rest, how late due times are claimed, and how bursts are.

Run it with ``pytest tests/bench/bench_planning.py --bench -s`` on a machine that does nothing else. The region's
engine does not exist, so that nothing but the planning is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from tests.bench.figures import Figure, median, percentile, resident_megabytes
from tests.bench.million import fill
from tests.lab.timeball import Timeball, until

pytestmark = pytest.mark.bench

TOTAL = 1_000_000
RATE = 100
SECONDS = 60
NOWHERE = "unix:///nonexistent/engine.sock"


def prepared(tmp_path: Path, schedules: Iterator[tuple[datetime, int]]) -> Timeball:
    """A daemon that is not started yet, over a database with the schedules."""
    timeball = Timeball(tmp_path / "data", NOWHERE, "none:1")
    fill(timeball.data_dir / "timeball.db", schedules, image=("none", "1"), region="LOCAL")
    return timeball


def lateness(timeball: Timeball, since: datetime) -> list[float]:
    """Milliseconds from each due time after `since` to its claim."""
    with timeball.database() as connection:
        rows = connection.execute(
            "SELECT decided_at - due_at FROM occurrences WHERE due_at >= ?",
            (int(since.timestamp() * 1e6),),
        )
        return [row[0] / 1e3 for row in rows]


async def test_a_million_schedules_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    """Start-up, memory and lateness with a hundred due every second."""
    begin = datetime.now(UTC) + timedelta(seconds=60)
    every = TOTAL // RATE

    def schedules() -> Iterator[tuple[datetime, int]]:
        return ((begin + timedelta(seconds=number / RATE), every) for number in range(TOTAL))

    timeball = await asyncio.to_thread(prepared, tmp_path, schedules())
    began = time.perf_counter()
    await timeball.start(until_ready=False)
    ready = time.perf_counter() - began
    try:
        await asyncio.sleep(max(0, (begin - datetime.now(UTC)).total_seconds()))
        most = 0.0
        for _ in range(SECONDS):
            await asyncio.sleep(1)
            most = max(most, resident_megabytes(timeball.pid))
        late = lateness(timeball, max(begin, datetime.now(UTC) - timedelta(seconds=SECONDS)))
    finally:
        await timeball.kill()

    assert len(late) > RATE * SECONDS * 0.95
    figures = [
        Figure(f"{TOTAL:,} schedules: ready after", ready, 3, "s"),
        Figure(f"{TOTAL:,} schedules: resident memory", most, 200, "MB"),
        Figure(
            f"{RATE} due a second: lateness of the claim, p99",
            percentile(late, 0.99),
            50,
            "ms",
            f"median {median(late):.1f}, worst {max(late):.1f}, {len(late)} due",
        ),
    ]
    for figure in figures:
        figure.show()
    assert all(figure.is_met for figure in figures)


async def apscheduler_alone(count: int) -> float:
    """Seconds that APScheduler's own memory store needs to fire as many no-ops due in the same instant."""
    scheduler = AsyncIOScheduler(timezone="UTC", job_defaults={"misfire_grace_time": None})
    fired, done = 0, asyncio.Event()

    async def no_op() -> None:
        nonlocal fired
        fired += 1
        if fired == count:
            done.set()

    due = datetime.now(UTC) + timedelta(seconds=2 + count / 2_000)
    for number in range(count):
        scheduler.add_job(no_op, "date", run_date=due, id=str(number))
    scheduler.start()
    await done.wait()
    took = (datetime.now(UTC) - due).total_seconds()
    scheduler.shutdown(wait=False)
    return took


@pytest.mark.parametrize(("count", "seconds", "p99"), [(1_000, 1.0, 500.0), (10_000, 8.0, 8_000.0)])
async def test_a_burst_is_claimed_in_time(tmp_path: Path, count: int, seconds: float, p99: float) -> None:
    """As many due in the same instant: ledger and execs written, beside APScheduler firing no-ops."""
    due = (datetime.now(UTC) + timedelta(seconds=15)).replace(microsecond=0)
    timeball = await asyncio.to_thread(prepared, tmp_path, ((due, 3600) for _ in range(count)))
    await timeball.start(until_ready=False)
    try:

        async def claimed() -> list[float]:
            return lateness(timeball, due)

        late = await until(claimed, lambda found: len(found) == count)
        with timeball.database() as connection:
            last = connection.execute("SELECT max(created_at) FROM execs").fetchone()[0]
    finally:
        await timeball.kill()
    alone = await apscheduler_alone(count)

    took = last / 1e6 - due.timestamp()
    detail = f"APScheduler's memory store alone fired {count:,} no-ops in {alone:.2f} s: {took / alone:.1f} ×"
    figures = [
        Figure(f"{count:,} due at once: the last claim begins after", took, seconds, "s", detail),
        Figure(f"{count:,} due at once: lateness, p99", percentile(late, 0.99), p99, "ms"),
    ]
    for figure in figures:
        figure.show()
    assert all(figure.is_met for figure in figures)
