"""What the store promises, on every database that it supports."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from scheduler.admission.facts import Lane
from scheduler.domain.drafting import draft_exec
from scheduler.domain.errors import ConflictError
from scheduler.domain.execution import Exec, ExecStatus, FailReason, Occurrence, Outcome, TriggerMode
from scheduler.domain.filters import JobFilter
from scheduler.domain.job import (
    STANDARD_SIZES,
    ConcurrencyPolicy,
    Job,
    JobDefinition,
    MisfirePolicy,
    ScheduleCursor,
)
from scheduler.planning.abandon import abandon
from scheduler.planning.claims import PACE, Claims, DueTimes, SharedRow, claim
from scheduler.store import execs, identity, jobs, ledger, logs, queue, tables
from scheduler.store.database import Database
from tests.contract.conftest import another

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def definition(name: str = "job", **changes) -> JobDefinition:
    """A job's definition; `changes` are fields."""
    base = JobDefinition(
        name=name,
        namespace="team",
        docker_image_repo="busybox",
        command=["echo", "a b"],
        runtime_vars={"GRÜSSE": "你好"},
        is_schedule_active=True,
        schedule_mode="R/2026-03-01T12:00:00Z/PT1S",
    )
    return replace(base, **changes)


async def make_job(
    database: Database, name: str = "job", next_due_at: datetime | None = NOW, **changes
) -> Job:
    """A stored job that is due."""
    cursor = ScheduleCursor(revision=0, active_since=NOW, next_due_at=next_due_at)
    return await database.write(
        lambda c: jobs.insert(c, definition(name, **changes), cursor, created_by="ada", now=NOW)
    )


async def make_exec(database: Database, job: Job, **changes) -> Exec:
    """A stored exec that waits."""
    draft = draft_exec(job, STANDARD_SIZES, trigger_mode=TriggerMode.MANUAL, created_by="ada", now=NOW)
    draft = replace(draft, **changes)
    await database.write(lambda c: execs.insert(c, [draft]))
    return draft


def due(job: Job, *moments: datetime, following: datetime | None = None) -> DueTimes:
    """Due times of a job that were read together."""
    return DueTimes(job=job, due=list(moments), newest_missed=moments[-1], following=following)


async def claim_all(
    database: Database, *groups: DueTimes, now: datetime = NOW, up_since: datetime = NOW
) -> Claims:
    """Decide due times in one transaction."""
    return await database.write(lambda c: claim(c, groups, sizes=STANDARD_SIZES, now=now, up_since=up_since))


async def ledger_of(database: Database, job: Job) -> list[Occurrence]:
    """The job's ledger, newest due time first."""
    _, found = await database.read(
        lambda c: ledger.page(c, job_id=job.id, start=None, end=None, outcomes=None, offset=0, limit=1000)
    )
    return found


async def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database: Database) -> None:
    """Migrated and declared tables do not differ."""

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))

    # Between two statements it thinks for longer than a reader may.
    assert await asyncio.to_thread(database.migrate, differences) == []


async def test_a_job_comes_back_as_it_was_stored(database: Database) -> None:
    """Every field survives, Unicode and microseconds included."""
    job = await make_job(database, "每日 job", labels={"team": "a"}, misfire_policy=MisfirePolicy.ALL)

    assert await database.read(lambda c: jobs.get(c, job.id)) == job


async def test_a_name_is_unique_within_its_namespace_alone(database: Database) -> None:
    """The second of a name is refused, in another namespace it is not."""
    await make_job(database)

    with pytest.raises(ConflictError, match="already has a job named 'job'"):
        await make_job(database)
    await make_job(database, namespace="other")


async def test_a_renamed_job_cannot_take_the_name_of_another(database: Database) -> None:
    """The refusal leaves both as they were."""
    job = await make_job(database, "one")
    await make_job(database, "two")

    with pytest.raises(ConflictError):
        await database.write(lambda c: jobs.update(c, job.id, definition("two"), job.cursor, now=NOW))
    assert await database.read(lambda c: jobs.get(c, job.id)) == job


