"""The ledger: exactly one row with the outcome for every due time of every active schedule.

Writing the row is the claim to run it. If two daemons race for it, the primary key lets one of them win.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.execution import Occurrence, Outcome
from scheduler.store.inserting import insert_into
from scheduler.store.rows import reader, values_of
from scheduler.store.tables import occurrences

_entry = reader(Occurrence)


def record(connection: Connection, entries: Sequence[Occurrence]) -> set[tuple[int, datetime]]:
    """Write entries that do not exist yet; returns the (job, due time) pairs that were written, which are ours."""
    if not entries:
        return set()
    statement = (
        insert_into(connection, occurrences)
        .on_conflict_do_nothing()
        .returning(occurrences.c.job_id, occurrences.c.due_at)
    )
    rows = connection.execute(statement, [values_of(entry) for entry in entries])
    return {(job_id, due_at) for job_id, due_at in rows}


def page(
    connection: Connection,
    *,
    job_id: int,
    start: datetime | None,
    end: datetime | None,
    outcomes: Sequence[Outcome] | None,
    offset: int,
    limit: int,
) -> tuple[int, list[Occurrence]]:
    """The number of matching entries, and `limit` of them from `offset` on, latest due time first.

    Args:
        connection: inside a transaction.
        job_id: the job.
        start: earliest due time, inclusive.
        end: latest due time, inclusive.
        outcomes: only these; None for all.
        offset: number of entries to skip.
        limit: maximum number of entries.
    """
    conditions = [occurrences.c.job_id == job_id]
    if start is not None:
        conditions.append(occurrences.c.due_at >= start)
    if end is not None:
        conditions.append(occurrences.c.due_at <= end)
    if outcomes is not None:
        conditions.append(occurrences.c.outcome.in_(outcomes))
    count = connection.execute(
        sa.select(sa.func.count()).select_from(occurrences).where(*conditions)
    ).scalar_one()
    rows = connection.execute(
        sa.select(occurrences)
        .where(*conditions)
        .order_by(occurrences.c.due_at.desc())
        .offset(offset)
        .limit(limit)
    )
    return count, [_entry(row) for row in rows.mappings()]
