"""Which daemons use this database: the installation's id, and the daemons' leases.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.store.tables import facts, instances


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
