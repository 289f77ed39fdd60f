"""Secrets as rows: set, listed without their values, read in their sealed form, deleted.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.secret import Secret
from scheduler.store.tables import secret_uses, secrets

_used_by = (
    sa.select(sa.func.count())
    .where(secret_uses.c.namespace == secrets.c.namespace, secret_uses.c.name == secrets.c.name)
    .scalar_subquery()
    .label("used_by")
)
_shown = [*(column for column in secrets.c if column is not secrets.c.value), _used_by]


def _is(namespace: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(secrets.c.namespace == namespace, secrets.c.name == name)


def put(connection: Connection, namespace: str, name: str, sealed: str, *, user: str, now: datetime) -> bool:
    """Store a secret or replace its value; whether it is new."""
    changed: dict[str, Any] = {"value": sealed, "updated_by": user, "updated_at": now}
    if connection.execute(secrets.update().where(_is(namespace, name)).values(**changed)).rowcount:
        return False
    connection.execute(
        secrets.insert().values(namespace=namespace, name=name, created_by=user, created_at=now, **changed)
    )
    return True


def get(connection: Connection, namespace: str, name: str) -> Secret | None:
    """What is known of a secret, or None."""
    row = connection.execute(sa.select(*_shown).where(_is(namespace, name))).mappings().first()
    return None if row is None else Secret(**row)


def page(connection: Connection, namespace: str, *, offset: int, limit: int) -> tuple[int, list[Secret]]:
    """How many secrets a namespace has, and `limit` of them from `offset` on, by name."""
    where = secrets.c.namespace == namespace
    count = connection.execute(sa.select(sa.func.count()).select_from(secrets).where(where)).scalar_one()
    query = sa.select(*_shown).where(where).order_by(secrets.c.name).offset(offset).limit(limit)
    return count, [Secret(**row) for row in connection.execute(query).mappings()]


def delete(connection: Connection, namespace: str, name: str) -> bool:
    """Remove a secret; whether there was one."""
    return bool(connection.execute(secrets.delete().where(_is(namespace, name))).rowcount)


def sealed(connection: Connection, namespace: str, names: Collection[str]) -> dict[str, str]:
    """The sealed values of those of the secrets that exist, by name."""
    where = sa.and_(secrets.c.namespace == namespace, secrets.c.name.in_(names))
    rows = connection.execute(sa.select(secrets.c.name, secrets.c.value).where(where))
    return {row.name: row.value for row in rows}


def all_sealed(connection: Connection) -> list[tuple[str, str, str]]:
    """Of every secret its namespace, its name and its sealed value."""
    rows = connection.execute(sa.select(secrets.c.namespace, secrets.c.name, secrets.c.value))
    return [(row.namespace, row.name, row.value) for row in rows]


def reseal(connection: Connection, namespace: str, name: str, before: str, after: str) -> None:
    """Replace a sealed value, unless it was changed since."""
    unchanged = sa.and_(_is(namespace, name), secrets.c.value == before)
    connection.execute(secrets.update().where(unchanged).values(value=after))
