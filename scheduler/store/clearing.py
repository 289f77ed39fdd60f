"""Finds what need not be kept any more and deletes it in batches, each as small as its caller says.

Every function takes a connection inside a transaction of `Database`; none commits. What a batch leaves is found
by the next one: a crash between two of them costs nothing. All of it goes by indexes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.store import execs as stored_execs
from scheduler.store.jobs import IDS_PER_STATEMENT
from scheduler.store.tables import discarded_logs, execs, jobs, log_chunks, occurrences

#: A log up to this size goes in one statement with its exec; a larger one goes bit by bit after it.
SMALL_LOG_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is kept of one job.

    Attributes:
        retention_days: what the job says itself; null where it leaves that to the settings. So with the others.
        next_due_at: the first due time that is not decided; the ledger from there on is not touched.
        execs: how many there are that have ended.
        log_bytes: what the logs of those that have ended take up.
        oldest_exec: when the oldest one was made; null without any.
        oldest_due: the first due time in the ledger; null without any.
    """

    job_id: int
    retention_days: int | None
    retention_count: int | None
    retention_log_bytes: int | None
    next_due_at: datetime | None
    execs: int
    log_bytes: int
    oldest_exec: datetime | None
    oldest_due: datetime | None


class Old(NamedTuple):
    """An exec that may go: it has ended, and is not its job's newest."""

    id: str
    log_bytes: int | None
    ended_at: datetime


class Cleared(NamedTuple):
    """How many rows a batch deleted, and how many bytes of stored logs with them."""

    rows: int
    log_bytes: int = 0


