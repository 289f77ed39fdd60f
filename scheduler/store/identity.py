"""Which daemons use this database: the installation's id, and the daemons' leases.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain import chance
from scheduler.store.inserting import insert_into
from scheduler.store.tables import duties, facts, from_micros, instances

#: Fact of a backup: when it was taken, in microseconds since 1970.
BACKUP_TAKEN_AT = "backup_taken_at"


def installation_id(connection: Connection) -> str:
    """The id in the labels of all containers of this database's daemons; created on first use."""
    value = connection.execute(sa.select(facts.c.value).where(facts.c.name == "installation")).scalar()
    if value is None:
        value = chance.new_hex()
        connection.execute(facts.insert().values(name="installation", value=value))
    return str(value)


def restored_to(connection: Connection) -> datetime | None:
    """When the backup was taken from which this database was restored; None if it was not restored."""
    taken_at = connection.execute(sa.select(facts.c.value).where(facts.c.name == BACKUP_TAKEN_AT)).scalar()
    return None if taken_at is None else from_micros(int(taken_at))


def renew_lease(connection: Connection, instance: str, *, now: datetime, until: datetime) -> None:
    """Renew the lease of an instance."""
    alive = instances.update().where(instances.c.id == instance).values(lease_until=until)
    if connection.execute(alive).rowcount == 0:
        connection.execute(instances.insert().values(id=instance, started_at=now, lease_until=until))


def is_alive(connection: Connection, instance: str, *, now: datetime) -> bool:
    """Whether the instance's lease is valid, so that nobody else can have taken its runs."""
    query = sa.select(instances.c.lease_until).where(instances.c.id == instance)
    until = connection.execute(query).scalar()
    return until is not None and until > now


def end_lease(connection: Connection, instance: str) -> None:
    """Release the lease and the duties of an instance that stops, so that others can take them over."""
    connection.execute(duties.delete().where(duties.c.holder == instance))
    connection.execute(instances.delete().where(instances.c.id == instance))


def forget_instances(connection: Connection, *, ended_before: datetime) -> None:
    """Delete instances whose lease expired before a moment."""
    connection.execute(instances.delete().where(instances.c.lease_until < ended_before))


def live_instances(connection: Connection, now: datetime) -> set[str]:
    """The instances whose lease is valid."""
    return set(connection.execute(sa.select(instances.c.id).where(instances.c.lease_until > now)).scalars())


_me: Final = sa.bindparam("me", type_=sa.Text)
_TAKE_DUTY: Final = (
    duties.update()
    .where(
        duties.c.name == sa.bindparam("duty", type_=sa.Text),
        sa.or_(duties.c.holder == _me, duties.c.held_until < sa.bindparam("now")),
    )
    .values(holder=_me, held_until=sa.bindparam("until"))
)


def take_duty(connection: Connection, name: str, holder: str, *, now: datetime, until: datetime) -> bool:
    """Take or keep a duty that only one daemon has at a time; False if another daemon has it."""
    given = {"duty": name, "me": holder, "now": now, "until": until}
    if connection.execute(_TAKE_DUTY, given).rowcount == 1:
        return True
    new = insert_into(connection, duties).values(name=name, holder=holder, held_until=until)
    return connection.execute(new.on_conflict_do_nothing().returning(duties.c.name)).first() is not None
