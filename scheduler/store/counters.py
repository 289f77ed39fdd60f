"""Unique numbers: a counter is a row, and taking numbers from it is one statement.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from scheduler.store.inserting import insert_into
from scheduler.store.tables import counters


def take(connection: Connection, name: str, count: int) -> int:
    """Take `count` consecutive numbers from a counter that begins at 1; returns the first of them."""
    statement = insert_into(connection, counters).values(name=name, value=count)
    statement = statement.on_conflict_do_update(
        index_elements=[counters.c.name], set_={"value": counters.c.value + count}
    )
    last = connection.execute(statement.returning(counters.c.value)).scalar_one()
    return int(last) - count + 1