def stocks(connection: Connection, *, after: int, limit: int) -> list[Stock]:
    """What is kept of the next `limit` jobs after that id, in the order of their ids."""
    of_job = execs.c.job_id == jobs.c.id
    is_open = execs.c.ended_at.is_(None)
    counted = sa.select(sa.func.count()).select_from(execs)
    oldest = sa.select(execs.c.created_at).where(of_job).order_by(execs.c.created_at, execs.c.id).limit(1)
    oldest_due = (
        sa.select(occurrences.c.due_at)
        .where(occurrences.c.job_id == jobs.c.id)
        .order_by(occurrences.c.due_at)
        .limit(1)
    )
    query = (
        sa.select(
            jobs.c.id.label("job_id"),
            jobs.c.retention_days,
            jobs.c.retention_count,
            jobs.c.retention_log_bytes,
            jobs.c.next_due_at,
            # Those that have ended: all of them but the few in the index of what has not.
            (
                counted.where(of_job).scalar_subquery() - counted.where(of_job, is_open).scalar_subquery()
            ).label("execs"),
            sa.func.coalesce(
                sa.select(sa.func.sum(execs.c.log_bytes)).where(of_job).scalar_subquery(), 0
            ).label("log_bytes"),
            oldest.scalar_subquery().label("oldest_exec"),
            oldest_due.scalar_subquery().label("oldest_due"),
        )
        .where(jobs.c.id > after, jobs.c.deleted_at.is_(None))
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return [Stock(**row) for row in connection.execute(query).mappings()]


def oldest_execs(connection: Connection, job_id: int, *, before: datetime | None, limit: int) -> list[Old]:
    """The job's oldest execs that may go, oldest first.

    Args:
        connection: inside a transaction.
        job_id: whose.
        before: only those that had ended by then; None for all.
        limit: how many at most.
    """
    newest = (
        sa.select(execs.c.id)
        .where(execs.c.job_id == job_id)
        .order_by(execs.c.created_at.desc(), execs.c.id.desc())
        .limit(1)
    )
    query = sa.select(execs.c.id, execs.c.log_bytes, execs.c.ended_at).where(
        execs.c.job_id == job_id, execs.c.ended_at.is_not(None), execs.c.id != newest.scalar_subquery()
    )
    if before is not None:
        # What had not been made had not ended either; said for the index.
        query = query.where(execs.c.created_at < before, execs.c.ended_at < before)
    rows = connection.execute(query.order_by(execs.c.created_at, execs.c.id).limit(limit))
    return [Old(*row) for row in rows]


def any_execs(connection: Connection, job_id: int, *, limit: int) -> list[Old]:
    """Execs of a deleted job that have ended."""
    query = (
        sa.select(execs.c.id, execs.c.log_bytes, execs.c.ended_at)
        .where(execs.c.job_id == job_id, execs.c.ended_at.is_not(None))
        .order_by(execs.c.created_at, execs.c.id)
        .limit(limit)
    )
    return [Old(*row) for row in connection.execute(query)]


def delete_execs(connection: Connection, old: Sequence[Old]) -> Cleared:
    """Delete execs that have ended; small logs go with them, larger ones are left to be cleared away."""
    rows = size = 0
    for start in range(0, len(old), IDS_PER_STATEMENT):
        some = old[start : start + IDS_PER_STATEMENT]
        ids = [one.id for one in some]
        small = [one.id for one in some if one.log_bytes is not None and one.log_bytes <= SMALL_LOG_BYTES]
        stored_execs.discard_logs(connection, sorted(set(ids) - set(small)))
        gone = execs.delete().where(execs.c.id.in_(ids), execs.c.ended_at.is_not(None))
        rows += connection.execute(gone).rowcount
        with_log = [one for one in some if one.id in set(small) and one.log_bytes]
        if with_log:
            connection.execute(log_chunks.delete().where(log_chunks.c.exec_id.in_([o.id for o in with_log])))
            size += sum(one.log_bytes or 0 for one in with_log)
    return Cleared(rows, size)


def delete_occurrences(
    connection: Connection, job_id: int, *, before: datetime | None, limit: int
) -> Cleared:
    """Delete the oldest of the job's ledger, at most `limit` entries.

    Args:
        connection: inside a transaction.
        job_id: whose.
        before: only due times before this that were decided before it as well, and lie before the first that
            the job has not decided: up to there its schedule never comes back. None for all.
        limit: how many at most.
    """
    query = sa.select(occurrences.c.due_at).where(occurrences.c.job_id == job_id)
    if before is not None:
        undecided = sa.select(jobs.c.next_due_at).where(jobs.c.id == job_id).scalar_subquery()
        query = query.where(
            occurrences.c.due_at < before,
            occurrences.c.decided_at < before,
            sa.func.coalesce(occurrences.c.due_at < undecided, sa.true()),
        )
    due = connection.execute(query.order_by(occurrences.c.due_at).limit(limit)).scalars().all()
    rows = 0
    for start in range(0, len(due), IDS_PER_STATEMENT):
        gone = occurrences.delete().where(
            occurrences.c.job_id == job_id, occurrences.c.due_at.in_(due[start : start + IDS_PER_STATEMENT])
        )
        rows += connection.execute(gone).rowcount
    return Cleared(rows)


def unmeasured(connection: Connection, *, limit: int) -> list[str]:
    """Execs that have ended and whose logs have not been measured, those that ended first before the others."""
    query = (
        sa.select(execs.c.id)
        .where(execs.c.ended_at.is_not(None), execs.c.log_bytes.is_(None))
        .order_by(execs.c.ended_at)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def log_sizes(connection: Connection, exec_ids: Collection[str]) -> dict[str, int]:
    """What each of the execs' logs takes up, in bytes."""
    found = dict.fromkeys(exec_ids, 0)
    for exec_id in exec_ids:
        total = sa.select(sa.func.sum(sa.func.length(log_chunks.c.data))).where(
            log_chunks.c.exec_id == exec_id
        )
        found[exec_id] = connection.execute(total).scalar() or 0
    return found


def note_log_sizes(connection: Connection, sizes: dict[str, int]) -> None:
    """Store how much the logs of ended execs take up."""
    if sizes:
        connection.execute(
            execs.update()
            .where(execs.c.id == sa.bindparam("which"), execs.c.ended_at.is_not(None))
            .values(log_bytes=sa.bindparam("size")),
            [{"which": exec_id, "size": size} for exec_id, size in sizes.items()],
        )


def delete_logs(connection: Connection, *, limit: int) -> Cleared:
    """Delete chunks of logs whose exec is gone, at most `limit` of them and of as many execs."""
    exec_ids = connection.execute(sa.select(discarded_logs.c.exec_id).limit(limit)).scalars().all()
    cleared = Cleared(0)
    for start in range(0, len(exec_ids), IDS_PER_STATEMENT):
        some = exec_ids[start : start + IDS_PER_STATEMENT]
        key = (log_chunks.c.exec_id, log_chunks.c.seq)
        left = limit - cleared.rows
        which = sa.select(*key).where(log_chunks.c.exec_id.in_(some)).limit(left)
        gone = log_chunks.delete().where(sa.tuple_(*key).in_(which))
        sizes = connection.execute(gone.returning(sa.func.length(log_chunks.c.data))).scalars().all()
        cleared = Cleared(cleared.rows + len(sizes), cleared.log_bytes + sum(sizes))
        is_empty = ~sa.exists().where(log_chunks.c.exec_id == discarded_logs.c.exec_id)
        if len(sizes) < left:
            is_empty = sa.true()
        connection.execute(discarded_logs.delete().where(discarded_logs.c.exec_id.in_(some), is_empty))
        if cleared.rows >= limit:
            break
    return cleared


def any_forgotten_log(connection: Connection) -> bool:
    """Whether there are logs whose exec is gone."""
    return connection.execute(sa.select(discarded_logs.c.exec_id).limit(1)).first() is not None
