"""The database: one writer that commits in groups, and a few readers, all on their own threads.

All access goes through `Database.write` and `Database.read`, which run a function of a connection inside one
transaction, outside the event loop: on executors, through the loop's `run_in_executor`. SQLite (the default) has a
single writer anyway; committing all waiting writes together costs one disk sync for many requests. PostgreSQL is
used in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from scheduler.domain.clock import Clock, SystemClock
from scheduler.domain.errors import UnavailableError
from scheduler.process.metrics import DATABASE_REFUSALS, DATABASE_WRITABLE
from scheduler.process.worker import Worker
from scheduler.store.checkpoint import Checkpointer
from scheduler.store.connecting import make_pool
from scheduler.store.doubt import has_happened, transaction_id
from scheduler.store.outbox import WRITTEN
from scheduler.store.probing import WriteProbe
from scheduler.store.trouble import is_deadlock, is_trouble, kind_of, words_of

log = structlog.get_logger()

T = TypeVar("T")

#: Maximum number of waiting writes in one commit; limits how long the first of them waits.
GROUP_LIMIT: Final = 64
READERS: Final = 4
#: How long to wait for a lock that others hold, in seconds.
WAIT_SECONDS: Final = 5.0
#: A write that has waited this many times as long for its turn is refused: a queue behind a lock moves too slowly.
PATIENCE: Final = 2
#: Maximum seconds to wait for an answer; only a server or a disk that hangs takes this long. While there has been no
#: answer since, further requests wait for a shorter time.
ANSWER_SECONDS: Final = 20.0
HUNG_SECONDS: Final = 1.0
#: Number of reads and of writes that may wait for their turn.
QUEUE_LIMIT: Final = 10_000
#: Minimum seconds between log messages about a database that alternately fails and works.
TOLD_EVERY: Final = 10.0


@dataclass(slots=True, eq=False)
class _Write:
    work: Callable[[Connection], Any]
    durable: bool
    begun_at: float
    is_done: bool = False
    result: Any = None
    error: BaseException | None = None

    def succeed(self, result: Any) -> None:
        self.result, self.is_done = result, True

    def fail(self, error: BaseException) -> None:
        self.error, self.is_done = error, True


class Database:
    """The database, accessed through `write` and `read`.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.
        wait_seconds: how long to wait for a lock that others hold.
        clock: tells how long something has waited.

    Attributes:
        trouble: why the last transaction failed, for people; None if it was committed.
    """

    def __init__(self, url: str, *, wait_seconds: float = WAIT_SECONDS, clock: Clock | None = None) -> None:
        self.url = sa.make_url(url)
        self._clock = clock or SystemClock()
        self.trouble: str | None = None
        #: When a write last failed (steady seconds of the clock), and why.
        self.last_refusal: tuple[float, str] = (float("-inf"), "")
        self._told_at = float("-inf")
        self._is_told = False
        self._wait_seconds = wait_seconds
        self._reading = 0
        self._hung: set[str] = set()  # the doors that have not answered for a long time
        self._on_recovery: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._write_engine = make_pool(self.url, pool_size=1, for_writing=True, wait_seconds=wait_seconds)
        # One more than the reading threads, for checkpoints.
        self._read_engine = make_pool(
            self.url, pool_size=READERS + 1, for_writing=False, wait_seconds=wait_seconds
        )
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-read")
        self._writer = Worker("db-write")
        self._waiting: deque[_Write] = deque()
        #: Called on the writer's thread after each commit that wrote something to the outbox.
        self.on_outbox: Callable[[], None] | None = None
        self._closed = False
        self._is_durable = True  # the setting of a new connection
        self.probe = WriteProbe(self, self._clock)
        self._checkpointer = Checkpointer(self._read_engine, self.url.database) if self.is_sqlite else None

    def on_recovery(self, listener: Callable[[], None]) -> None:
        """Register a function that is called on this event loop when a transaction is committed after failures.

        Transactions that failed in between may have been committed nevertheless, if the connection broke during a
        commit.
        """
        self._on_recovery.append((asyncio.get_running_loop(), listener))

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run `work` in a read-write transaction, and return its result after the commit.

        An exception from `work` only rolls back its own changes, and is raised here.

        Args:
            work: receives the connection, on the writer's thread; it must not wait for anything else.
            durable: whether the commit must survive a power cut. If not, it still survives the end of the process,
                and reaches the disk with the next durable write.

        Raises:
            UnavailableError: the database failed: locked, read-only, disk full, connection lost.
        """
        if self._closed:
            raise UnavailableError("The database is closed: the daemon is stopping")
        if len(self._waiting) > QUEUE_LIMIT:
            raise self._late("write")
        write = _Write(work, durable, self._clock.steady())
        self._waiting.append(write)
        writing = asyncio.get_running_loop().run_in_executor(self._writer, self._committed, write)
        # A caller that is cancelled or gives up does not remove its write: a group with it may be being committed.
        result: T = await self._in_time(writing, "write")
        if self._checkpointer is not None:
            self._checkpointer.start_if_due()
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot, and return its result.

        Raises:
            UnavailableError: as for `write`.
        """
        if self._closed:
            raise UnavailableError("The database is closed: the daemon is stopping")
        if self._reading > QUEUE_LIMIT:
            raise self._late("read")
        self._reading += 1
        try:
            loop = asyncio.get_running_loop()
            reading = loop.run_in_executor(self._readers, self._read, work, self._clock.steady())
            return await self._in_time(reading, "read")
        finally:
            self._reading -= 1

    async def _in_time(self, answer: asyncio.Future[T], door: str) -> T:
        """The answer, unless the database hangs: the request is not interrupted, but nobody waits for it forever."""
        limit = HUNG_SECONDS if door in self._hung else ANSWER_SECONDS
        done, _ = await asyncio.wait((answer,), timeout=limit)
        if done:
            self._hung.discard(door)
            return answer.result()
        answer.add_done_callback(lambda late: self._answered_late(late, door))
        self._hung.add(door)
        DATABASE_REFUSALS.labels(door=door, kind="hung").inc()
        if door == "write":
            DATABASE_WRITABLE.set(0)
            if self.trouble is None:
                log.warning("database.hangs", seconds=limit)
                self._is_told = True
                self.trouble = "it hangs: it has not answered for a long time"
        raise UnavailableError(
            f"The database has not answered for {limit:g} s (it hangs); the operation may still take effect"
        )

    def _answered_late(self, answer: asyncio.Future[Any], door: str) -> None:
        self._hung.discard(door)
        if not answer.cancelled():
            answer.exception()  # retrieved, so that asyncio does not complain about it

    def _read(self, work: Callable[[Connection], T], begun_at: float) -> T:
        if self._is_late(begun_at):
            raise self._late("read")
        try:
            with self._read_engine.begin() as connection:
                return work(connection)
        except (SQLAlchemyError, OSError) as error:
            if not is_trouble(error):
                raise
            raise _refused("read", error) from error

    def _is_late(self, begun_at: float) -> bool:
        return self._clock.steady() - begun_at > PATIENCE * self._wait_seconds

    def _late(self, door: str) -> UnavailableError:
        DATABASE_REFUSALS.labels(door=door, kind="late").inc()
        why = f": {self.trouble}" if self.trouble else ""
        return UnavailableError(
            f"The database is currently too slow, and too many operations are waiting{why}"
        )

    def migrate(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the writing connection before anything else, on the caller's own thread."""
        try:
            with self._write_engine.begin() as connection:
                if not self.is_sqlite:
                    # Nobody else is waiting yet, and creating the tables may take a while.
                    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
                return work(connection)
        except SQLAlchemyError as error:
            if not is_trouble(error):
                raise
            raise _refused("write", error) from error

    @contextmanager
    def long_read(self) -> Iterator[None]:
        """Context of a long read, during which nobody waits for the write-ahead log to be emptied."""
        if self._checkpointer is None:
            yield
            return
        self._checkpointer.readers += 1
        try:
            yield
        finally:
            self._checkpointer.readers -= 1

    def checkpoint_soon(self) -> None:
        """Copy the write-ahead log back now, whatever its size; only for SQLite."""
        if self._checkpointer is not None:
            self._checkpointer.hurry()

    async def close(self) -> None:
        """Finish the waiting writes, then close all connections."""
        if self._closed:
            return
        self._closed = True
        # The writer's calls run in order, so when this one does, no write is waiting any more.
        await asyncio.get_running_loop().run_in_executor(self._writer, self._commit_waiting)
        self._writer.shutdown(wait=False)
        if self._checkpointer is not None:
            await self._checkpointer.close()
        self._readers.shutdown()
        self._write_engine.dispose()
        self._read_engine.dispose()

    def _committed(self, write: _Write) -> Any:
        """The result of a write; commits all that wait if it is still one of them. Runs on the writer's thread.

        There is one such call for each write, in the same order. The first of a group commits all of it, and the
        others find their results.
        """
        while not write.is_done:
            self._commit_waiting()
        if write.error is not None:
            raise write.error
        return write.result

    def _commit_waiting(self) -> None:
        """Commit the waiting writes, at most `GROUP_LIMIT`; afterwards, each has its result or its error."""
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_LIMIT))]
        try:
            if timely := self._without_late(group):
                self._commit_group(timely)
        except BaseException as error:
            for write in group:
                if not write.is_done:
                    write.fail(error)
            log.exception("database.writer_failed")

    def _without_late(self, group: list[_Write]) -> list[_Write]:
        """Refuse writes that have waited too long for their turn, and return the others."""
        timely = []
        for write in group:
            if self._is_late(write.begun_at):
                write.fail(self._late("write"))
            else:
                timely.append(write)
        return timely

    def _commit_group(self, group: list[_Write], *, tries: int = 3) -> None:
        done: list[tuple[_Write, Any]] = []
        failed: list[tuple[_Write, Exception]] = []
        doubtful: str | None = None
        has_deliveries = False
        try:
            with self._write_engine.connect() as connection:
                self._set_durability(connection, durable=any(write.durable for write in group))
                with connection.begin():
                    for write in group:
                        try:
                            # A savepoint confines a failure; a single write needs none.
                            with connection.begin_nested() if len(group) > 1 else nullcontext():
                                done.append((write, write.work(connection)))
                        except Exception as error:
                            if len(group) == 1 or is_trouble(error):
                                raise
                            failed.append((write, error))
                    has_deliveries = connection.info.pop(WRITTEN, False)
                    doubtful = transaction_id(connection)
        except Exception as error:  # noqa: BLE001 - passed on to every waiting caller
            if doubtful is None or not is_trouble(error) or not has_happened(self._write_engine, doubtful):
                self._refuse(group, error, tries)
                return
            log.info("database.commit_found", reason="the answer was lost, but the transaction was committed")
        if self._checkpointer is not None:
            self._checkpointer.written()
        self._note_commit()
        for write, result in done:
            write.succeed(result)
        for write, reason in failed:
            write.fail(reason)
        if has_deliveries and self.on_outbox is not None:
            self.on_outbox()

    def _refuse(self, group: list[_Write], error: Exception, tries: int) -> None:
        if tries > 1 and is_deadlock(error):
            for write in group:  # alone, each holds few locks
                self._commit_group([write], tries=tries - 1)
            return
        shown: Exception = error
        if is_trouble(error):
            shown = _refused("write", error)
            DATABASE_WRITABLE.set(0)
            # If the disk is almost full, small writes succeed between larger ones that fail.
            now = self._clock.steady()
            if self.trouble is None and now - self._told_at >= TOLD_EVERY:
                log.warning("database.refuses", kind=kind_of(error), error=words_of(error))
                self._told_at, self._is_told = now, True
            self.trouble = words_of(error)
            self.last_refusal = (now, self.trouble)
        for write in group:
            write.fail(shown)

    def _note_commit(self) -> None:
        DATABASE_WRITABLE.set(1)
        if self.trouble is None:
            return
        if self._is_told:
            log.info("database.works_again", after=self.trouble)
            self._is_told = False
        self.trouble = None
        for loop, listener in self._on_recovery:
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(listener)

    def _set_durability(self, connection: Connection, *, durable: bool) -> None:
        if self.is_sqlite and durable is not self._is_durable:
            raw: Any = connection.connection.driver_connection
            raw.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable


def _refused(door: str, error: Exception) -> UnavailableError:
    DATABASE_REFUSALS.labels(door=door, kind=kind_of(error)).inc()
    return UnavailableError(f"The database is currently unavailable: {words_of(error)}")
