"""Finds data that need not be kept and deletes it in batches of a given size.

Every function takes a connection inside a transaction of `Database`; none commits. The next batch finds what the
previous one left, so a crash between them costs nothing. All queries use indexes.
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

#: A log up to this size is deleted in the same statement as its run; a larger one afterwards, in batches.
SMALL_LOG_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """The stored data of one job.

    Attributes:
        retention_days: the job's own limit; None for the limit of the settings. The same applies to the others.
        next_due_at: the first undecided due time; the ledger from there on is not touched.
        execs: number of ended runs.
        log_bytes: size of the logs of ended runs.
        oldest_exec: when the oldest run was created; None if there are no runs.
        oldest_due: the first due time in the ledger; None if it is empty.
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
    """A run that may be deleted: it has ended, and is not the job's latest run."""

    id: str
    log_bytes: int | None
    ended_at: datetime


class Cleared(NamedTuple):
    """The number of rows that a batch deleted, and of bytes of stored logs."""

    rows: int
    log_bytes: int = 0


def stocks(connection: Connection, *, after: int, limit: int) -> list[Stock]:
    """The stored data of the next `limit` jobs after this id, by id."""
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
            # Ended runs: all except the few in the index of runs that have not ended.
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
    """The job's oldest runs that may be deleted, oldest first.

    Args:
        connection: inside a transaction.
        job_id: the job.
        before: only runs that ended before this; None for all.
        limit: maximum number of runs.
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
        # A run that was created later cannot have ended before; this condition helps the index.
        query = query.where(execs.c.created_at < before, execs.c.ended_at < before)
    rows = connection.execute(query.order_by(execs.c.created_at, execs.c.id).limit(limit))
    return [Old(*row) for row in rows]


def any_execs(connection: Connection, job_id: int, *, limit: int) -> list[Old]:
    """Ended runs of a deleted job."""
    query = (
        sa.select(execs.c.id, execs.c.log_bytes, execs.c.ended_at)
        .where(execs.c.job_id == job_id, execs.c.ended_at.is_not(None))
        .order_by(execs.c.created_at, execs.c.id)
        .limit(limit)
    )
    return [Old(*row) for row in connection.execute(query)]


def delete_execs(connection: Connection, old: Sequence[Old]) -> Cleared:
    """Delete ended runs; small logs are deleted with them, larger ones are left to be deleted afterwards."""
    rows = size = 0
    for start in range(0, len(old), IDS_PER_STATEMENT):
        batch = old[start : start + IDS_PER_STATEMENT]
        ids = [run.id for run in batch]
        small = [run.id for run in batch if run.log_bytes is not None and run.log_bytes <= SMALL_LOG_BYTES]
        stored_execs.discard_logs(connection, sorted(set(ids) - set(small)))
        deletion = execs.delete().where(execs.c.id.in_(ids), execs.c.ended_at.is_not(None))
        rows += connection.execute(deletion).rowcount
        with_log = [run for run in batch if run.id in set(small) and run.log_bytes]
        if with_log:
            connection.execute(log_chunks.delete().where(log_chunks.c.exec_id.in_([o.id for o in with_log])))
            size += sum(run.log_bytes or 0 for run in with_log)
    return Cleared(rows, size)


def delete_occurrences(
    connection: Connection, job_id: int, *, before: datetime | None, limit: int
) -> Cleared:
    """Delete the oldest entries of the job's ledger, at most `limit`.

    Args:
        connection: inside a transaction.
        job_id: the job.
        before: only due times before this that were also decided before this and are earlier than the first
            undecided one, so that the schedule never returns to them. None for all.
        limit: maximum number of entries.
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
        deletion = occurrences.delete().where(
            occurrences.c.job_id == job_id, occurrences.c.due_at.in_(due[start : start + IDS_PER_STATEMENT])
        )
        rows += connection.execute(deletion).rowcount
    return Cleared(rows)


def unmeasured(connection: Connection, *, limit: int) -> list[str]:
    """Ended runs whose logs have not been measured, in the order in which they ended."""
    query = (
        sa.select(execs.c.id)
        .where(execs.c.ended_at.is_not(None), execs.c.log_bytes.is_(None))
        .order_by(execs.c.ended_at)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def log_sizes(connection: Connection, exec_ids: Collection[str]) -> dict[str, int]:
    """The size of each run's log, in bytes."""
    sizes = dict.fromkeys(exec_ids, 0)
    for exec_id in exec_ids:
        total = sa.select(sa.func.sum(sa.func.length(log_chunks.c.data))).where(
            log_chunks.c.exec_id == exec_id
        )
        sizes[exec_id] = connection.execute(total).scalar() or 0
    return sizes


def note_log_sizes(connection: Connection, sizes: dict[str, int]) -> None:
    """Store the log sizes of ended runs."""
    if sizes:
        connection.execute(
            execs.update()
            .where(execs.c.id == sa.bindparam("which"), execs.c.ended_at.is_not(None))
            .values(log_bytes=sa.bindparam("size")),
            [{"which": exec_id, "size": size} for exec_id, size in sizes.items()],
        )


def delete_logs(connection: Connection, *, limit: int) -> Cleared:
    """Delete chunks of logs whose run was deleted: at most `limit` chunks, of at most as many runs."""
    exec_ids = connection.execute(sa.select(discarded_logs.c.exec_id).limit(limit)).scalars().all()
    cleared = Cleared(0)
    for start in range(0, len(exec_ids), IDS_PER_STATEMENT):
        batch = exec_ids[start : start + IDS_PER_STATEMENT]
        key = (log_chunks.c.exec_id, log_chunks.c.seq)
        left = limit - cleared.rows
        which = sa.select(*key).where(log_chunks.c.exec_id.in_(batch)).limit(left)
        deletion = log_chunks.delete().where(sa.tuple_(*key).in_(which))
        sizes = connection.execute(deletion.returning(sa.func.length(log_chunks.c.data))).scalars().all()
        cleared = Cleared(cleared.rows + len(sizes), cleared.log_bytes + sum(sizes))
        is_empty = ~sa.exists().where(log_chunks.c.exec_id == discarded_logs.c.exec_id)
        if len(sizes) < left:
            is_empty = sa.true()
        connection.execute(discarded_logs.delete().where(discarded_logs.c.exec_id.in_(batch), is_empty))
        if cleared.rows >= limit:
            break
    return cleared


def any_forgotten_log(connection: Connection) -> bool:
    """Whether there are logs whose run was deleted."""
    return connection.execute(sa.select(discarded_logs.c.exec_id).limit(1)).first() is not None
