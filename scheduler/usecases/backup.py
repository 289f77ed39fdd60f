"""Backups: copies of the whole database, for administrators."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import IO, Final

import structlog

from scheduler.access.audit import record
from scheduler.access.callers import Caller, demand_everywhere
from scheduler.domain import chance
from scheduler.domain.errors import ConflictError, UnavailableError
from scheduler.keeping.snapshot import TAKEN_AT, TAKEN_BY, take_snapshot
from scheduler.store.tables import to_micros
from scheduler.usecases.parts import Parts

log = structlog.get_logger()

#: Unfinished copies in the data directory; remains of a crash are deleted at the next start.
PARTIAL: Final = "backup-*.partial"
#: Bytes that must remain free on the disk in addition to the copy.
ROOM: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished copy.

    Attributes:
        file: open for reading, at the beginning; the file has no name any more.
        size: size in bytes.
        taken_at: the copy contains everything stored until then (UTC).
    """

    file: IO[bytes]
    size: int
    taken_at: datetime


def clear_partial(data_dir: Path) -> None:
    """Delete the remains of unfinished copies after a crash."""
    for left in data_dir.glob(PARTIAL + "*"):
        left.unlink(missing_ok=True)


class BackupUseCases:
    """Takes backups, one at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._taking = asyncio.Lock()

    @asynccontextmanager
    async def take(self, caller: Caller) -> AsyncIterator[Backup]:
        """A copy of the current database; deleted when the context ends.

        Raises:
            ForbiddenError: the caller is not an administrator of all namespaces.
            ConflictError: the database is not SQLite; the message says what to do instead.
            UnavailableError: another backup is in progress, or the disk does not have enough space.
        """
        demand_everywhere(caller)
        database = self._parts.database
        if not database.is_sqlite or not database.url.database:
            url = database.url.set(password=None, drivername="postgresql")
            raise ConflictError(
                "This daemon's database is PostgreSQL, which has its own backup tools: back it up with "
                f"pg_dump --format=custom --file=timeball.dump '{url}', and restore it into an empty database with "
                "pg_restore --dbname=URL timeball.dump while no daemon uses it"
            )
        if self._taking.locked():
            raise UnavailableError("Another backup is in progress; try again later", retry_after=10)
        now = self._parts.clock.now()
        await database.write(
            lambda c: record(c, caller, "backup.take", "the database", now=now, namespace=None)
        )
        async with self._taking:
            backup = await self._take(Path(database.url.database))
        try:
            yield backup
        finally:
            # Closing deletes a large file, which takes a while; not awaited, so that no cancellation can skip it.
            asyncio.get_running_loop().run_in_executor(None, backup.file.close)

    async def _take(self, source: Path) -> Backup:
        target = self._parts.data_dir / PARTIAL.replace("*", chance.new_hex())
        cancelled = threading.Event()
        taken_at = self._parts.clock.now()

        def facts() -> dict[str, str]:
            nonlocal taken_at
            taken_at = self._parts.clock.now()
            return {TAKEN_AT: str(to_micros(taken_at)), TAKEN_BY: version_of("timeball")}

        def work() -> IO[bytes]:
            _check_room(source, target.parent)
            with self._parts.database.long_read():
                take_snapshot(source, target, facts=facts, cancelled=cancelled)
            try:
                return target.open("rb")
            finally:
                target.unlink()  # an open file can still be read, and a crash leaves nothing behind

        began = self._parts.clock.steady()
        try:
            file = await asyncio.shield(copying := asyncio.ensure_future(asyncio.to_thread(work)))
        except asyncio.CancelledError:
            cancelled.set()  # the thread cleans up after itself
            copying.add_done_callback(_drop)
            raise
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"The backup failed: {error}") from error
        size = file.seek(0, 2)
        file.seek(0)
        log.info("backup.taken", bytes=size, seconds=round(self._parts.clock.steady() - began, 3))
        return Backup(file, size, taken_at)


def _check_room(source: Path, directory: Path) -> None:
    needed, free = source.stat().st_size + ROOM, shutil.disk_usage(directory).free
    if free < needed:
        raise UnavailableError(
            f"A backup requires {needed >> 20} MiB of disk space in {directory}, but only {free >> 20} MiB are free; "
            "free up disk space, or stop the daemon and copy timeball.db* yourself",
            retry_after=60,
        )


def _drop(copying: asyncio.Future[IO[bytes]]) -> None:
    if not copying.cancelled() and copying.exception() is None:
        copying.result().close()
