"""Half an hour of a daemon's timers in some seconds: schedules, time limits, graces, back-offs, leases.

By this clock the machine is slow, so nothing is asserted about how late something came: only that it did not
come too early, that nothing is missing, and that nothing came twice.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.access.callers import Caller, Role
from scheduler.daemon import Daemon
from scheduler.domain.execution import Exec, ExecStatus, FailReason, Occurrence, Outcome
from scheduler.domain.job import ConcurrencyPolicy, MisfirePolicy
from scheduler.service import Service
from scheduler.settings.settings import Settings
from scheduler.store import database, execs, ledger
from tests.lab.fake_engine import FAKE_IMAGE, FakeEngine
from tests.lab.fake_programs import FakeProcess, Program, prints, waits, waits_for_stop
from tests.lab.fast_time import FastClock, run_fast

ADMIN = Caller("admin", None, Role.ADMIN)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
FACTOR = 200.0
#: A machine that has hardly any time left for it falls behind the fast clock for good.
pytestmark = pytest.mark.slow
#: Real seconds that anything may take.
PATIENCE = 90.0


class LastingEngine(FakeEngine):
    """An engine that outlives its daemons."""

    async def close(self) -> None:
        """Only the daemon's connection is closed."""

    async def end(self) -> None:
        """End every program."""
        await super().close()


def _takes(seconds: float) -> Program:
    async def program(process: FakeProcess) -> int:
        process.out(b"begin\n")
        await asyncio.sleep(seconds)
        process.out(b"end\n")
        return 0

    return program


class House:
    """A daemon that can be started again, on an engine that stays."""

    def __init__(self, folder: Path, clock: FastClock) -> None:
        self.clock = clock
        self.engine = LastingEngine(clock=clock.now)
        self.engine.programs = {
            ("quick",): prints(b"done\n"),
            ("slow",): _takes(90),
            ("endless",): waits_for_stop(last=b"stopped\n", exit_code=143),
            ("deaf",): waits(out=b"deaf\n"),
            ("fails",): prints(exit_code=5),
        }
        self._folder = folder
        self._daemon: Daemon | None = None
        self.service: Service | None = None
        self._names = itertools.count(1)

    async def start(self) -> None:
        """Start a daemon."""
        settings = Settings(data_dir=self._folder)
        self._daemon = Daemon(settings, self.clock, make_engine=lambda *_: self.engine)
        self.service, _ = await self._daemon.start()

    async def stop(self) -> None:
        """Stop it; a defect of a part of it fails the test."""
        assert self._daemon is not None
        await self._daemon.stop()
        assert self._daemon.failure is None, self._daemon.failure

    async def closed_after(self, work: Awaitable[None]) -> None:
        """Do some work, and take everything down whatever becomes of it."""
        try:
            await work
        finally:
            await self.stop()
            await self.engine.end()

    async def job(self, command: str, **fields: Any) -> int:
        """Create a job and answer its id; with a step it is due from now on."""
        assert self.service is not None
        repository, tag = FAKE_IMAGE.split(":")
        given = {"docker_image_repo": repository, "docker_image_tag": tag, "command": [command]}
        name = f"job-{next(self._names)}"
        return (await self.service.jobs.create(ADMIN, {"name": name, **given, **fields})).job.id

    async def due(self, command: str, schedule: str, **fields: Any) -> int:
        """A job with a schedule, of which every due time is to be decided by itself."""
        return await self.job(
            command,
            schedule_mode=schedule,
            is_schedule_active=True,
            **{"misfire_policy": MisfirePolicy.ALL, **fields},
        )

    async def trigger(self, job: int) -> str:
        """Make a run of a job and answer its id."""
        assert self.service is not None
        return (await self.service.execs.trigger(ADMIN, str(job))).exec.id

    async def runs(self, job: int) -> list[Exec]:
        """All runs of a job, oldest first."""
        assert self.service is not None
        found = await self.service._parts.database.read(
            lambda c: execs.page(c, job_id=job, offset=0, limit=10_000)
        )
        return found[1][::-1]

    async def entries(self, job: int) -> list[Occurrence]:
        """The job's ledger, oldest first."""
        assert self.service is not None
        found = await self.service._parts.database.read(
            lambda c: ledger.page(c, job_id=job, start=None, end=None, outcomes=None, offset=0, limit=10_000)
        )
        return found[1][::-1]

    async def until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Return when it is so; fails when that takes far longer than all of the test should, by the real clock."""
        deadline = time.monotonic() + PATIENCE
        while not await done():
            if time.monotonic() > deadline:
                pytest.fail(f"it did not come about; {await self._shown()}")
            await asyncio.sleep(5)

    async def _shown(self) -> str:
        """What has become of every job, for whoever has to find out why a test failed."""
        told = []
        for job in range(1, next(self._names)):
            entries, runs = await self.entries(job), await self.runs(job)
            still_open = [
                f"{one.id} {one.status.name} {one.dispatched_at}" for one in runs if one.ended_at is None
            ]
            assert self.service is not None
            stands = (await self.service.jobs.get(ADMIN, str(job))).job.cursor.next_due_at
            told.append(
                f"job {job}: {len(entries)} entries, next {stands}, {len(runs)} runs, open: {still_open}"
            )
        return f"now {self.clock.now()}; " + "; ".join(told)

    async def until_over(self, job: int, count: int) -> list[Occurrence]:
        """The job's ledger once it has so many entries and all runs have ended."""

        async def is_over() -> bool:
            if len(await self.entries(job)) < count:
                return False
            return all(one.ended_at is not None for one in await self.runs(job))

        await self.until(is_over)
        return await self.entries(job)


