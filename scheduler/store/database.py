"""The database: one writer that commits in groups, a few readers, both on threads of their own.

Everything stored passes through `Database.write` and `Database.read`, which take a plain function of a
connection and run it off the event loop inside one transaction. SQLite (the default) has one writer anyway;
committing what waits together costs one disk sync for many requests. PostgreSQL takes the same path.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)

from scheduler.errors import UnavailableError
from scheduler.store.checkpoint import Checkpointer

T = TypeVar("T")

#: How many waiting writes share one commit at most; bounds how long the first of them waits.
GROUP_LIMIT: Final = 64
READERS: Final = 4
BUSY_TIMEOUT_MS: Final = 5_000


class _Write(NamedTuple):
    work: Callable[[Connection], Any]
    future: Future[Any]
    durable: bool


class Database:
    """Stored truth, behind two doors: `write` and `read`.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._write_engine = self._engine(pool_size=1, for_writing=True)
        self._read_engine = self._engine(pool_size=READERS, for_writing=False)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-read")
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._closed = False
        self._is_durable = True  # what a new connection is set to
        self._writer = threading.Thread(target=self._write_loop, name="db-write", daemon=True)
        self._writer.start()
        self._checkpointer = Checkpointer(self._read_engine, self.url.database) if self.is_sqlite else None

    def _engine(self, *, pool_size: int, for_writing: bool) -> Engine:
        engine = sa.create_engine(
            self.url, pool_size=pool_size, max_overflow=0, pool_pre_ping=not self.is_sqlite
        )
        if self.is_sqlite:
            begin = "BEGIN IMMEDIATE" if for_writing else "BEGIN"
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run `work` in a transaction that may change things, and return what it returns once committed.

        An exception from `work` undoes its own changes alone and is raised here.

        Args:
            work: is given the connection, on the writer's thread; it must not wait for anything else.
            durable: whether what is committed must outlive a power cut. What must not still outlives the
                process, and reaches the disk with the next write that must.

        Raises:
            UnavailableError: the database did not answer: locked, read-only, disk full, connection lost.
        """
        if self._closed:
            raise UnavailableError("The database is closed: the daemon is stopping")
        future: Future[T] = Future()
        self._queue.put(_Write(work, future, durable))
        # A caller that is cancelled must not tear the write out of a group that is being committed.
        return await asyncio.shield(asyncio.wrap_future(future))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot, and return what it returns.

        Raises:
            UnavailableError: as for `write`.
        """
        if self._closed:
            raise UnavailableError("The database is closed: the daemon is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.begin() as connection:
                return work(connection)
        except (DatabaseError, InterfaceError) as error:
            if not _is_trouble(error):
                raise
            raise _unavailable(error) from error

    def migrate(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the writing connection before anything else does, on the caller's own thread."""
        try:
            with self._write_engine.begin() as connection:
                return work(connection)
        except (DatabaseError, InterfaceError) as error:
            if not _is_trouble(error):
                raise
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Finish the writes that wait, then close every connection."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        if self._checkpointer is not None:
            await asyncio.to_thread(self._checkpointer.close)
        self._readers.shutdown()
        self._write_engine.dispose()
        self._read_engine.dispose()

    def _write_loop(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            stopping = False
            while len(group) < GROUP_LIMIT:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stopping = True
                    break
                group.append(more)
            self._commit_group(group)
            if stopping:
                return

    def _commit_group(self, group: list[_Write]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], Exception]] = []
        try:
            with self._write_engine.connect() as connection:
                self._set_durability(connection, durable=any(one.durable for one in group))
                with connection.begin():
                    for one in group:
                        try:
                            # A savepoint confines what fails; a write that is alone needs none.
                            with connection.begin_nested() if len(group) > 1 else nullcontext():
                                done.append((one.future, one.work(connection)))
                        except Exception as error:
                            if len(group) == 1 or _is_trouble(error):
                                raise
                            failed.append((one.future, error))
        except Exception as error:  # noqa: BLE001 - every waiting caller is told, whatever happened
            shown = _unavailable(error) if _is_trouble(error) else error
            for one in group:
                one.future.set_exception(shown)
            return
        if self._checkpointer is not None:
            self._checkpointer.written()
        for future, result in done:
            future.set_result(result)
        for future, reason in failed:
            future.set_exception(reason)

    def _set_durability(self, connection: Connection, *, durable: bool) -> None:
        if self.is_sqlite and durable is not self._is_durable:
            raw: Any = connection.connection.driver_connection
            raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable


def _is_trouble(error: Exception) -> bool:
    """Whether the database itself is to blame: absent, locked, full, damaged; and not what it was asked to do."""
    return isinstance(error, DatabaseError | InterfaceError) and not isinstance(
        error, IntegrityError | ProgrammingError | DataError | NotSupportedError
    )


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(f"The database cannot be used just now: {getattr(error, 'orig', error)}")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling is switched off: the 'begin' listener says BEGIN itself.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        # A claim must outlive a power cut, else its due time would run twice; grouping pays for the syncs.
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-8000",
        "temp_store=MEMORY",
        # Copying the log back into the database is left to `Checkpointer`: in a commit it would hold up writers.
        "wal_autocheckpoint=0",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
