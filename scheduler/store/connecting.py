"""Connects to SQLite or PostgreSQL, with the settings that the store relies on."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

#: PostgreSQL: seconds without an acknowledgement after which a server is given up, when connecting or later.
SILENCE_SECONDS: Final = 10
#: SQLite: size in bytes to which the write-ahead log is truncated when it is not needed.
LONGEST_LOG: Final = 64 * 1024 * 1024


def make_pool(url: URL, *, pool_size: int, for_writing: bool, wait_seconds: float) -> Engine:
    """A pool of connections, which are made when they are needed.

    Args:
        url: of the database.
        pool_size: maximum number of connections.
        for_writing: whether a SQLite transaction takes the lock for writing when it begins.
        wait_seconds: how long to wait for a lock that others hold.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=not is_sqlite,
        connect_args={} if is_sqlite else _postgresql_limits(url, wait_seconds),
    )
    if is_sqlite:
        busy_timeout = f"PRAGMA busy_timeout={round(wait_seconds * 1000)}"
        begin = "BEGIN IMMEDIATE" if for_writing else "BEGIN"

        def prepare(connection: Any, _record: object) -> None:
            connection.execute(busy_timeout).close()
            _prepare_sqlite(connection)

        event.listen(engine, "connect", prepare)

        def start(connection: Any) -> None:
            try:
                connection.connection.driver_connection.execute(begin).close()
            except sqlite3.Error as error:
                raise sa.exc.DBAPIError.instance(
                    begin, None, error, sqlite3.Error, dialect=connection.dialect
                ) from error

        event.listen(engine, "begin", start)
    return engine


def _postgresql_limits(url: URL, wait_seconds: float) -> dict[str, Any]:
    """Timeouts of the server; settings in the URL take precedence.

    A daemon that is frozen in the middle of a transaction must not block others forever: the server ends its
    session, and with it its locks, before they stop waiting for one.
    """
    limits = {
        "connect_timeout": SILENCE_SECONDS,
        "tcp_user_timeout": SILENCE_SECONDS * 1000,
        "options": f"-c lock_timeout={round(wait_seconds * 1000)} "
        f"-c idle_in_transaction_session_timeout={max(round(wait_seconds * 800), 4000)}",
    }
    return {name: value for name, value in limits.items() if name not in url.query}


def _prepare_sqlite(connection: Any) -> None:
    # The driver's own transaction handling is switched off: the 'begin' listener executes BEGIN itself.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Allows returning deleted pages step by step. It only has an effect while the file is empty; later, the
    # statement would wait for writers, just to read.
    if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    for pragma in (
        # Some builds overwrite deleted data with zeros, which makes deleting logs ten times as slow.
        "secure_delete=FAST",
        "journal_mode=WAL",
        # A claim must survive a power cut, otherwise its due time would run twice; grouping pays for the syncs.
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-8000",
        "temp_store=MEMORY",
        # Copying the log back into the database is left to `Checkpointer`: in a commit it would delay writers.
        "wal_autocheckpoint=0",
        # The space that a burst of writes used in the log is returned when the log is next restarted.
        f"journal_size_limit={LONGEST_LOG}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
