"""The planner: what falls due is claimed in time, once, whatever happens to schedules, clock and database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import Occurrence, Outcome
from scheduler.domain.job import STANDARD_SIZES, Job, JobDefinition, MisfirePolicy
from scheduler.planning.claims import Claims
from scheduler.planning.planner import Planner
from scheduler.policy.job_rules import with_schedule
from scheduler.store import jobs, ledger
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade
from tests.lab.clock import SettableClock

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
PATIENCE = 120.0
NAMES = itertools.count(1)


class Scene:
    """A planner at work, and what it decided."""

    def __init__(self, database: Database, clock: SettableClock) -> None:
        self.database = database
        self.clock = clock
        self.decided: asyncio.Queue[Claims] = asyncio.Queue()
        self.planner = Planner(
            database, clock, STANDARD_SIZES, horizon=timedelta(seconds=60), on_claims=self.decided.put_nowait
        )

    @asynccontextmanager
    async def planning(self) -> AsyncIterator[None]:
        """Let it run meanwhile."""
        task = asyncio.create_task(self.planner.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def store_soon(self, schedule: str, seconds: float, **changes) -> tuple[datetime, Job]:
        """A job whose schedule begins in a little while, and when; however late the machine, its runs are made."""
        now = self.clock.now()
        start = now + timedelta(seconds=seconds)
        changes = {"misfire_grace_seconds": 3600, **changes}
        return start, await self.store(schedule.format(at(start)), since=now, **changes)

    async def store(
        self, schedule: str, *, tell: bool = True, since: datetime | None = None, **changes
    ) -> Job:
        """A job whose schedule was switched on at `since` (now if not given)."""
        [job] = await self.store_many(1, schedule, since=since, **changes)
        if tell:
            self.planner.job_changed(job)
        return job

    async def store_many(
        self, count: int, schedule: str, *, since: datetime | None = None, **changes
    ) -> list[Job]:
        """As many jobs with the same schedule, of which the planner is not told."""
        now = self.clock.now()
        base = JobDefinition(
            name="",
            namespace="team",
            docker_image_repo="busybox",
            is_schedule_active=True,
            schedule_mode=schedule,
            **changes,
        )
        base, cursor = with_schedule(base, None, since or now)
        made = [replace(base, name=f"job {next(NAMES)}") for _ in range(count)]
        return await self.database.write(
            lambda c: [jobs.insert(c, one, cursor, created_by="ada", now=now) for one in made]
        )

    async def until(self, is_done: Callable[[list[Occurrence]], bool], job: Job) -> list[Occurrence]:
        """The job's ledger, newest due time first, once it is as wanted."""
        async with asyncio.timeout(PATIENCE):
            while not is_done(found := await self.ledger(job)):
                await self.decided.get()
        return found

    async def ledger(self, job: Job) -> list[Occurrence]:
        """The job's ledger, newest due time first."""
        _, found = await self.database.read(
            lambda c: ledger.page(
                c, job_id=job.id, start=None, end=None, outcomes=None, offset=0, limit=20_000
            )
        )
        return found


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A planner over an empty database."""
    database = Database(f"sqlite:///{tmp_path / 'timeball.db'}")
    database.migrate(upgrade)
    yield Scene(database, SettableClock())
    await database.close()


def at(moment: datetime) -> str:
    """A moment as schedules write it."""
    return moment.isoformat().replace("+00:00", "Z")


async def test_a_stored_schedule_runs_at_each_of_its_due_times(scene: Scene) -> None:
    """Three due times a second apart: three rows, each due when the schedule says, and no fourth."""
    start, job = await scene.store_soon("R3/{}/PT1S", 0.5, tell=False)

    async with scene.planning():
        found = await scene.until(lambda entries: len(entries) == 3, job)

    assert [entry.due_at for entry in reversed(found)] == [start, start + SECOND, start + 2 * SECOND]
    assert {entry.outcome for entry in found} == {Outcome.RAN}
    assert all(entry.decided_at >= entry.due_at for entry in found)


async def test_a_new_schedule_takes_effect_at_once(scene: Scene) -> None:
    """Told of a job, the planner does not wait for its next scan."""
    async with scene.planning():
        await asyncio.sleep(0)
        _, job = await scene.store_soon("R1/{}/PT1H", 0.25)

        [entry] = await scene.until(bool, job)

    assert entry.outcome is Outcome.RAN


@pytest.mark.parametrize("rounds", range(5))
async def test_a_stop_in_the_moment_of_a_wake_is_not_lost(scene: Scene, rounds: int) -> None:
    """However many rounds of the event loop lie between the two."""
    planning = asyncio.create_task(scene.planner.run())
    async with asyncio.timeout(PATIENCE):
        while not scene.planner._rescan._waiters:  # noqa: ASYNC110 - nothing tells that it waits
            await asyncio.sleep(0.002)
        scene.planner._rescan.set()
        for _ in range(rounds):
            await asyncio.sleep(0)
        planning.cancel()
        await asyncio.gather(planning, return_exceptions=True)


async def test_a_schedule_that_was_switched_off_runs_no_more(scene: Scene) -> None:
    """Switched off between two due times, the second leaves no row."""
    async with scene.planning():
        for step in (1, 2, 4, 8, 16, 32):
            start, job = await scene.store_soon(f"R/{{}}/PT{step}S", 0.25)
            other = await scene.store(f"R/{at(start)}/PT{step}S", since=start, misfire_grace_seconds=3600)
            await scene.until(bool, job)
            stored = await scene.database.read(lambda c, job_id=job.id: jobs.get(c, job_id))
            assert stored is not None
            definition, cursor = with_schedule(
                replace(stored.definition, is_schedule_active=False), stored, scene.clock.now()
            )
            await scene.database.write(
                lambda c, one=stored, changed=(definition, cursor): jobs.update(
                    c, one.id, *changed, now=scene.clock.now()
                )
            )
            scene.planner.job_changed(replace(stored, definition=definition, cursor=cursor))
            if scene.clock.now() < start + step * SECOND:
                break  # else the machine was too slow to switch it off in between
        await scene.until(lambda entries: len(entries) >= 3, other)

    assert len(await scene.ledger(job)) == 1


@pytest.mark.parametrize(
    ("policy", "runs"), [(MisfirePolicy.LATEST, 1), (MisfirePolicy.SKIP, 0), (MisfirePolicy.ALL, 10)]
)
async def test_due_times_from_before_the_start_follow_the_misfire_policy(
    scene: Scene, policy: MisfirePolicy, runs: int
) -> None:
    """Ten due times while nobody watched: as many runs as promised, a row for every other one."""
    since = scene.clock.now() - 600 * SECOND
    job = await scene.store(f"R10/{at(since)}/PT60S", tell=False, since=since, misfire_policy=policy)

    async with scene.planning():
        found = await scene.until(lambda entries: len(entries) == 10, job)

    assert sum(entry.outcome is Outcome.RAN for entry in found) == runs
    assert sum(entry.outcome is Outcome.MISSED for entry in found) == 10 - runs
    assert all(entry.reason for entry in found if entry.outcome is Outcome.MISSED)
    if policy is MisfirePolicy.LATEST:
        assert found[0].outcome is Outcome.RAN


async def test_ten_thousand_missed_due_times_are_all_in_the_ledger(scene: Scene) -> None:
    """One run for the newest, 9,999 rows for the others, each due time once."""
    since = (scene.clock.now() - 20_000 * SECOND).replace(microsecond=0)
    job = await scene.store(f"R10000/{at(since)}/PT1S", tell=False, since=since)

    async with scene.planning():
        found = await scene.until(lambda entries: len(entries) == 10_000, job)

    assert [entry.due_at for entry in reversed(found)] == [since + SECOND * n for n in range(10_000)]
    assert [entry.outcome for entry in found].count(Outcome.RAN) == 1
    assert found[0].outcome is Outcome.RAN


async def test_an_outage_of_a_year_does_not_write_a_row_a_second(scene: Scene) -> None:
    """The oldest of 31 million due times share a row that says how many they are."""
    since = (scene.clock.now() - 365 * 24 * HOUR).replace(microsecond=0)
    job = await scene.store(f"R/{at(since)}/PT1S", tell=False, since=since, misfire_policy=MisfirePolicy.SKIP)

    async with scene.planning():
        async with asyncio.timeout(PATIENCE):
            await scene.decided.get()
        first = (await scene.ledger(job))[-1]

    assert first.due_at == since
    assert first.outcome is Outcome.MISSED
    assert "later due times until" in (first.reason or "")
    stored = await scene.database.read(lambda c: jobs.get(c, job.id))
    assert stored is not None
    assert stored.cursor.next_due_at is not None
    left = (scene.clock.now() - stored.cursor.next_due_at) / SECOND
    assert 99_000 < left <= 100_001


async def test_a_clock_set_forward_misses_what_it_jumped_over(scene: Scene) -> None:
    """Two hours are skipped: the newest due time in them runs, the others are recorded, none is lost."""
    start = (scene.clock.now() + HOUR / 2).replace(microsecond=0)
    job = await scene.store(f"R3/{at(start)}/PT30M")

    async with scene.planning():
        await asyncio.sleep(0)
        scene.clock.jump(2 * HOUR)
        scene.planner.check_clock()
        found = await scene.until(lambda entries: len(entries) == 3, job)

    assert [entry.outcome for entry in found] == [Outcome.RAN, Outcome.MISSED, Outcome.MISSED]


async def test_a_daemon_that_stood_still_misses_what_fell_due_meanwhile(scene: Scene) -> None:
    """Stopped for two hours with SIGSTOP, it does not start everything at once that it would have started."""
    start = (scene.clock.now() + HOUR / 2).replace(microsecond=0)
    job = await scene.store(f"R3/{at(start)}/PT30M")

    async with scene.planning():
        await asyncio.sleep(0)
        scene.clock.stand_still(2 * HOUR)
        scene.planner.check_clock()
        found = await scene.until(lambda entries: len(entries) == 3, job)

    assert [entry.outcome for entry in found] == [Outcome.RAN, Outcome.MISSED, Outcome.MISSED]


async def test_a_clock_set_back_runs_nothing_twice(scene: Scene) -> None:
    """What has run before the jump does not run again when its time comes a second time."""
    _, job = await scene.store_soon("R2/{}/PT1S", 0.25)
    async with scene.planning():
        await scene.until(lambda entries: len(entries) == 2, job)
        scene.clock.jump(-HOUR)
        scene.planner.check_clock()
        _, later = await scene.store_soon("R1/{}/PT1S", 0.5)
        await scene.until(bool, later)

    assert len(await scene.ledger(job)) == 2


async def test_a_thousand_due_at_once_are_claimed_in_few_transactions(scene: Scene) -> None:
    """A burst is decided in batches, every due time of it once."""
    now = scene.clock.now()
    made = await scene.store_many(1_000, f"R1/{at(now + SECOND)}/PT1H", since=now, misfire_grace_seconds=3600)
    total, transactions = 0, 0

    async with scene.planning(), asyncio.timeout(PATIENCE):
        while total < len(made):
            total += len((await scene.decided.get()).execs)
            transactions += 1

    assert total == len(made)
    assert transactions <= 50


async def test_a_database_that_refuses_is_asked_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that failed is not lost."""
    monkeypatch.setattr("scheduler.planning.planner.RETRY_INTERVAL", 0.01)
    real, refusals = scene.database.write, iter([True])

    async def refuse_once(work, **options):
        if next(refusals, False):
            raise UnavailableError("locked")
        return await real(work, **options)

    _, job = await scene.store_soon("R1/{}/PT1H", 0.25, tell=False)
    monkeypatch.setattr(scene.database, "write", refuse_once)

    async with scene.planning():
        [entry] = await scene.until(bool, job)

    assert entry.outcome is Outcome.RAN