async def _check_ledger(house: House, job: int, count: int, step: timedelta) -> list[Occurrence]:
    """Every due time has one entry, and one run if it ran."""
    entries = await house.until_over(job, count)
    assert [entry.due_at for entry in entries] == [
        entries[0].due_at + number * step for number in range(count)
    ]
    ran = {entry.exec_id: entry.due_at for entry in entries if entry.outcome is Outcome.RAN}
    first = [one for one in await house.runs(job) if one.attempt == 1]
    assert {one.id: one.scheduled_for for one in first} == ran
    assert len(first) == len(ran)
    assert all(one.created_at >= one.scheduled_for for one in first if one.scheduled_for is not None)
    return entries


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house in which time runs fast."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    # The database's threads run at their own pace: by the fast clock each of its answers takes seconds.
    monkeypatch.setattr(database, "ANSWER_SECONDS", 3600.0)
    monkeypatch.setattr(database, "HUNG_SECONDS", 3600.0)
    return House(tmp_path, FastClock(FACTOR))


def test_half_an_hour_of_timers_keeps_every_promise_about_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Due times, time limits, graces and back-offs side by side."""

    async def half_an_hour() -> None:
        await house.start()
        every_minute = await house.due("quick", "R30//PT1M")
        limited = await house.due("endless", "R6//PT5M", timeout_seconds=120)
        overlapping = await house.due("slow", "R20//PT1M", concurrency_policy=ConcurrencyPolicy.FORBID)
        queueing = await house.due("slow", "R10//PT1M", concurrency_policy=ConcurrencyPolicy.QUEUE)
        failing = await house.job("fails", max_retries=4, retry_backoff_seconds=30)
        deaf = await house.job("deaf", stop_grace_seconds=60)
        await house.trigger(failing)
        to_stop = await house.trigger(deaf)

        async def runs() -> bool:
            return (await house.runs(deaf))[0].status is ExecStatus.RUNNING

        await house.until(runs)
        assert house.service is not None
        await house.service.execs.stop(ADMIN, str(deaf), to_stop)

        entries = await _check_ledger(house, every_minute, 30, MINUTE)
        assert {entry.outcome for entry in entries} == {Outcome.RAN}
        assert {one.status for one in await house.runs(every_minute)} == {ExecStatus.SUCCEEDED}
        await _check_ledger(house, limited, 6, 5 * MINUTE)
        for one in await house.runs(limited):
            assert (one.status, one.fail_reason) == (ExecStatus.FAILED, FailReason.TIMEOUT)
            _check_lasted(one, 120 * SECOND)
        outcomes = {entry.outcome for entry in await _check_ledger(house, overlapping, 20, MINUTE)}
        assert outcomes <= {Outcome.RAN, Outcome.SKIPPED}
        for job in (overlapping, queueing):
            _check_one_after_the_other(await house.runs(job), 90 * SECOND)
        await _check_ledger(house, queueing, 10, MINUTE)
        assert len(await house.runs(queueing)) == 10
        _check_back_offs(await house.runs(failing), count=5, first=30 * SECOND)
        [stopped] = await house.runs(deaf)
        assert (stopped.status, stopped.exit_code) == (ExecStatus.CANCELLED, 137)
        assert stopped.ended_at is not None
        assert stopped.stop_requested_at is not None
        assert stopped.ended_at - stopped.stop_requested_at >= 60 * SECOND
        assert not house.engine.containers

    run_fast(house.clock, house.closed_after(half_an_hour()), monkeypatch)


def _check_lasted(one: Exec, least: timedelta) -> None:
    assert one.started_at is not None
    assert one.ended_at is not None
    assert one.ended_at - one.started_at >= least


def _check_one_after_the_other(runs: list[Exec], least: timedelta) -> None:
    assert runs
    for one in runs:
        assert one.status is ExecStatus.SUCCEEDED
        _check_lasted(one, least)
    for one, following in itertools.pairwise(sorted(runs, key=lambda run: run.created_at)):
        assert one.ended_at is not None
        assert following.started_at is not None
        assert following.started_at >= one.ended_at


def _check_back_offs(attempts: list[Exec], *, count: int, first: timedelta) -> None:
    """Each attempt keeps to a pause twice as long as the one before, with up to a tenth more."""
    assert [one.attempt for one in attempts] == list(range(1, count + 1))
    for number, (one, following) in enumerate(itertools.pairwise(attempts)):
        assert (one.status, one.exit_code, following.retry_of) == (ExecStatus.FAILED, 5, attempts[0].id)
        assert following.not_before is not None
        pause = following.not_before - following.created_at
        assert first * 2**number <= pause <= first * 2**number * 1.1 + SECOND
        assert following.started_at is not None
        assert following.started_at >= following.not_before


def test_neither_restarts_nor_a_clock_that_is_set_lose_or_repeat_a_due_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour, in which the daemon ends three times and the clock is set forward and back twice."""
    dice = random.Random(4711)  # noqa: S311 - chooses moments, guards nothing

    async def half_an_hour() -> None:
        await house.start()
        every_ten, every_minute = (
            await house.due("quick", "R180//PT10S"),
            await house.due("slow", "R30//PT1M"),
        )
        for step in (-7 * MINUTE, None, 5 * MINUTE, None, -3 * MINUTE, None, 11 * MINUTE):
            await asyncio.sleep(dice.uniform(60, 180))
            if step is not None:
                house.clock.jump(step)
                continue
            await house.stop()
            await asyncio.sleep(dice.uniform(1, 120))
            await house.start()

        await _check_ledger(house, every_ten, 180, 10 * SECOND)
        await _check_ledger(house, every_minute, 30, MINUTE)
        for job, count in ((every_ten, 180), (every_minute, 30)):
            runs = await house.runs(job)
            assert len(runs) == count
            assert {one.status for one in runs} == {ExecStatus.SUCCEEDED}
        assert not house.engine.containers

    run_fast(house.clock, house.closed_after(half_an_hour()), monkeypatch)
