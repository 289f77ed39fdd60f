"""The INSERT of the database at hand, which knows what to do about rows that are there already.

Its dialect is loaded when it is used: the one for PostgreSQL takes memory that a daemon on SQLite does not need.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def insert_into(connection: Connection, table: sa.Table) -> Any:
    """An INSERT into the table with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415 - see above

        return insert(table)
    from sqlalchemy.dialects.sqlite import insert as insert_here  # noqa: PLC0415 - see above

    return insert_here(table)
