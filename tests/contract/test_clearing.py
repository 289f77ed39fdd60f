"""What is cleared away and what is kept, on every database that the store supports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.domain.drafting import draft_exec
from scheduler.domain.execution import Exec, ExecStatus, Occurrence, Outcome, TriggerMode
from scheduler.domain.filters import ExecFilter, JobFilter, Order
from scheduler.domain.job import STANDARD_SIZES, Job, JobDefinition, ScheduleCursor
from scheduler.keeping.cleaner import Cleaner
from scheduler.keeping.retention import Retention
from scheduler.planning.claims import DueTimes, claim
from scheduler.store import exec_lists, execs, identity, jobs, ledger, queue, stats
from scheduler.store.database import Database
from scheduler.store.logs import ChunkRow, insert
from scheduler.store.tables import discarded_logs, log_chunks
from scheduler.store.tables import execs as exec_rows
from tests.contract.conftest import another

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
FOR_EVER = Retention(days=0, count=0, log_bytes=0)


class StandingClock:
    """Always shows the same time, until it is set."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        """The time that was set."""
        return self.moment

    def steady(self) -> float:
        """Stands as well."""
        return 0.0


@pytest.fixture
def clock() -> StandingClock:
    """The time of the test."""
    return StandingClock()


@pytest.fixture
def clean(database: Database, clock: StandingClock) -> Callable[..., Any]:
    """One round of cleaning, by a daemon of that name."""

    async def run(kept: Retention = FOR_EVER, *, instance: str = "a", **more: Any) -> bool:
        cleaner = Cleaner(database, clock, kept, instance=instance, interval=timedelta(seconds=60), **more)
        return await cleaner.clean()

    return run


async def make_job(database: Database, name: str = "job", **changes: Any) -> Job:
    """A stored job."""
    made = replace(JobDefinition(name=name, namespace="team", docker_image_repo="busybox"), **changes)
    return await database.write(
        lambda c: jobs.insert(c, made, ScheduleCursor(), created_by="ada", now=NOW - DAY * 1_000)
    )


async def make_exec(
    database: Database, job: Job, *, age: timedelta, ended: bool = True, log: int = 0
) -> Exec:
    """A stored exec of that age, with a log of so many bytes; one that has ended did so a second later."""
    made = draft_exec(job, STANDARD_SIZES, trigger_mode=TriggerMode.MANUAL, created_by="ada", now=NOW - age)

    def work(connection: sa.Connection) -> None:
        execs.insert(connection, [made])
        insert(
            connection,
            [chunk(made.id, seq, min(left, 1_000)) for seq, left in enumerate(range(log, 0, -1_000))],
        )
        if ended:
            execs.change_status(
                connection, made.id, ExecStatus.WAITING, ExecStatus.CANCELLED, ended_at=NOW - age + SECOND
            )

    await database.write(work)
    return made


def chunk(exec_id: str, seq: int, size: int) -> ChunkRow:
    """A piece of a log."""
    return ChunkRow(exec_id, seq, NOW, NOW, 0, 0, 1, 0, None, None, size, bytes(size))


async def kept_of(database: Database, job: Job) -> list[str]:
    """The ids of the job's execs, oldest first."""
    _, found = await database.read(lambda c: execs.page(c, job_id=job.id, offset=0, limit=1_000))
    return [one.id for one in reversed(found)]


