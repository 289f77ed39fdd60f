"""Waiting runs as admission sees them, runs that use capacity, and the statement that takes runs.

Every function takes a connection inside a transaction of `Database`; none commits. However many runs of a job are
waiting, a read costs only a few index steps per job.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scheduler.admission.facts import Candidate, Holding, Lane
from scheduler.domain.execution import Exec, ExecStatus
from scheduler.domain.job import ONE_AT_A_TIME
from scheduler.store.execs import from_row
from scheduler.store.jobs import IDS_PER_STATEMENT
from scheduler.store.tables import execs, jobs

#: The lock under which daemons on one PostgreSQL database take runs one after the other.
LOCK: Final = 0x54696D6562616C6C

_waits = sa.and_(execs.c.ended_at.is_(None), execs.c.dispatched_at.is_(None))
_holds = sa.and_(execs.c.ended_at.is_(None), execs.c.dispatched_at.is_not(None))
# Dispatched runs have an owner; stated explicitly so that SQLite uses the index by owner.
_held = sa.and_(_holds, execs.c.owner > "")
_candidate = (
    execs.c.id,
    execs.c.job_id,
    execs.c.namespace,
    execs.c.priority,
    execs.c.created_at,
    execs.c.cpus,
    execs.c.memory_bytes,
    execs.c.concurrency_policy,
    execs.c.not_before,
)


def candidate_of(run: Exec) -> Candidate:
    """A run as admission sees it."""
    return Candidate(
        id=run.id,
        job_id=run.job_id,
        namespace=run.namespace,
        priority=run.spec.priority,
        created_at=run.created_at,
        cpus=run.spec.cpus,
        memory_bytes=run.spec.memory_bytes,
        is_alone=run.spec.concurrency_policy in ONE_AT_A_TIME,
        not_before=run.not_before,
    )


def holding_of(run: Exec) -> Holding:
    """The capacity that a dispatched run uses."""
    return Holding(run.job_id, run.namespace, run.spec.region_name, run.spec.cpus, run.spec.memory_bytes)


def _candidate_from(row: RowMapping) -> Candidate:
    return Candidate(
        id=row["id"],
        job_id=row["job_id"],
        namespace=row["namespace"],
        priority=row["priority"],
        created_at=row["created_at"],
        cpus=row["cpus"],
        memory_bytes=row["memory_bytes"],
        is_alone=row["concurrency_policy"] in ONE_AT_A_TIME,
        not_before=row["not_before"],
    )


def _waiting_jobs() -> sa.Select[Any]:
    here = sa.and_(_waits, execs.c.region_name == sa.bindparam("region"))
    waiting = sa.select(sa.func.min(execs.c.job_id).label("job_id")).where(here).cte("found", recursive=True)
    following = sa.select(sa.func.min(execs.c.job_id)).where(here, execs.c.job_id > waiting.c.job_id)
    waiting = waiting.union_all(
        sa.select(following.scalar_subquery()).select_from(waiting).where(waiting.c.job_id.is_not(None))
    )
    return sa.select(waiting.c.job_id).where(waiting.c.job_id.is_not(None))


# Statements that every daemon executes again and again are made once.
_WAITING_JOBS: Final = _waiting_jobs()
_NEXT_BACK_OFF: Final = sa.select(sa.func.min(execs.c.not_before)).where(
    _waits, execs.c.region_name == sa.bindparam("region"), execs.c.not_before > sa.bindparam("now")
)
_HELD_BY_OTHERS: Final = sa.select(
    execs.c.id, execs.c.job_id, execs.c.namespace, execs.c.region_name, execs.c.cpus, execs.c.memory_bytes
).where(_held, execs.c.owner != sa.bindparam("owner"))
_WISHES: Final = sa.select(execs.c.id, execs.c.stop_requested_at, execs.c.stop_reason).where(
    _holds, execs.c.owner == sa.bindparam("owner")
)


def waiting_jobs(connection: Connection, region: str) -> list[int]:
    """The ids of the jobs that have runs waiting in a region: one index step per job."""
    return list(connection.execute(_WAITING_JOBS, {"region": region}).scalars())


def first_lanes(
    connection: Connection, region: str, job_ids: Collection[int], *, now: datetime
) -> dict[int, Lane]:
    """The lanes of those jobs that have runs waiting in a region, each with only its first run.

    Runs in their back-off are skipped, unless the job's runs execute one at a time.
    """
    lanes: dict[int, Lane] = {}
    ids = sorted(job_ids)
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        chunk = ids[start : start + IDS_PER_STATEMENT]
        lanes |= _first_lanes(connection, region, chunk, now)
    return lanes


def _first_lanes(
    connection: Connection, region: str, job_ids: Collection[int], now: datetime
) -> dict[int, Lane]:
    of_job = sa.and_(_waits, execs.c.region_name == region, execs.c.job_id == jobs.c.id)
    in_order = sa.select(execs.c.id).where(of_job).order_by(*_order).limit(1)
    ready = in_order.where(_is_ready(now))
    columns = [
        in_order.scalar_subquery().label("first"),
        ready.scalar_subquery().label("ready"),
        ready.offset(1).scalar_subquery().label("second"),
    ]
    heads = {
        row.id: row
        for row in connection.execute(
            sa.select(jobs.c.id, jobs.c.max_running, *columns).where(jobs.c.id.in_(job_ids))
        )
        if row.first is not None
    }
    ids = {key for row in heads.values() for key in (row.first, row.ready) if key is not None}
    candidates: dict[str, Candidate] = {}
    keys = sorted(ids)
    for start in range(0, len(keys), IDS_PER_STATEMENT):
        chunk = keys[start : start + IDS_PER_STATEMENT]
        rows = connection.execute(sa.select(*_candidate).where(execs.c.id.in_(chunk)))
        candidates.update((row["id"], _candidate_from(row)) for row in rows.mappings())
    lanes = {}
    for job_id, row in heads.items():
        first, ready_one = candidates[row.first], candidates.get(row.ready)
        if first.is_alone:
            lanes[job_id] = Lane(row.max_running, (first,), is_complete=False)
        elif ready_one is not None:
            lanes[job_id] = Lane(row.max_running, (ready_one,), is_complete=row.second is None)
    return lanes


_order = (execs.c.priority.desc(), execs.c.created_at, execs.c.id)


def _is_ready(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(execs.c.not_before.is_(None), execs.c.not_before <= now)


def lane(connection: Connection, region: str, job_id: int, *, now: datetime, depth: int) -> Lane | None:
    """The lane of a job with its first `depth` runs; None if none of its runs could start."""
    first = first_lanes(connection, region, [job_id], now=now).get(job_id)
    if first is None or first.waiting[0].is_alone or first.is_complete:
        return first
    query = sa.select(*_candidate).where(
        _waits, execs.c.region_name == region, execs.c.job_id == job_id, _is_ready(now)
    )
    rows = connection.execute(query.order_by(*_order).limit(depth + 1)).mappings()
    candidates = [_candidate_from(row) for row in rows]
    return Lane(first.max_running, candidates[:depth], is_complete=len(candidates) <= depth)


def next_back_off(connection: Connection, region: str, *, now: datetime) -> datetime | None:
    """When the next back-off of a waiting run in the region ends; None if there is none."""
    return connection.execute(_NEXT_BACK_OFF, {"region": region, "now": now}).scalar()


def ended_back_offs(
    connection: Connection, region: str, *, after: datetime | None, until: datetime
) -> list[int]:
    """The ids of the jobs with waiting runs whose back-off ended after `after` and until `until`."""
    query = sa.select(execs.c.job_id).where(
        _waits, execs.c.region_name == region, execs.c.not_before <= until
    )
    if after is not None:
        query = query.where(execs.c.not_before > after)
    return sorted(set(connection.execute(query).scalars()))


def of_unknown_regions(connection: Connection, regions: Collection[str], *, limit: int) -> list[Exec]:
    """Waiting runs without an owner whose region is none of these."""
    query = sa.select(execs).where(_waits, execs.c.region_name.not_in(regions))
    rows = connection.execute(query.order_by(execs.c.region_name, execs.c.job_id).limit(limit))
    return [from_row(row) for row in rows.mappings()]


def held_by_others(connection: Connection, owner: str) -> dict[str, Holding]:
    """The capacity that the runs of all other daemons use, by run id; the engines limit their number."""
    return {row[0]: Holding(*row[1:]) for row in connection.execute(_HELD_BY_OTHERS, {"owner": owner})}


def lock(connection: Connection) -> None:
    """Prevent other daemons from taking runs until the transaction ends; SQLite has a single writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))


