"""Secrets as rows: stored, listed without their values, read in sealed form, deleted.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.secret import Secret
from scheduler.store.rows import reader
from scheduler.store.sealed import SealedTable
from scheduler.store.tables import secret_uses, secrets

_used_by = (
    sa.select(sa.func.count())
    .where(secret_uses.c.namespace == secrets.c.namespace, secret_uses.c.name == secrets.c.name)
    .scalar_subquery()
    .label("used_by")
)
_rows = SealedTable(secrets.c.name, secrets.c.value, reader(Secret), _used_by)
get, page, delete, reseal = _rows.get, _rows.page, _rows.delete, _rows.reseal


def put(connection: Connection, namespace: str, name: str, sealed: str, *, user: str, now: datetime) -> bool:
    """Store a secret or replace its value; returns whether it is new."""
    return _rows.put(connection, namespace, name, user=user, now=now, value=sealed)


def sealed(connection: Connection, namespace: str, names: Collection[str]) -> dict[str, str]:
    """The sealed values of the secrets that exist, by name."""
    where = sa.and_(secrets.c.namespace == namespace, secrets.c.name.in_(names))
    rows = connection.execute(sa.select(secrets.c.name, secrets.c.value).where(where))
    return {row.name: row.value for row in rows}


def all_sealed(connection: Connection) -> list[tuple[str, str, str]]:
    """The namespace, name and sealed value of every secret."""
    rows = connection.execute(sa.select(secrets.c.namespace, secrets.c.name, secrets.c.value))
    return [(row.namespace, row.name, row.value) for row in rows]
