"""Creates a consistent copy of the SQLite database while it is being written to.

Reads one state of the database from the first page to the last, however long that takes; meanwhile, writes go into
the write-ahead log. The copy is a single file without a log, and records when it was taken. Data that only applies
to a running daemon (leases, duties) is left out. Access tokens are contained only as hashes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from scheduler.store.identity import BACKUP_TAKEN_AT

#: Pages that are copied before a pause, so that others can use the disk and the interpreter, and the pause.
STEP_PAGES: Final = 256
STEP_PAUSE: Final = 0.001
#: Tables that only apply to a running daemon and are meaningless in a copy.
MOMENTARY: Final = ("instances", "duties")
#: Fact: when the copy was taken, in microseconds since 1970. A run created before may have a container by now.
TAKEN_AT: Final = BACKUP_TAKEN_AT
#: Fact: which version of Timeball took it.
TAKEN_BY: Final = "backup_taken_by"


class SnapshotCancelledError(Exception):
    """The copy is no longer needed."""


def take_snapshot(
    source: Path,
    target: Path,
    *,
    facts: Callable[[], Mapping[str, str]],
    cancelled: threading.Event | None = None,
) -> None:
    """Copy the database into a new file with mode 0600; blocks, so call it on a thread.

    Args:
        source: the database file.
        target: the new file, which must not exist; deleted if copying fails.
        facts: returns facts to store in the copy; called when the copied state is fixed.
        cancelled: when set, copying ends soon.

    Raises:
        SnapshotCancelledError: `cancelled` was set.
        sqlite3.Error: the database cannot be read.
        OSError: the copy cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(source, isolation_level=None, timeout=10)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            _copy(live, copy, facts, cancelled)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except BaseException:
        for left in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm", "-journal"))):
            with suppress(OSError):
                left.unlink(missing_ok=True)
        raise


def _copy(
    live: sqlite3.Connection,
    copy: sqlite3.Connection,
    facts: Callable[[], Mapping[str, str]],
    cancelled: threading.Event | None,
) -> None:
    def stepped(_status: int, _remaining: int, _total: int) -> None:
        if cancelled is not None and cancelled.is_set():
            raise SnapshotCancelledError
        time.sleep(STEP_PAUSE)

    copy.execute("PRAGMA synchronous=OFF")  # the file is synced once, at the end
    # An open transaction pins the state; otherwise every write would make the copy start again.
    live.execute("BEGIN")
    live.execute("SELECT count(*) FROM facts").fetchone()
    noted = facts()
    live.backup(copy, pages=STEP_PAGES, progress=stepped)
    live.execute("ROLLBACK")
    copy.execute("PRAGMA journal_mode=DELETE").fetchone()
    copy.execute("BEGIN")
    for table in MOMENTARY:
        copy.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    copy.executemany(
        "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        list(noted.items()),
    )
    copy.execute("COMMIT")
