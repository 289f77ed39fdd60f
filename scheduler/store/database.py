"""The database: one writer that commits in groups, a few readers, both on threads of their own.

Everything stored passes through `Database.write` and `Database.read`, which take a plain function of a
connection and run it off the event loop inside one transaction. SQLite (the default) has one writer anyway;
committing what waits together costs one disk sync for many requests. PostgreSQL takes the same path.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from scheduler.domain.errors import UnavailableError
from scheduler.process.metrics import DATABASE_REFUSALS, DATABASE_WRITABLE
from scheduler.store.checkpoint import Checkpointer
from scheduler.store.doubt import has_happened, transaction_id
from scheduler.store.outbox import WRITTEN
from scheduler.store.probing import WriteProbe
from scheduler.store.trouble import is_deadlock, is_trouble, kind_of, words_of

log = structlog.get_logger()

T = TypeVar("T")

#: How many waiting writes share one commit at most; bounds how long the first of them waits.
GROUP_LIMIT: Final = 64
READERS: Final = 4
#: How long a lock that others hold is waited for, in seconds.
WAIT_SECONDS: Final = 5.0
#: What has waited for its turn so many times that long is refused untried: a queue behind a lock moves too slowly.
PATIENCE: Final = 2
#: Seconds for which anybody waits for an answer; only a server or a disk that hangs takes so long. Whoever comes
#: while nothing has been answered since waits less.
ANSWER_SECONDS: Final = 20.0
HUNG_SECONDS: Final = 1.0
#: Reads and writes that may wait for their turn.
QUEUE_LIMIT: Final = 10_000
#: PostgreSQL: seconds after which a server that acknowledges nothing is given up, be it while connecting or later.
SILENCE_SECONDS: Final = 10
#: Seconds between two words in the log about a database that refuses and works by turns.
TOLD_EVERY: Final = 10.0
#: Bytes that the write-ahead log keeps on the disk when it is not needed.
LONGEST_LOG: Final = 64 * 1024 * 1024


class _Write(NamedTuple):
    work: Callable[[Connection], Any]
    future: Future[Any]
    durable: bool
    begun_at: float


class Database:
    """Stored truth, behind two doors: `write` and `read`.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.
        wait_seconds: how long a lock that others hold is waited for.

    Attributes:
        trouble: why the last transaction was refused, for people; None when it was committed.
    """

    def __init__(self, url: str, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self.url = sa.make_url(url)
        self.trouble: str | None = None
        #: When a write was refused for the last time (monotonic seconds), and what was in its way.
        self.last_refusal: tuple[float, str] = (float("-inf"), "")
        self._told_at = float("-inf")
        self._is_told = False
        self._wait_seconds = wait_seconds
        self._reading = 0
        self._hung: set[str] = set()  # the doors behind which nothing has been answered for long
        self._on_recovery: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._write_engine = self._engine(pool_size=1, for_writing=True)
        # One more than threads that read, for the checkpoints.
        self._read_engine = self._engine(pool_size=READERS + 1, for_writing=False)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="db-read")
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        #: Is told, on the writer's thread, of each commit that put something into the outbox.
        self.on_outbox: Callable[[], None] | None = None
        self._closed = False
        self._is_durable = True  # what a new connection is set to
        self.probe = WriteProbe(self)
        self._writer = threading.Thread(target=self._write_loop, name="db-write", daemon=True)
        self._writer.start()
        self._checkpointer = Checkpointer(self._read_engine, self.url.database) if self.is_sqlite else None

    def _engine(self, *, pool_size: int, for_writing: bool) -> Engine:
        engine = sa.create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=not self.is_sqlite,
            connect_args={} if self.is_sqlite else self._postgresql_limits(),
        )
        if self.is_sqlite:
            event.listen(engine, "connect", self._set_busy_timeout)
            begin = "BEGIN IMMEDIATE" if for_writing else "BEGIN"
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _set_busy_timeout(self, connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA busy_timeout={round(self._wait_seconds * 1000)}").close()

    def _postgresql_limits(self) -> dict[str, Any]:
        """How long a server is waited for; what the URL says itself counts more.

        A daemon that is frozen amid a transaction must not hold up others for ever: the server ends its session, and
        with it its locks, before they give up waiting for one.
        """
        limits = {
            "connect_timeout": SILENCE_SECONDS,
            "tcp_user_timeout": SILENCE_SECONDS * 1000,
            "options": f"-c lock_timeout={round(self._wait_seconds * 1000)} "
            f"-c idle_in_transaction_session_timeout={max(round(self._wait_seconds * 800), 4000)}",
        }
        return {name: value for name, value in limits.items() if name not in self.url.query}

    def on_recovery(self, listener: Callable[[], None]) -> None:
        """Have `listener` called, on this event loop, when a transaction is committed after refusals.

        What was refused in between may have happened nevertheless, where a connection broke amid a commit.
        """
        self._on_recovery.append((asyncio.get_running_loop(), listener))

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
        if self._queue.qsize() > QUEUE_LIMIT:
            raise self._late("write")
        future: Future[T] = Future()
        self._queue.put(_Write(work, future, durable, time.monotonic()))
        # A caller that is cancelled or gives up must not tear the write out of a group that is being committed.
        return await self._in_time(asyncio.wrap_future(future), "write")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a consistent snapshot, and return what it returns.

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
            reading = loop.run_in_executor(self._readers, self._read, work, time.monotonic())
            return await self._in_time(reading, "read")
        finally:
            self._reading -= 1

    async def _in_time(self, answer: asyncio.Future[T], door: str) -> T:
        """The answer, unless the database hangs: it is not interrupted, but nobody waits for it for ever."""
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
                self.trouble = "it hangs: nothing has been answered for long"
        raise UnavailableError(
            f"The database has not answered for {limit:g} s (it hangs); what was asked of it may yet be done"
        )

    def _answered_late(self, answer: asyncio.Future[Any], door: str) -> None:
        self._hung.discard(door)
        if not answer.cancelled():
            answer.exception()  # looked at, so that nobody complains that nobody did

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
        return time.monotonic() - begun_at > PATIENCE * self._wait_seconds

    def _late(self, door: str) -> UnavailableError:
        DATABASE_REFUSALS.labels(door=door, kind="late").inc()
        why = f": {self.trouble}" if self.trouble else ""
        return UnavailableError(f"The database is too slow just now, and too much waits for it{why}")

    def migrate(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the writing connection before anything else does, on the caller's own thread."""
        try:
            with self._write_engine.begin() as connection:
                if not self.is_sqlite:
                    # Nobody else waits yet, and what makes the tables may take its time between them.
                    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
                return work(connection)
        except SQLAlchemyError as error:
            if not is_trouble(error):
                raise
            raise _refused("write", error) from error

    @contextmanager
    def long_read(self) -> Iterator[None]:
        """While somebody reads one state for long, nobody is made to wait for the write-ahead log to be emptied."""
        if self._checkpointer is None:
            yield
            return
        self._checkpointer.readers += 1
        try:
            yield
        finally:
            self._checkpointer.readers -= 1

    def checkpoint_soon(self) -> None:
        """Have the write-ahead log copied back now, however short it is; SQLite alone."""
        if self._checkpointer is not None:
            self._checkpointer.hurry()

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
            if timely := self._without_late(group):
                self._commit_group(timely)
            if stopping:
                return

    def _without_late(self, group: list[_Write]) -> list[_Write]:
        """Refuse what has waited too long for its turn, and answer what is left."""
        timely = []
        for one in group:
            if self._is_late(one.begun_at):
                one.future.set_exception(self._late("write"))
            else:
                timely.append(one)
        return timely

    def _commit_group(self, group: list[_Write], *, tries: int = 3) -> None:
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], Exception]] = []
        doubtful: str | None = None
        told = False
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
                            if len(group) == 1 or is_trouble(error):
                                raise
                            failed.append((one.future, error))
                    told = connection.info.pop(WRITTEN, False)
                    doubtful = transaction_id(connection)
        except Exception as error:  # noqa: BLE001 - every waiting caller is told, whatever happened
            if doubtful is None or not is_trouble(error) or not has_happened(self._write_engine, doubtful):
                self._refuse(group, error, tries)
                return
            log.info("database.commit_found", reason="its answer was lost, but it had happened")
        if self._checkpointer is not None:
            self._checkpointer.written()
        self._note_commit()
        for future, result in done:
            future.set_result(result)
        if told and self.on_outbox is not None:
            self.on_outbox()
        for future, reason in failed:
            future.set_exception(reason)

    def _refuse(self, group: list[_Write], error: Exception, tries: int) -> None:
        if tries > 1 and is_deadlock(error):
            for one in group:  # alone, each holds few locks
                self._commit_group([one], tries=tries - 1)
            return
        shown: Exception = error
        if is_trouble(error):
            shown = _refused("write", error)
            DATABASE_WRITABLE.set(0)
            # On a disk that is just about full, small writes succeed between larger ones that do not.
            now = time.monotonic()
            if self.trouble is None and now - self._told_at >= TOLD_EVERY:
                log.warning("database.refuses", kind=kind_of(error), error=words_of(error))
                self._told_at, self._is_told = now, True
            self.trouble = words_of(error)
            self.last_refusal = (now, self.trouble)
        for one in group:
            one.future.set_exception(shown)

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
    return UnavailableError(f"The database cannot be used just now: {words_of(error)}")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transaction handling is switched off: the 'begin' listener says BEGIN itself.
    connection.isolation_level = None
    cursor = connection.cursor()
    # What is deleted can be given back piecemeal. It has an effect only before anything is in the file, and later
    # it would wait for whoever writes, just to read.
    if cursor.execute("PRAGMA page_count").fetchone()[0] == 0:
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    for pragma in (
        # Some builds write zeros over all that is deleted, which makes clearing logs away ten times the work.
        "secure_delete=FAST",
        "journal_mode=WAL",
        # A claim must outlive a power cut, else its due time would run twice; grouping pays for the syncs.
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-8000",
        "temp_store=MEMORY",
        # Copying the log back into the database is left to `Checkpointer`: in a commit it would hold up writers.
        "wal_autocheckpoint=0",
        # What a burst of writes made of the log is given back with the next beginning from its start.
        f"journal_size_limit={LONGEST_LOG}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
