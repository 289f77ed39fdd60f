"""The audit log as rows: added, read, and deleted when their retention ends; never changed.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.account import AuditEntry, AuditQuery
from scheduler.store.rows import reader, values_of
from scheduler.store.tables import audit

_entry = reader(AuditEntry)


def add(connection: Connection, entry: AuditEntry) -> None:
    """Add an entry."""
    values = {name: value for name, value in values_of(entry).items() if name != "id"}
    connection.execute(audit.insert().values(**values))


def page(
    connection: Connection, query: AuditQuery, *, offset: int, limit: int
) -> tuple[int, list[AuditEntry]]:
    """The number of matching entries, and `limit` of them from `offset` on, newest first."""
    conditions = [
        column == value
        for column, value in (
            (audit.c.username, query.username),
            (audit.c.action, query.action),
            (audit.c.namespace, query.namespace),
            (audit.c.outcome, query.outcome),
        )
        if value is not None
    ]
    if query.start is not None:
        conditions.append(audit.c.at >= query.start)
    if query.end is not None:
        conditions.append(audit.c.at <= query.end)
    count = connection.execute(sa.select(sa.func.count()).select_from(audit).where(*conditions)).scalar_one()
    rows = connection.execute(
        sa.select(audit)
        .where(*conditions)
        .order_by(audit.c.at.desc(), audit.c.id.desc())
        .offset(offset)
        .limit(limit)
    )
    return count, [_entry(row) for row in rows.mappings()]


def forget(connection: Connection, before: datetime, *, limit: int) -> int:
    """Delete at most `limit` entries older than that; returns the number of deleted entries."""
    oldest = sa.select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)
    return connection.execute(audit.delete().where(audit.c.id.in_(oldest))).rowcount
