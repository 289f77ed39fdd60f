"""Copies SQLite's write-ahead log back into the database, outside the writer's commits.

A commit that also had to copy a thousand scattered pages and sync them would delay every due time behind it for as
long as the disk takes (measured: up to 0.7 s).
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from scheduler.process.worker import Worker

#: Size of the log in bytes from which it is copied back.
ENOUGH: Final = 4 * 1024 * 1024
#: At this size, writers wait until all of it is copied: only reached if the disk cannot keep up.
TOO_MUCH: Final = 256 * 1024 * 1024
#: Number of commits between checks of the size.
COMMITS: Final = 50


class Checkpointer:
    """Keeps the write-ahead log short, on a thread of its own.

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
        self._hurried = False
        self._busy = False
        self._closed = False
        self._thread = Worker("db-checkpoint")

    def written(self) -> None:
        """Count a commit; called by the writer."""
        self._commits += 1

    def hurry(self) -> None:
        """Copy back the log now, whatever its size; called on the event loop."""
        self._hurried = True
        self.start_if_due()

    def start_if_due(self) -> None:
        """Check the log after enough commits, without waiting for it; called on the event loop after each commit.

        If the thread is busy, a later commit does it.
        """
        if self._closed or self._busy or not (self._hurried or self._commits >= COMMITS):
            return
        hurried, self._hurried, self._commits, self._busy = self._hurried, False, 0, True
        asyncio.get_running_loop().run_in_executor(self._thread, self._copy_back, hurried)

    async def close(self) -> None:
        """Copy back the rest, and stop the thread."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._copy_back, True)
        self._thread.shutdown(wait=False)

    def _copy_back(self, hurried: bool) -> None:
        try:
            size = self._size()
            if size >= ENOUGH or hurried:
                self._checkpoint("RESTART" if size >= TOO_MUCH and not self.readers else "PASSIVE")
        finally:
            self._busy = False

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