async def count(database: Database, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    """How many rows there are."""
    query = sa.select(sa.func.count()).select_from(table).where(*where)
    return int(await database.read(lambda c: c.execute(query).scalar_one()))


async def make_ledger(
    database: Database, job: Job, *ages: timedelta, decided: timedelta | None = None
) -> None:
    """Entries for due times of these ages."""
    entries = [
        Occurrence(
            job_id=job.id,
            due_at=NOW - age,
            outcome=Outcome.RAN,
            exec_id=f"exec of {age}",
            reason=None,
            decided_at=NOW - (age if decided is None else decided),
        )
        for age in ages
    ]
    await database.write(lambda c: ledger.record(c, entries))


async def ages_of_ledger(database: Database, job: Job) -> list[timedelta]:
    """How old the due times are that the ledger has, oldest first."""
    _, found = await database.read(
        lambda c: ledger.page(c, job_id=job.id, start=None, end=None, outcomes=None, offset=0, limit=100)
    )
    return [NOW - entry.due_at for entry in reversed(found)]


async def test_what_ended_longer_ago_than_is_kept_goes(database: Database, clean: Callable[..., Any]) -> None:
    """By its end, not by its beginning; with its log, of whatever size."""
    job = await make_job(database)
    gone = [await make_exec(database, job, age=DAY * n, log=n * 1_000) for n in (99, 91)]
    stays = [await make_exec(database, job, age=DAY * n, log=3_000) for n in (89, 1)]
    await make_exec(database, job, age=timedelta())
    large = await make_exec(database, job, age=DAY * 95, log=200_000)

    assert await clean(replace(FOR_EVER, days=90))

    assert (await kept_of(database, job))[:-1] == [one.id for one in stays]
    for one in (*gone, large):
        assert await count(database, log_chunks, log_chunks.c.exec_id == one.id) == 0
    assert await count(database, log_chunks) == 6
    assert await count(database, discarded_logs) == 0


async def test_the_newest_run_of_a_job_and_one_that_has_not_ended_always_stay(
    database: Database, clean: Callable[..., Any]
) -> None:
    """However old, however many, however large."""
    job, other = await make_job(database), await make_job(database, "other")
    going = await make_exec(database, job, age=DAY * 500, ended=False)
    await make_exec(database, job, age=DAY * 400, log=5_000)
    newest = await make_exec(database, job, age=DAY * 300, log=5_000)
    only = await make_exec(database, other, age=DAY * 300, log=5_000)

    await clean(Retention(days=1, count=1, log_bytes=1))

    assert await kept_of(database, job) == [going.id, newest.id]
    assert await kept_of(database, other) == [only.id]


async def test_of_too_many_runs_the_oldest_go(database: Database, clean: Callable[..., Any]) -> None:
    """As many as are too many."""
    job = await make_job(database)
    made = [await make_exec(database, job, age=SECOND * (50 - n)) for n in range(12)]

    await clean(replace(FOR_EVER, count=5))

    assert await kept_of(database, job) == [one.id for one in made[-5:]]


async def test_runs_that_have_not_ended_take_no_place_of_those_that_have(
    database: Database, clean: Callable[..., Any]
) -> None:
    """However long the queue, as many ended runs as are kept stay readable."""
    job = await make_job(database)
    ended = [await make_exec(database, job, age=DAY * days) for days in (9, 8, 7, 6)]
    waiting = [await make_exec(database, job, age=SECOND * n, ended=False) for n in range(5)]

    await clean(replace(FOR_EVER, count=3))

    assert set(await kept_of(database, job)) == {one.id for one in ended[1:] + waiting}


async def test_of_too_large_logs_the_oldest_go_whole(database: Database, clean: Callable[..., Any]) -> None:
    """Until the others together are small enough, and no further."""
    job = await make_job(database)
    made = [await make_exec(database, job, age=SECOND * (50 - n), log=4_000) for n in range(10)]

    await clean(replace(FOR_EVER, log_bytes=10_000))

    assert await kept_of(database, job) == [one.id for one in made[-2:]]
    assert await count(database, log_chunks) == 8


async def test_a_job_says_for_itself_what_it_keeps(database: Database, clean: Callable[..., Any]) -> None:
    """More than the settings, less, or without limit; null leaves it to them."""
    more = await make_job(database, "more", retention_count=4)
    less = await make_job(database, "less", retention_count=1)
    unlimited = await make_job(database, "unlimited", retention_count=0)
    default = await make_job(database, "default")
    for job in (more, less, unlimited, default):
        for n in range(6):
            await make_exec(database, job, age=SECOND * (50 - n))

    await clean(replace(FOR_EVER, count=2))

    kept = [len(await kept_of(database, job)) for job in (more, less, unlimited, default)]
    assert kept == [4, 1, 6, 2]


async def test_without_limits_nothing_goes(database: Database, clean: Callable[..., Any]) -> None:
    """0 is no limit."""
    job = await make_job(database)
    made = [await make_exec(database, job, age=DAY * (5_000 - n), log=1_000) for n in range(4)]
    await make_ledger(database, job, DAY * 5_000)

    await clean(FOR_EVER)

    assert await kept_of(database, job) == [one.id for one in made]
    assert await ages_of_ledger(database, job) == [DAY * 5_000]


async def test_the_ledger_goes_by_age_alone_and_still_names_runs_that_are_gone(
    database: Database, clean: Callable[..., Any]
) -> None:
    """An entry says which exec it was, also when that has been deleted."""
    job = await make_job(database)
    await make_ledger(database, job, DAY * 92, DAY * 91, DAY * 89, DAY)

    await clean(Retention(days=90, count=1, log_bytes=1))

    assert await ages_of_ledger(database, job) == [DAY * 89, DAY]
    _, [newest, _] = await database.read(
        lambda c: ledger.page(c, job_id=job.id, start=None, end=None, outcomes=None, offset=0, limit=9)
    )
    assert newest.exec_id == f"exec of {DAY}"


async def test_an_entry_that_still_guards_a_due_time_stays(
    database: Database, clean: Callable[..., Any]
) -> None:
    """While a schedule stands before it, its row is what keeps it from running twice."""
    job = await make_job(database, is_schedule_active=True, schedule_mode="R/2020-01-01T00:00:00Z/P1D")
    cursor = ScheduleCursor(active_since=NOW - DAY * 500, next_due_at=NOW - DAY * 200)
    await database.write(lambda c: jobs.update(c, job.id, job.definition, cursor, now=NOW))
    stored = await database.read(lambda c: jobs.get(c, job.id))
    assert stored is not None
    await make_ledger(database, job, DAY * 201, DAY * 200, DAY * 199)

    await clean(replace(FOR_EVER, days=90))

    assert await ages_of_ledger(database, job) == [DAY * 200, DAY * 199]
    group = DueTimes(job=stored, due=[NOW - DAY * 200], newest_missed=None, following=NOW)
    claims = await database.write(
        lambda c: claim(c, [group], sizes=STANDARD_SIZES, now=NOW, up_since=NOW - DAY * 500)
    )
    assert claims.execs == []


async def test_an_entry_decided_lately_stays_however_long_ago_it_was_due(
    database: Database, clean: Callable[..., Any]
) -> None:
    """What a daemon writes down after a long outage is not gone a minute later."""
    job = await make_job(database)
    await make_ledger(database, job, DAY * 400, decided=DAY)

    await clean(replace(FOR_EVER, days=90))

    assert await ages_of_ledger(database, job) == [DAY * 400]


async def test_a_deleted_job_is_gone_for_everybody_and_its_name_is_free(database: Database) -> None:
    """At once, before anything of it is cleared away."""
    job = await make_job(database)
    one = await make_exec(database, job, age=SECOND, ended=False)
    await database.write(lambda c: jobs.hide(c, job.id, now=NOW))

    assert await database.read(lambda c: jobs.get(c, job.id)) is None
    assert await database.read(lambda c: jobs.get_many(c, [job.id])) == []
    assert await database.read(lambda c: jobs.page(c, JobFilter(), offset=0, limit=9)) == (0, [])
    assert await database.write(lambda c: jobs.lock_many(c, [job.id])) == {}
    for wanted in (ExecFilter(), ExecFilter(job_name="job"), ExecFilter(statuses=frozenset({one.status}))):
        assert await database.read(lambda c, w=wanted: exec_lists.ids(c, w, Order.CREATED, limit=9)) == []
        assert await database.read(lambda c, w=wanted: exec_lists.count(c, w)) == (0, False)
    window = {"namespace": None, "job_id": None, "start": NOW - DAY, "end": NOW + DAY}
    assert not await database.read(lambda c: stats.totals(c, **window))
    assert await database.read(lambda c: stats.by_job(c, **window, limit=9)) == []
    assert (await make_job(database)).id > job.id


async def test_what_is_left_of_deleted_jobs_and_runs_is_cleared_away(
    database: Database, clean: Callable[..., Any]
) -> None:
    """All of it, and nothing of the others."""
    job, other = await make_job(database), await make_job(database, "other")
    for n in range(30):
        await make_exec(database, job, age=SECOND * n, log=(n % 3) * 20_000)
    await make_ledger(database, job, *(SECOND * n for n in range(30)))
    stays, goes = [await make_exec(database, other, age=SECOND * n, log=50_000) for n in (1, 2)]
    await make_ledger(database, other, SECOND)
    await database.write(lambda c: jobs.hide(c, job.id, now=NOW))
    await database.write(lambda c: execs.delete(c, goes.id))

    await clean()

    assert await count(database, exec_rows) == 1
    assert await count(database, log_chunks) == await count(
        database, log_chunks, log_chunks.c.exec_id == stays.id
    )
    assert await count(database, discarded_logs) == 0
    assert await ages_of_ledger(database, other) == [SECOND]
    assert await ages_of_ledger(database, job) == []


async def test_a_run_made_while_its_job_was_deleted_is_stopped_and_then_cleared_away(
    database: Database, clean: Callable[..., Any]
) -> None:
    """As another daemon may make one in that very instant."""
    job = await make_job(database)
    late = await make_exec(database, job, age=SECOND, ended=False)
    await database.write(lambda c: queue.dispatch(c, [late.id], owner="a", now=NOW))
    await database.write(lambda c: jobs.hide(c, job.id, now=NOW))
    stopped: list[str] = []

    await clean(on_stopped=stopped.extend)
    asked = await database.read(lambda c: execs.get(c, late.id))
    await database.write(
        lambda c: execs.change_status(
            c, late.id, ExecStatus.WAITING, ExecStatus.CANCELLED, owner="a", ended_at=NOW
        )
    )
    await clean()

    assert stopped == [late.id]
    assert asked is not None
    assert asked.stop_requested_at == NOW
    assert await count(database, exec_rows) == 0


async def test_one_daemon_at_a_time_cleans(
    database: Database, clean: Callable[..., Any], clock: StandingClock
) -> None:
    """Another one takes over when the first has stopped, or has been silent for a while."""
    assert await clean(instance="a")
    assert not await clean(instance="b")
    await database.write(lambda c: identity.end_lease(c, "a"))
    assert await clean(instance="b")
    assert not await clean(instance="a")
    clock.moment += timedelta(seconds=61)
    assert await clean(instance="a")


async def test_two_daemons_that_begin_at_once_do_not_both_clean(database: Database) -> None:
    """The first commit decides."""

    def take(connection: sa.Connection, name: str) -> bool:
        return identity.take_duty(connection, "x", name, now=NOW, until=NOW + SECOND)

    other = another(database)
    try:
        both = await asyncio.gather(
            database.write(lambda c: take(c, "a")), other.write(lambda c: take(c, "b"))
        )
    finally:
        await other.close()

    assert sorted(both) == [False, True]
