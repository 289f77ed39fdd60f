"""The INSERT statement of the database in use, which can handle existing rows.

Its dialect is imported on first use: the one for PostgreSQL takes memory that a daemon with SQLite does not need.
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
