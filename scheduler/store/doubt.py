"""Determines whether a transaction was committed if the answer was lost with the connection.

This can only happen with PostgreSQL; SQLite answers in the same process. The server is asked about the transaction by
its number, for some seconds if it must come back first.
"""

from __future__ import annotations

import time
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

#: Seconds to wait for an unavailable server, and between two attempts.
PATIENCE: Final = 10.0
PAUSE: Final = 0.2


def transaction_id(connection: Connection) -> str | None:
    """The number that identifies the transaction later; None if it has changed nothing, or there is none."""
    if connection.dialect.name != "postgresql":
        return None
    number = connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()::text").scalar()
    return None if number is None else str(number)


def has_happened(engine: Engine, transaction: str) -> bool:
    """Whether the transaction was committed; False also if that cannot be determined.

    (PostgreSQL manual, 9.27.8: ``pg_xact_status`` reports recent transactions, even after a crash of the server.)
    """
    deadline = time.monotonic() + PATIENCE  # noqa: TID251 - waits for a server on the thread itself
    while True:
        try:
            with engine.connect() as connection:
                question = sa.text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")
                status = connection.execute(question, {"number": transaction}).scalar()
        except SQLAlchemyError:
            status = "in progress"
        # 'in progress': the server has not noticed yet that the client's connection is lost.
        if status != "in progress" or time.monotonic() > deadline:  # noqa: TID251 - as above
            return status == "committed"
        time.sleep(PAUSE)