def is_first(connection: Connection, region: str, run: Candidate) -> bool:
    """Whether a waiting run is the first of its job, including those in their back-off."""
    query = (
        sa.select(execs.c.id)
        .where(_waits, execs.c.region_name == region, execs.c.job_id == run.job_id)
        .order_by(*_order)
        .limit(1)
    )
    return connection.execute(query).scalar() == run.id


def dispatch(
    connection: Connection, exec_ids: Collection[str], *, owner: str, now: datetime
) -> dict[str, Exec]:
    """Take the waiting runs that nobody has taken or stopped; returns them in their new state.

    Includes those that the owner already has: an earlier attempt may have been committed without an answer.
    """
    values: dict[str, Any] = {"owner": owner, "dispatched_at": now}
    statement = (
        execs.update()
        .where(
            execs.c.id.in_(exec_ids),
            execs.c.status == ExecStatus.WAITING,
            sa.or_(execs.c.dispatched_at.is_(None), execs.c.owner == owner),
            execs.c.stop_requested_at.is_(None),
        )
        .values(**values)
        .returning(*execs.c)
    )
    return {row["id"]: from_row(row) for row in connection.execute(statement).mappings()}


def dispatched(connection: Connection) -> list[Exec]:
    """Runs whose launch has begun and whose end is not recorded; the engines limit their number."""
    rows = connection.execute(sa.select(execs).where(_held)).mappings()
    return sorted((from_row(row) for row in rows), key=lambda run: run.created_at)


def adopt(connection: Connection, run: Exec, *, owner: str) -> Exec | None:
    """Make `owner` the owner of a run; returns the run, or None if another daemon was faster."""
    same = sa.and_(execs.c.id == run.id, execs.c.owner == run.owner, _holds)
    statement = execs.update().where(same).values(owner=owner).returning(*execs.c)
    row = connection.execute(statement).mappings().first()
    return None if row is None else from_row(row)


def wishes(connection: Connection, owner: str) -> dict[str, str | None]:
    """The runs that a daemon owns: by run id, the reason why each is to be stopped, or None if it is not.

    The reason is empty if it was not stored.
    """
    return {
        row.id: None if row.stop_requested_at is None else row.stop_reason or ""
        for row in connection.execute(_WISHES, {"owner": owner})
    }


def owners(connection: Connection, exec_ids: Collection[str]) -> dict[str, tuple[str | None, bool]]:
    """For those of the runs that exist: the owner, and whether the run has ended."""
    query = sa.select(execs.c.id, execs.c.owner, execs.c.ended_at).where(execs.c.id.in_(exec_ids))
    return {row.id: (row.owner, row.ended_at is not None) for row in connection.execute(query)}
