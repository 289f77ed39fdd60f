"""Finds out whether a transaction was committed whose answer got lost with the connection.

Only PostgreSQL can leave that open: SQLite answers in the same process. The server is asked for the transaction by
its number, for some seconds if it has to come back first.
"""

from __future__ import annotations

import time
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

#: Seconds for which a server that is away is waited for, and between two tries.
PATIENCE: Final = 10.0
PAUSE: Final = 0.2


def transaction_id(connection: Connection) -> str | None:
    """The number by which the transaction can be asked for later; None if it has changed nothing, or cannot be."""
    if connection.dialect.name != "postgresql":
        return None
    found = connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()::text").scalar()
    return None if found is None else str(found)


def has_happened(engine: Engine, transaction: str) -> bool:
    """Whether the transaction was committed; False also where nobody can tell.

    (PostgreSQL manual, 9.27.8: ``pg_xact_status`` tells of recent transactions, also after a crash of the server.)
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with engine.connect() as connection:
                question = sa.text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")
                status = connection.execute(question, {"number": transaction}).scalar()
        except SQLAlchemyError:
            status = "in progress"
        # 'in progress': the server has not noticed yet that the client is gone.
        if status != "in progress" or time.monotonic() > deadline:
            return status == "committed"
        time.sleep(PAUSE)
