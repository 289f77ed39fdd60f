"""Credentials for registries as rows, and the images that each namespace has pulled itself.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.registry import Registry
from scheduler.store.inserting import insert_into
from scheduler.store.rows import reader
from scheduler.store.sealed import SealedTable
from scheduler.store.tables import image_grants, registries

#: How long a pull of an image counts for a namespace. Then the registry is asked again.
GRANT_LIFETIME: Final = timedelta(days=90)

_rows = SealedTable(registries.c.host, registries.c.password, reader(Registry))
get, page, reseal = _rows.get, _rows.page, _rows.reseal


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
    """Store a credential or replace it; returns whether it is new."""
    forget_grants(connection, namespace, host)
    return _rows.put(connection, namespace, host, user=user, now=now, username=username, password=sealed)


def delete(connection: Connection, namespace: str, host: str) -> bool:
    """Delete a credential and the grants for what was pulled with it; returns whether it existed."""
    forget_grants(connection, namespace, host)
    return _rows.delete(connection, namespace, host)


def sealed(connection: Connection, namespace: str, host: str) -> tuple[str, str] | None:
    """The user name and the sealed password of a credential, or None."""
    columns = (registries.c.username, registries.c.password)
    row = connection.execute(sa.select(*columns).where(_rows.row(namespace, host))).first()
    return None if row is None else (row.username, row.password)


def all_sealed(connection: Connection) -> list[tuple[str, str, str, str]]:
    """The namespace, host, user name and sealed password of every credential."""
    columns = (registries.c.namespace, registries.c.host, registries.c.username, registries.c.password)
    return [tuple(row) for row in connection.execute(sa.select(*columns))]


def is_private(connection: Connection, host: str) -> bool:
    """Whether any namespace has a credential for the registry, so that its images may be private."""
    query = sa.select(registries.c.host).where(registries.c.host == host).limit(1)
    return connection.execute(query).first() is not None


def is_granted(connection: Connection, namespace: str, image: str, image_id: str, *, now: datetime) -> bool:
    """Whether the namespace has pulled exactly this image itself, under that name."""
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
    """Record that a namespace has pulled an image; grants that have expired are deleted."""
    old = sa.and_(image_grants.c.namespace == namespace, image_grants.c.granted_at <= now - GRANT_LIFETIME)
    connection.execute(image_grants.delete().where(old))
    values = {"host": host, "image_id": image_id, "granted_at": now}
    statement = insert_into(connection, image_grants).values(namespace=namespace, image=image, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["namespace", "image"], set_=values))


def forget_grants(connection: Connection, namespace: str, host: str) -> None:
    """Delete the grants of a namespace for a registry, so that its images are pulled again."""
    theirs = sa.and_(image_grants.c.namespace == namespace, image_grants.c.host == host)
    connection.execute(image_grants.delete().where(theirs))
