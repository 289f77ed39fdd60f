"""Copies SQLite's write-ahead log back into the database, outside the writer's commits.

A commit that also had to copy a thousand scattered pages and sync them would delay every due time behind it for as
long as the disk takes (measured: up to 0.7 s).
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

#: Size of the log in bytes from which it is copied back.
ENOUGH: Final = 4 * 1024 * 1024
#: At this size, writers wait until all of it is copied: only reached if the disk cannot keep up.
TOO_MUCH: Final = 256 * 1024 * 1024
#: Number of commits between checks of the size.
COMMITS: Final = 50


class Checkpointer:
    """A thread that keeps the write-ahead log short.

    Args:
        engine: creates connections to the database.
        path: the database file; None or empty for an in-memory database, which has no log.
    """

    def __init__(self, engine: Engine, path: str | None) -> None:
        self._engine = engine
        self._log = Path(f"{path}-wal") if path else None
        #: Number of long reads in progress; the pages they read cannot be copied back, so nobody waits for it.
        self.readers = 0
        self._commits = 0
        self._wake = threading.Event()
        self._closing = False
        self._hurried = False
        self._thread = threading.Thread(target=self._run, name="db-checkpoint", daemon=True)
        self._thread.start()

    def written(self) -> None:
        """Count a commit; called by the writer."""
        self._commits += 1
        if self._commits >= COMMITS:
            self._commits = 0
            self._wake.set()

    def hurry(self) -> None:
        """Copy back the log now."""
        self._hurried = True
        self._wake.set()

    def close(self) -> None:
        """Copy back the rest, and stop the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            size = self._size()
            hurried, self._hurried = self._hurried, False
            if size >= ENOUGH or hurried or self._closing:
                self._checkpoint("RESTART" if size >= TOO_MUCH and not self.readers else "PASSIVE")

    def _size(self) -> int:
        try:
            return 0 if self._log is None else self._log.stat().st_size
        except OSError:
            return 0

    def _checkpoint(self, mode: str) -> None:
        try:
            with self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute(f"PRAGMA wal_checkpoint({mode})").close()
        except (SQLAlchemyError, sqlite3.Error, OSError):
            return  # copied at the next opportunity
