"""The database's file as a disk keeps it: troubles on request, and power cuts that lose what was not synced.

The database is a real SQLite file. SQLAlchemy tells of every connection and commit, so nothing in the product is
replaced: a trouble is an error that SQLite could have raised at this point, and a power cut leaves the write-ahead
log as it was synced, or with some more of what was written since.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.simulation.loop import PROCESS, Process

#: What SQLite says in each kind of trouble.
TROUBLES: Final = {
    "locked": "database is locked",
    "full": "database or disk is full",
    "broken": "disk I/O error",
}
#: The value of `PRAGMA synchronous` from which on a commit is synced.
SYNCED: Final = 2
#: Bytes before the frames of a write-ahead log, and before the page in each.
LOG_HEADER: Final = 32
FRAME_HEADER: Final = 24


class Disk:
    """The disk of one world.

    Args:
        path: the database file.
        source: decides how much of what was not synced a power cut leaves.

    Attributes:
        trouble: the trouble that every transaction meets now: a key of `TROUBLES`, or None.
        at_commit: whether it is met at the commit instead of at the beginning.
        is_synced: whether the last commit was synced, and with it all before.
    """

    def __init__(self, path: Path, source: random.Random) -> None:
        self.path = path
        self.trouble: str | None = None
        self.at_commit = False
        self._source = source
        self._connections: dict[Process, list[sqlite3.Connection]] = {}
        self._kept = (b"", 0)
        self.is_synced = True
        self._observer = sqlite3.connect(path, isolation_level=None)
        self._version = self._seen()
        event.listen(Engine, "connect", self._connected)
        event.listen(Engine, "begin", self._begun)
        event.listen(Engine, "commit", self._committing)

    def close(self) -> None:
        """Listen no more, and close every connection."""
        for name, listener in (
            ("connect", self._connected),
            ("begin", self._begun),
            ("commit", self._committing),
        ):
            event.remove(Engine, name, listener)
        for process in list(self._connections):
            self.disconnect(process)
        self._observer.close()

    @property
    def observer(self) -> sqlite3.Connection:
        """A connection that reads what is committed."""
        return self._observer

    def has_changed(self) -> bool:
        """Whether something was committed since the last call; remembers how much of it is synced."""
        version = self._seen()
        if version == self._version:
            return False
        self._version = version
        if self.is_synced:
            self._kept = self._log_end()
        return True

    def disconnect(self, process: Process) -> None:
        """Close the connections of a process that has died; its transaction, if any, is rolled back."""
        for connection in self._connections.pop(process, []):
            with suppress(sqlite3.Error):
                connection.close()

    def cut_power(self) -> None:
        """Lose what was not synced, or a part of it; every process that used it must be dead."""
        generation, end = self._log_end()
        # The log begins anew once all of it was copied into the database, which is synced then.
        synced = self._kept[1] if self._kept[0] == generation else 0
        kept = self._source.randint(synced, end)
        saved = {name: self.path.with_name(f"{name}.saved") for name in self._files()}
        for name, copy in saved.items():
            shutil.copyfile(self.path.with_name(name), copy)
        page_size = int(self._observer.execute("PRAGMA page_size").fetchone()[0])
        self._observer.close()
        for process in list(self._connections):
            self.disconnect(process)
        for name in (f"{self.path.name}-wal", f"{self.path.name}-shm"):
            self.path.with_name(name).unlink(missing_ok=True)
        for name, copy in saved.items():
            copy.replace(self.path.with_name(name))
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists():
            with log.open("r+b") as file:
                file.truncate(LOG_HEADER + kept * (FRAME_HEADER + page_size) if kept else 0)
        self._observer = sqlite3.connect(self.path, isolation_level=None)
        self._version = self._seen()
        self._kept = self._log_end()

    def _files(self) -> list[str]:
        names = (self.path.name, f"{self.path.name}-wal")
        return [name for name in names if self.path.with_name(name).exists()]

    def _log_end(self) -> tuple[bytes, int]:
        """What tells generations of the log apart, and its number of frames (SQLite's "WAL-Index Format")."""
        try:
            index = self.path.with_name(f"{self.path.name}-shm").read_bytes()[:48]
        except FileNotFoundError:
            return b"", 0
        return index[32:40], int.from_bytes(index[16:20], sys.byteorder)

    def _seen(self) -> int:
        return int(self._observer.execute("PRAGMA data_version").fetchone()[0])

    def _connected(self, connection: Any, _record: object) -> None:
        self._connections.setdefault(PROCESS.get(), []).append(connection)

    def _begun(self, _: object) -> None:
        if self.trouble is not None and not self.at_commit:
            self._raise()

    def _committing(self, connection: Any) -> None:
        if self.trouble is not None and self.at_commit:
            self._raise()
        raw = connection.connection.driver_connection
        self.is_synced = raw.execute("PRAGMA synchronous").fetchone()[0] >= SYNCED

    def _raise(self) -> None:
        assert self.trouble is not None
        words = TROUBLES[self.trouble]
        raise sa.exc.OperationalError("", {}, sqlite3.OperationalError(words))
