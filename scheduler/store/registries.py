"""Credentials for registries as rows, and which images each namespace has pulled itself.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.registry import Registry
from scheduler.store.inserting import insert_into
from scheduler.store.tables import image_grants, registries

#: For so long it is remembered that a namespace has pulled an image; then its registry is asked again.
GRANT_LIFETIME: Final = timedelta(days=90)

_shown = [column for column in registries.c if column is not registries.c.password]


def _is(namespace: str, host: str) -> sa.ColumnElement[bool]:
    return sa.and_(registries.c.namespace == namespace, registries.c.host == host)


def put(
    connection: Connection,
    namespace: str,
    host: str,
    *,
    username: str,
    sealed: str,
    user: str,
    now: datetime,
) -> bool:
    """Store a credential or replace it; whether it is new."""
    forget_grants(connection, namespace, host)
    changed: dict[str, Any] = {
        "username": username,
        "password": sealed,
        "updated_by": user,
        "updated_at": now,
    }
    if connection.execute(registries.update().where(_is(namespace, host)).values(**changed)).rowcount:
        return False
    connection.execute(
        registries.insert().values(namespace=namespace, host=host, created_by=user, created_at=now, **changed)
    )
    return True


def get(connection: Connection, namespace: str, host: str) -> Registry | None:
    """What is known of a credential, or None."""
    row = connection.execute(sa.select(*_shown).where(_is(namespace, host))).mappings().first()
    return None if row is None else Registry(**row)


def page(connection: Connection, namespace: str, *, offset: int, limit: int) -> tuple[int, list[Registry]]:
    """How many credentials a namespace has, and `limit` of them from `offset` on, by host."""
    where = registries.c.namespace == namespace
    count = connection.execute(sa.select(sa.func.count()).select_from(registries).where(where)).scalar_one()
    query = sa.select(*_shown).where(where).order_by(registries.c.host).offset(offset).limit(limit)
    return count, [Registry(**row) for row in connection.execute(query).mappings()]


def delete(connection: Connection, namespace: str, host: str) -> bool:
    """Remove a credential, and what was pulled with it is granted no more; whether there was one."""
    forget_grants(connection, namespace, host)
    return bool(connection.execute(registries.delete().where(_is(namespace, host))).rowcount)


def sealed(connection: Connection, namespace: str, host: str) -> tuple[str, str] | None:
    """The user name and the sealed password of a credential, or None."""
    columns = (registries.c.username, registries.c.password)
    row = connection.execute(sa.select(*columns).where(_is(namespace, host))).first()
    return None if row is None else (row.username, row.password)


def all_sealed(connection: Connection) -> list[tuple[str, str, str, str]]:
    """Of every credential its namespace, host, user name and sealed password."""
    columns = (registries.c.namespace, registries.c.host, registries.c.username, registries.c.password)
    return [tuple(row) for row in connection.execute(sa.select(*columns))]


def reseal(connection: Connection, namespace: str, host: str, before: str, after: str) -> None:
    """Replace a sealed password, unless it was changed since."""
    unchanged = sa.and_(_is(namespace, host), registries.c.password == before)
    connection.execute(registries.update().where(unchanged).values(password=after))


def is_private(connection: Connection, host: str) -> bool:
    """Whether any namespace has a credential for the registry, so that images of it may be private."""
    query = sa.select(registries.c.host).where(registries.c.host == host).limit(1)
    return connection.execute(query).first() is not None


def is_granted(connection: Connection, namespace: str, image: str, image_id: str, *, now: datetime) -> bool:
    """Whether the namespace has pulled this very image itself, under that name."""
    query = sa.select(image_grants.c.image).where(
        image_grants.c.namespace == namespace,
        image_grants.c.image == image,
        image_grants.c.image_id == image_id,
        image_grants.c.granted_at > now - GRANT_LIFETIME,
    )
    return connection.execute(query).first() is not None


def grant(
    connection: Connection, namespace: str, image: str, image_id: str, *, host: str, now: datetime
) -> None:
    """Remember that a namespace has pulled an image; what it has not pulled for long is forgotten."""
    old = sa.and_(image_grants.c.namespace == namespace, image_grants.c.granted_at <= now - GRANT_LIFETIME)
    connection.execute(image_grants.delete().where(old))
    values = {"host": host, "image_id": image_id, "granted_at": now}
    statement = insert_into(connection, image_grants).values(namespace=namespace, image=image, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["namespace", "image"], set_=values))


def forget_grants(connection: Connection, namespace: str, host: str) -> None:
    """What a namespace has pulled from a registry is asked for again."""
    theirs = sa.and_(image_grants.c.namespace == namespace, image_grants.c.host == host)
    connection.execute(image_grants.delete().where(theirs))