async def test_an_id_is_never_given_twice(database: Database) -> None:
    """Deleting the newest job does not free its id."""
    job = await make_job(database)
    await database.write(lambda c: jobs.delete(c, job.id))

    assert (await make_job(database)).id > job.id


async def test_what_is_due_soon_is_found_in_order_page_by_page(database: Database) -> None:
    """Paging by (due time, id) passes over nothing and repeats nothing, also among equal due times."""
    made = [await make_job(database, f"job {n}", NOW + SECOND * (n // 3)) for n in range(10)]
    await make_job(database, "off", None, is_schedule_active=False)
    await make_job(database, "far", NOW + SECOND * 60)

    seen: list[int] = []
    after = None
    while page := await database.read(
        lambda c, after=after: jobs.due_until(c, NOW + SECOND * 10, limit=2, after=after)
    ):
        seen += [job_id for _, job_id in page]
        after = page[-1]

    assert seen == [job.id for job in made]


async def test_what_could_start_is_found_in_order(database: Database) -> None:
    """Only what waits in the region for nothing but capacity: by priority, then oldest first."""
    job = await make_job(database, max_running=7)
    made = [await make_exec(database, job, created_at=NOW + SECOND * (n // 2)) for n in range(5)]
    urgent = await make_exec(
        database, job, created_at=NOW + SECOND * 9, spec=replace(made[0].spec, priority=1)
    )
    await make_exec(database, job, dispatched_at=NOW, owner="x")
    later = await make_exec(database, job, not_before=NOW + SECOND * 9)
    elsewhere = await make_exec(database, job, spec=replace(made[0].spec, region_name="FAR"))

    jobs_waiting = await database.read(lambda c: queue.waiting_jobs(c, "LOCAL"))
    lane = await database.read(lambda c: queue.lane(c, "LOCAL", job.id, now=NOW, depth=10))
    first = await database.read(lambda c: queue.lane(c, "LOCAL", job.id, now=NOW, depth=2))
    heads = await database.read(lambda c: queue.first_lanes(c, "LOCAL", [job.id, 999], now=NOW))

    in_order = [urgent, *sorted(made, key=lambda one: (one.created_at, one.id))]
    assert jobs_waiting == [job.id]
    assert lane == Lane(7, [queue.candidate_of(one) for one in in_order], is_complete=True)
    assert first == Lane(7, lane.waiting[:2], is_complete=False)
    assert heads == {job.id: Lane(7, (lane.waiting[0],), is_complete=False)}
    assert await database.read(lambda c: queue.next_back_off(c, "LOCAL", now=NOW)) == later.not_before
    for after, expected in ((NOW, [job.id]), (later.not_before, [])):
        found = await database.read(
            lambda c, after=after: queue.ended_back_offs(c, "LOCAL", after=after, until=NOW + SECOND * 9)
        )
        assert found == expected
    [homeless] = await database.read(lambda c: queue.of_unknown_regions(c, ["LOCAL"], limit=9))
    assert homeless.id == elsewhere.id


async def test_every_job_that_has_runs_waiting_is_found(database: Database) -> None:
    """Each once, however many of its runs wait; one whose runs are all in their back-off has no lane."""
    made = [await make_job(database, f"job {n}") for n in range(5)]
    for job in made[1:]:
        for _ in range(3):
            await make_exec(database, job)
    await make_exec(database, made[0], not_before=NOW + SECOND)

    found = await database.read(lambda c: queue.waiting_jobs(c, "LOCAL"))
    lanes = await database.read(lambda c: queue.first_lanes(c, "LOCAL", found, now=NOW))

    assert found == [job.id for job in made]
    assert sorted(lanes) == [job.id for job in made[1:]]
    assert await database.read(lambda c: queue.waiting_jobs(c, "FAR")) == []


async def test_of_a_job_that_queues_only_the_oldest_open_run_could_start(database: Database) -> None:
    """However many wait behind it, and also while it is in its back-off."""
    job = await make_job(database, concurrency_policy=ConcurrencyPolicy.QUEUE)
    made = [await make_exec(database, job, created_at=NOW + SECOND * n) for n in range(3)]

    waiting = await database.read(lambda c: queue.lane(c, "LOCAL", job.id, now=NOW, depth=10))
    earlier = await make_exec(database, job, created_at=NOW - SECOND, not_before=NOW + SECOND)
    backing_off = await database.read(lambda c: queue.lane(c, "LOCAL", job.id, now=NOW, depth=10))

    assert waiting == Lane(None, (queue.candidate_of(made[0]),), is_complete=False)
    assert backing_off == Lane(None, (queue.candidate_of(earlier),), is_complete=False)
    for one, expected in ((earlier, True), (made[0], False)):
        candidate = queue.candidate_of(one)
        assert await database.read(lambda c, key=candidate: queue.is_first(c, "LOCAL", key)) is expected


async def test_what_other_daemons_run_is_counted(database: Database) -> None:
    """Not this one's own runs, and not what waits or has ended."""
    job = await make_job(database)
    foreign = await make_exec(database, job, owner="b", dispatched_at=NOW)
    await make_exec(database, job, owner="a", dispatched_at=NOW)
    await make_exec(database, job)

    found = await database.read(lambda c: queue.held_by_others(c, "a"))

    assert found == {foreign.id: queue.holding_of(foreign)}


async def test_what_somebody_else_looks_after_cannot_be_changed(database: Database) -> None:
    """A daemon that was frozen beyond its lease finds its runs taken: not even the status is its to write."""
    one = await make_exec(database, await make_job(database), owner="frozen", dispatched_at=NOW)
    assert await database.write(lambda c: queue.adopt(c, one, owner="other"))

    def start(connection: sa.Connection, owner: str | None) -> bool:
        return execs.change_status(
            connection, one.id, ExecStatus.WAITING, ExecStatus.RUNNING, owner=owner, started_at=NOW
        )

    for stranger in ("frozen", None):
        assert not await database.write(lambda c, stranger=stranger: start(c, stranger))
    assert await database.read(lambda c: logs.writable_execs(c, [one.id], "frozen")) == set()
    assert await database.write(lambda c: start(c, "other"))
    assert await database.read(lambda c: logs.writable_execs(c, [one.id], "other")) == {one.id}


async def test_a_daemon_finds_which_of_its_runs_are_to_stop_and_which_are_not_its_own(
    database: Database,
) -> None:
    """By one question: its own runs with the reason of each stop; of others, who has them and whether they ended."""
    job = await make_job(database)
    mine = await make_exec(database, job, owner="a", dispatched_at=NOW)
    unwanted = await make_exec(database, job, owner="a", dispatched_at=NOW)
    lost = await make_exec(database, job, owner="b", dispatched_at=NOW)
    await database.write(lambda c: execs.stop(c, unwanted, now=NOW, reason="requested by ada"))

    found = await database.read(lambda c: queue.wishes(c, "a"))
    known = await database.read(lambda c: queue.owners(c, [mine.id, lost.id, "deleted"]))

    assert found == {mine.id: None, unwanted.id: "requested by ada"}
    assert known == {mine.id: ("a", False), lost.id: ("b", False)}


async def test_a_dispatch_of_which_the_commit_was_not_heard_can_be_asked_again(database: Database) -> None:
    """It is the same daemon's: it gets it again, another does not."""
    one = await make_exec(database, await make_job(database))

    for _ in range(2):
        taken = await database.write(lambda c: queue.dispatch(c, [one.id], owner="a", now=NOW))
        assert taken == {one.id: replace(one, owner="a", dispatched_at=NOW)}
    assert await database.write(lambda c: queue.dispatch(c, [one.id], owner="b", now=NOW)) == {}


async def test_a_claim_writes_ledger_and_exec_and_moves_the_schedule_on(database: Database) -> None:
    """One due time, one row, one exec that waits, and the next due time stored."""
    job = await make_job(database)

    claims = await claim_all(database, due(job, NOW, following=NOW + SECOND))

    [one] = claims.execs
    assert (one.scheduled_for, one.trigger_mode, one.status) == (
        NOW,
        TriggerMode.SCHEDULE,
        ExecStatus.WAITING,
    )
    assert await database.read(lambda c: execs.get(c, one.id)) == one
    [entry] = await ledger_of(database, job)
    assert (entry.due_at, entry.outcome, entry.exec_id, entry.reason) == (NOW, Outcome.RAN, one.id, None)
    stored = await database.read(lambda c: jobs.get(c, job.id))
    assert stored is not None
    assert stored.cursor.next_due_at == NOW + SECOND


async def test_of_two_daemons_that_claim_one_due_time_one_wins(database: Database) -> None:
    """The second claim, made from the same reading, is stale and writes nothing."""
    job = await make_job(database)

    first, second = await asyncio.gather(
        claim_all(database, due(job, NOW, following=NOW + SECOND)),
        claim_all(database, due(job, NOW, following=NOW + SECOND)),
    )

    assert sorted([len(first.execs), len(second.execs)]) == [0, 1]
    assert first.stale | second.stale == {job.id}
    assert len(await ledger_of(database, job)) == 1


async def test_two_connections_that_claim_at_once_do_not_both_win(database: Database) -> None:
    """As two daemons would: each with a writer of its own on the same database."""
    made = [await make_job(database, f"job {n}") for n in range(20)]
    other = another(database)
    try:
        both = await asyncio.gather(
            *(
                claim_all(where, due(job, NOW, following=NOW + SECOND))
                for job in made
                for where in (database, other)
            )
        )
    finally:
        await other.close()

    assert sum(len(claims.execs) for claims in both) == len(made)
    for job in made:
        assert len(await ledger_of(database, job)) == 1


async def test_a_claim_for_a_changed_schedule_fails(database: Database) -> None:
    """A schedule that was changed after it was read is not worked off by its old self."""
    job = await make_job(database)
    changed = replace(job.cursor, revision=1)
    await database.write(lambda c: jobs.update(c, job.id, job.definition, changed, now=NOW))

    claims = await claim_all(database, due(job, NOW))

    assert claims.stale == {job.id}
    assert await ledger_of(database, job) == []


async def test_a_due_time_with_a_row_is_not_run_again(database: Database) -> None:
    """As after a clock that was set back: the row decides, not the schedule's position."""
    job = await make_job(database)
    await claim_all(database, due(job, NOW, following=NOW))

    claims = await claim_all(database, due(job, NOW, following=NOW + SECOND))

    assert claims.execs == []
    assert claims.advanced == {job.id: NOW + SECOND}
    assert len(await ledger_of(database, job)) == 1


async def test_latest_runs_the_newest_of_those_missed_and_records_the_others(database: Database) -> None:
    """Five due times while down: four missed with a reason, one run."""
    job = await make_job(database)
    moments = [NOW + SECOND * n for n in range(5)]
    later = NOW + SECOND * 60

    claims = await claim_all(database, due(job, *moments), now=later, up_since=later)

    assert [one.scheduled_for for one in claims.execs] == [moments[-1]]
    outcomes = {entry.due_at: entry.outcome for entry in await ledger_of(database, job)}
    assert outcomes == dict.fromkeys(moments[:-1], Outcome.MISSED) | {moments[-1]: Outcome.RAN}


async def test_forbid_skips_while_an_earlier_run_has_not_ended(database: Database) -> None:
    """Within one claim as well: the first runs, the second is skipped with a reason."""
    job = await make_job(database, concurrency_policy=ConcurrencyPolicy.FORBID)

    claims = await claim_all(database, due(job, NOW, NOW + SECOND))

    assert [one.scheduled_for for one in claims.execs] == [NOW]
    newest, _ = await ledger_of(database, job)
    assert newest.outcome is Outcome.SKIPPED
    assert "forbid" in (newest.reason or "")


async def test_replace_asks_the_earlier_runs_to_stop(database: Database) -> None:
    """They are named to the caller, and the wish is stored."""
    job = await make_job(database, concurrency_policy=ConcurrencyPolicy.REPLACE)
    earlier = await make_exec(database, job, dispatched_at=NOW)

    claims = await claim_all(database, due(job, NOW))

    [newer] = claims.execs
    reason = f"replaced by run {newer.id}"
    assert claims.replaced == {earlier.id: reason}
    stored = await database.read(lambda c: execs.get(c, earlier.id))
    assert stored is not None
    assert (stored.stop_requested_at, stored.stop_reason) == (NOW, reason)


async def test_replace_cancels_what_had_not_begun(database: Database) -> None:
    """An earlier run that still waits ends at once; of several due at once the newest runs."""
    job = await make_job(database, concurrency_policy=ConcurrencyPolicy.REPLACE)
    earlier = await make_exec(database, job)

    claims = await claim_all(database, due(job, NOW, NOW + SECOND))

    [going] = await database.read(lambda c: execs.open_of_job(c, job.id))
    assert going.scheduled_for == NOW + SECOND
    assert set(claims.replaced) == {earlier.id, *(one.id for one in claims.execs)} - {going.id}


async def test_all_catches_up_no_faster_than_its_runs_end(database: Database) -> None:
    """Of a long outage only so many run at a time; the schedule stays where it has come to."""
    job = await make_job(database, misfire_policy=MisfirePolicy.ALL)
    moments = [NOW + SECOND * n for n in range(PACE + 5)]
    later = NOW + SECOND * 600

    claims = await claim_all(database, due(job, *moments), now=later, up_since=later)

    assert len(claims.execs) == PACE
    assert claims.held == {job.id}
    assert claims.advanced == {job.id: moments[PACE]}
    assert len(await ledger_of(database, job)) == PACE


async def test_due_times_too_many_for_a_row_each_share_one(database: Database) -> None:
    """The shared entry says how many there were and until when."""
    job = await make_job(database)
    shared = SharedRow(count=5_000_000, last=NOW + SECOND * 4_999_999)
    following = NOW + SECOND * 5_000_000
    group = DueTimes(job=job, due=[NOW], newest_missed=None, following=following, shared=shared)

    claims = await claim_all(database, group, now=following, up_since=following)

    [entry] = await ledger_of(database, job)
    assert entry.outcome is Outcome.MISSED
    assert "4999999 later due times" in (entry.reason or "")
    assert claims.advanced == {job.id: following}


async def test_a_status_changes_only_from_the_status_it_had(database: Database) -> None:
    """Compare and set: the second of two equal changes is refused."""
    one = await make_exec(database, await make_job(database))

    def start(connection: sa.Connection) -> bool:
        return execs.change_status(
            connection, one.id, ExecStatus.WAITING, ExecStatus.RUNNING, owner=None, started_at=NOW
        )

    assert await database.write(start)
    assert not await database.write(start)


async def test_a_change_of_status_that_the_table_lacks_is_a_defect(database: Database) -> None:
    """What has ended never changes."""
    one = await make_exec(database, await make_job(database))

    with pytest.raises(ValueError, match="cannot change from SUCCEEDED to RUNNING"):
        await database.write(
            lambda c: execs.change_status(c, one.id, ExecStatus.SUCCEEDED, ExecStatus.RUNNING, owner=None)
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "X"},
        {"status": "S", "ended_at": NOW},
        {"status": "C"},
        {"status": "F", "ended_at": NOW},
        {"fail_reason": FailReason.TIMEOUT},
        {"trigger_mode": "Q"},
    ],
)
async def test_the_database_itself_refuses_contradictions(database: Database, fields: dict) -> None:
    """CHECK constraints guard statuses against any code that would write them wrongly."""
    one = await make_exec(database, await make_job(database))

    with pytest.raises(IntegrityError):
        await database.write(
            lambda c: c.execute(tables.execs.update().where(tables.execs.c.id == one.id).values(**fields))
        )


async def test_only_one_daemon_dispatches_a_waiting_exec(database: Database) -> None:
    """The second is told that it got nothing; stopped ones are not given out."""
    job = await make_job(database)
    one, stopped = await make_exec(database, job), await make_exec(database, job)
    await database.write(lambda c: execs.stop(c, stopped, now=NOW, reason="requested by ada"))

    ids = [one.id, stopped.id]
    first = await database.write(lambda c: queue.dispatch(c, ids, owner="a", now=NOW))
    second = await database.write(lambda c: queue.dispatch(c, ids, owner="b", now=NOW))

    assert (list(first), second) == ([one.id], {})
    [found] = await database.read(queue.dispatched)
    assert found.owner == "a"


async def test_an_exec_of_a_dead_daemon_is_adopted_once(database: Database) -> None:
    """Two that want it: one gets it."""
    one = await make_exec(database, await make_job(database), owner="dead", dispatched_at=NOW)

    assert await database.write(lambda c: queue.adopt(c, one, owner="a")) == replace(one, owner="a")
    assert await database.write(lambda c: queue.adopt(c, one, owner="b")) is None


async def test_a_lease_ends_when_it_is_not_renewed(database: Database) -> None:
    """Alive until the moment said last."""
    await database.write(lambda c: identity.renew_lease(c, "a", now=NOW, until=NOW + SECOND))
    await database.write(lambda c: identity.renew_lease(c, "b", now=NOW, until=NOW + SECOND))
    await database.write(lambda c: identity.renew_lease(c, "a", now=NOW, until=NOW + SECOND * 9))

    assert await database.read(lambda c: identity.live_instances(c, NOW)) == {"a", "b"}
    assert await database.read(lambda c: identity.live_instances(c, NOW + SECOND * 2)) == {"a"}
    for instance, expected in (("a", True), ("b", False), ("unknown", False)):
        alive = await database.read(lambda c, key=instance: identity.is_alive(c, key, now=NOW + SECOND * 2))
        assert alive is expected


async def test_deleting_a_job_takes_everything_of_it_along(database: Database) -> None:
    """Execs, ledger and logs go by their foreign keys."""
    job = await make_job(database)
    claims = await claim_all(database, due(job, NOW))

    await database.write(lambda c: jobs.delete(c, job.id))

    assert await database.read(lambda c: execs.get(c, claims.execs[0].id)) is None
    assert await ledger_of(database, job) == []


async def test_a_failed_write_in_a_group_undoes_itself_alone(database: Database) -> None:
    """Others that were committed with it are stored."""

    def fail(connection: sa.Connection) -> None:
        jobs.insert(connection, definition("bad"), ScheduleCursor(), created_by="ada", now=NOW)
        msg = "on purpose"
        raise RuntimeError(msg)

    results = await asyncio.gather(
        make_job(database, "a"), database.write(fail), make_job(database, "b"), return_exceptions=True
    )

    assert [type(result).__name__ for result in results] == ["Job", "RuntimeError", "Job"]
    count, _ = await database.read(lambda c: jobs.page(c, JobFilter(), offset=0, limit=10))
    assert count == 2


async def test_a_changed_schedule_leaves_no_due_time_without_an_entry(database: Database) -> None:
    """What had fallen due and was not decided is recorded as expired, with the reason."""
    job = await make_job(database)

    await database.write(lambda c: abandon(c, job, now=NOW + SECOND * 5))

    found = await ledger_of(database, job)
    assert [entry.outcome for entry in found] == [Outcome.EXPIRED] * 5
    assert "changed or switched off" in (found[0].reason or "")


async def test_very_many_abandoned_due_times_share_an_entry(database: Database) -> None:
    """Its reason says how many they are."""
    job = await make_job(database)

    await database.write(lambda c: abandon(c, job, now=NOW + SECOND * 5_000_000))

    [entry] = await ledger_of(database, job)
    assert "4999999 later due times" in (entry.reason or "")
