"""Runs as rows, and the only place that writes a status.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.execution import Exec, ExecStatus, check_transition
from scheduler.domain.hook import EVENT_OF_STATUS
from scheduler.store import counters, outbox
from scheduler.store.inserting import insert_into
from scheduler.store.jobs import IDS_PER_STATEMENT, deleted_ids
from scheduler.store.rows import reader, values_of
from scheduler.store.tables import discarded_logs, exec_labels, execs, jobs

_open = execs.c.ended_at.is_(None)


#: The run in a row.
from_row = reader(Exec)


def insert(connection: Connection, new: Iterable[Exec]) -> None:
    """Store new, waiting runs and assign their numbers."""
    rows, labels = [], []
    new = list(new)
    first = counters.take(connection, "execs", len(new)) if new else 0
    for number, run in enumerate(new, first):
        rows.append(values_of(run) | {"number": number})
        for name, value in run.spec.labels.items():
            labels.append({"exec_id": run.id, "name": name, "value": value, "created_at": run.created_at})
    if rows:
        connection.execute(execs.insert(), rows)
    if labels:
        connection.execute(exec_labels.insert(), labels)


def get(connection: Connection, exec_id: str) -> Exec | None:
    """The run with that id, or None."""
    row = connection.execute(sa.select(execs).where(execs.c.id == exec_id)).mappings().first()
    return None if row is None else from_row(row)


def by_number(connection: Connection, number: int) -> Exec | None:
    """The run with that number, or None."""
    row = connection.execute(sa.select(execs).where(execs.c.number == number)).mappings().first()
    return None if row is None else from_row(row)


def page(
    connection: Connection,
    *,
    job_id: int,
    offset: int,
    limit: int,
    statuses: Collection[ExecStatus] = (),
) -> tuple[int, list[Exec]]:
    """The number of runs of a job with these statuses, and `limit` of them from `offset` on, the latest first."""
    wanted = execs.c.job_id == job_id
    if statuses:
        wanted = sa.and_(wanted, execs.c.status.in_(sorted(statuses)))
    count = connection.execute(sa.select(sa.func.count()).select_from(execs).where(wanted)).scalar_one()
    newest = (execs.c.created_at.desc(), execs.c.id.desc())
    rows = connection.execute(sa.select(execs).where(wanted).order_by(*newest).offset(offset).limit(limit))
    return count, [from_row(row) for row in rows.mappings()]


def of_visible_jobs(connection: Connection) -> list[sa.ColumnElement[bool]]:
    """The condition that excludes runs of deleted jobs; empty if there are none left to clear."""
    hidden = deleted_ids(connection)
    return [execs.c.job_id.not_in(hidden)] if hidden else []


def latest_of(connection: Connection, job_ids: Collection[int]) -> dict[int, Exec]:
    """The latest run of each job that has one, by the job's id."""
    other = execs.alias()
    newest = (
        sa.select(other.c.id)
        .where(other.c.job_id == jobs.c.id)
        .order_by(other.c.created_at.desc(), other.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    found: dict[int, Exec] = {}
    ids = sorted(set(job_ids))
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        some = ids[start : start + IDS_PER_STATEMENT]
        query = sa.select(execs).join_from(jobs, execs, execs.c.id == newest).where(jobs.c.id.in_(some))
        found.update((row["job_id"], from_row(row)) for row in connection.execute(query).mappings())
    return found


def open_of_job(connection: Connection, job_id: int) -> list[Exec]:
    """The open runs of a job, the oldest first."""
    query = sa.select(execs).where(execs.c.job_id == job_id, _open).order_by(execs.c.created_at)
    return [from_row(row) for row in connection.execute(query).mappings()]


def count_open(connection: Connection, job_ids: Collection[int]) -> dict[int, int]:
    """The number of open runs of each job that has any."""
    found: dict[int, int] = {}
    ids = sorted(set(job_ids))
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        query = (
            sa.select(execs.c.job_id, sa.func.count())
            .where(_open, execs.c.job_id.in_(ids[start : start + IDS_PER_STATEMENT]))
            .group_by(execs.c.job_id)
        )
        found.update((job_id, count) for job_id, count in connection.execute(query))
    return found


def stop(connection: Connection, run: Exec, *, now: datetime, reason: str) -> None:
    """Store the request to stop a run; a run that was not dispatched ends immediately.

    Only the first request counts, and runs that have ended are not changed.

    Args:
        connection: inside a transaction.
        run: as it was read in this transaction.
        now: the present (UTC).
        reason: who or what requested it, in words.
    """
    if run.status is ExecStatus.WAITING and run.dispatched_at is None:
        fields: dict[str, Any] = {
            "stop_requested_at": now,
            "stop_reason": reason,
            "ended_at": now,
            "error": f"The run was stopped before its container started: {reason}.",
        }
        if _change(
            connection, run.id, run.status, ExecStatus.CANCELLED, execs.c.dispatched_at.is_(None), **fields
        ):
            return
    wanted = sa.and_(execs.c.id == run.id, _open, execs.c.stop_requested_at.is_(None))
    connection.execute(execs.update().where(wanted).values(stop_requested_at=now, stop_reason=reason))


def request_start(connection: Connection, exec_id: str, *, owner: str | None, at: datetime) -> bool:
    """Store that the engine is about to be asked to start a run's container, which happens only once per run.

    Args:
        connection: inside a transaction.
        exec_id: the run, which must be waiting.
        owner: the daemon that must manage it. One that was frozen and lost the run to another one is refused.
        at: the present (UTC); identifies this request if it is repeated because its answer was lost.

    Returns:
        Whether this request is stored. If it is not, the engine must not be asked.
    """
    mine = sa.and_(execs.c.id == exec_id, execs.c.status == ExecStatus.WAITING, execs.c.owner == owner)
    first = execs.update().where(mine, execs.c.start_requested_at.is_(None)).values(start_requested_at=at)
    if connection.execute(first).rowcount == 1:
        return True
    same = sa.select(execs.c.id).where(mine, execs.c.start_requested_at == at)
    return connection.execute(same).first() is not None


def withdraw_start(connection: Connection, exec_id: str, *, owner: str | None, at: datetime) -> None:
    """Delete a request that `request_start` has stored, because it certainly did not reach the engine."""
    mine = sa.and_(execs.c.id == exec_id, execs.c.owner == owner, execs.c.start_requested_at == at)
    connection.execute(execs.update().where(mine).values(start_requested_at=None))


def change_status(
    connection: Connection,
    exec_id: str,
    before: ExecStatus,
    after: ExecStatus,
    *,
    owner: str | None = None,
    retry: Exec | None = None,
    **fields: Any,
) -> bool:
    """Compare and set the status of a run, together with the fields that belong to the change.

    Notifications about it are written to the outbox.

    Args:
        connection: inside a transaction.
        exec_id: the run.
        before: the status that it must have.
        after: the new status.
        owner: the daemon that must manage it; None if no daemon may. A daemon that was frozen and lost its runs to
            another one can therefore not change them.
        retry: the attempt that follows, if any. A run is not retried if its stop was requested, even at the last
            moment, so the change is only made if it was not.
        fields: other columns to write.

    Returns:
        Whether the run had the status `before` and that owner, so that the change was made.

    Raises:
        ValueError: the table has no such transition.
    """
    same = execs.c.owner.is_(None) if owner is None else execs.c.owner == owner
    if retry is not None:
        same = sa.and_(same, execs.c.stop_requested_at.is_(None))
    return _change(connection, exec_id, before, after, same, retry=retry, **fields)


def _change(
    connection: Connection,
    exec_id: str,
    before: ExecStatus,
    after: ExecStatus,
    condition: sa.ColumnElement[bool],
    *,
    retry: Exec | None = None,
    **fields: Any,
) -> bool:
    check_transition(before, after)
    same = sa.and_(execs.c.id == exec_id, execs.c.status == before, condition)
    if connection.execute(execs.update().where(same).values(status=after, **fields)).rowcount != 1:
        return False
    event = EVENT_OF_STATUS[after]
    if receivers := outbox.receivers_of(connection, exec_id, event):
        changed = get(connection, exec_id)
        assert changed is not None  # noqa: S101 - it was changed in this transaction
        outbox.put_exec(connection, receivers, event, changed, retry)
    return True


def delete(connection: Connection, exec_id: str) -> None:
    """Delete a run. Its log is no longer accessible and is deleted in batches."""
    discard_logs(connection, [exec_id])
    connection.execute(execs.delete().where(execs.c.id == exec_id))


def discard_logs(connection: Connection, exec_ids: Sequence[str]) -> None:
    """Mark the logs of deleted runs for deletion; repeating it changes nothing."""
    if exec_ids:
        rows = [{"exec_id": exec_id} for exec_id in exec_ids]
        connection.execute(insert_into(connection, discarded_logs).on_conflict_do_nothing(), rows)


def existing_open(connection: Connection, exec_ids: Sequence[str]) -> set[str]:
    """The runs that exist and have not ended."""
    found: set[str] = set()
    for start in range(0, len(exec_ids), IDS_PER_STATEMENT):
        some = exec_ids[start : start + IDS_PER_STATEMENT]
        found.update(connection.execute(sa.select(execs.c.id).where(execs.c.id.in_(some), _open)).scalars())
    return found
