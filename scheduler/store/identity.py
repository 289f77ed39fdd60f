"""Who uses this database: the installation's id, the daemons' leases, the access tokens.

A token is stored as its SHA-256 alone: it is random, so no slower hash is needed, and what is stored cannot be
used. Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.store.tables import facts, instances, tokens


@dataclass(frozen=True, slots=True)
class StoredToken:
    """Whom a token stands for; `namespace` None means all of them."""

    username: str
    namespace: str | None
    role: str


def installation_id(connection: Connection) -> str:
    """The id that all containers of this database's daemons carry; made on first use."""
    found = connection.execute(sa.select(facts.c.value).where(facts.c.name == "installation")).scalar()
    if found is None:
        found = uuid.uuid4().hex
        connection.execute(facts.insert().values(name="installation", value=found))
    return str(found)


def renew_lease(connection: Connection, instance: str, *, now: datetime, until: datetime) -> None:
    """Say that the instance is alive until then."""
    alive = instances.update().where(instances.c.id == instance).values(lease_until=until)
    if connection.execute(alive).rowcount == 0:
        connection.execute(instances.insert().values(id=instance, started_at=now, lease_until=until))


def end_lease(connection: Connection, instance: str) -> None:
    """Say that the instance has stopped in order."""
    connection.execute(instances.delete().where(instances.c.id == instance))


def live_instances(connection: Connection, now: datetime) -> set[str]:
    """The instances whose lease has not ended."""
    return set(connection.execute(sa.select(instances.c.id).where(instances.c.lease_until > now)).scalars())


def find_token(connection: Connection, sha256: str) -> StoredToken | None:
    """Whom the token of that hash stands for, or None."""
    row = connection.execute(sa.select(tokens).where(tokens.c.sha256 == sha256)).mappings().first()
    return None if row is None else StoredToken(row["username"], row["namespace"], row["role"])


def add_token(connection: Connection, sha256: str, prefix: str, token: StoredToken, *, now: datetime) -> None:
    """Store a token's hash with whom it stands for."""
    connection.execute(
        tokens.insert().values(
            sha256=sha256,
            prefix=prefix,
            username=token.username,
            namespace=token.namespace,
            role=token.role,
            created_at=now,
        )
    )


def remove_tokens(connection: Connection, username: str) -> None:
    """Forget all tokens of a user."""
    connection.execute(tokens.delete().where(tokens.c.username == username))
