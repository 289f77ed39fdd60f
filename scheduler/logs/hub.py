"""Stores the output of all captures: one task for all of them, many captures per transaction."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.domain.job import MOST_LOG_BYTES
from scheduler.logs.builder import SealedChunk
from scheduler.logs.capture import BUSY_SECONDS, CAPTURE_BYTES, Capture
from scheduler.logs.chunks import LEVEL, QUICK_LEVEL
from scheduler.logs.loading import load_cursor
from scheduler.logs.pacing import StreamPacer
from scheduler.process.faults import Point, point
from scheduler.store.database import Database
from scheduler.store.logs import ChunkConflictError, insert, writable_execs

#: Total amount in memory at which all streams are asked to wait.
ALL_BYTES: Final = 32 * 1024 * 1024
#: Total amount in memory above which compression must be quick.
BUSY_BYTES: Final = 8 * 1024 * 1024
#: Captures that would be due this many seconds later are stored as well, which saves a commit.
GATHER_SECONDS: Final = 0.02
#: Larger amounts are compressed on a thread; smaller ones take the event loop a fraction of a millisecond.
INLINE_BYTES: Final = 64 * 1024
#: Minimum interval between two writes of one capture on request of readers: each creates a chunk.
LEAST_SECONDS_BETWEEN: Final = 0.02
#: Interval at which a busy stream with followers is stored, because followers are shown what is stored.
FOLLOWED_SECONDS: Final = 0.1
FIRST_BACKOFF_SECONDS: Final = 0.1
LONGEST_BACKOFF_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class CaptureHub:
    """The captures of all runs that are managed here.

    Args:
        database: where chunks are stored.
        clock: the source of arrival times.
        owner: this daemon's instance id. If given, chunks are only stored for runs that it owns; a capture whose run
            has another owner by now is lost (see `Capture.lost`).
    """

    def __init__(self, database: Database, clock: Clock, *, owner: str | None = None) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._captures: dict[str, Capture] = {}
        self._opening: dict[str, asyncio.Task[Capture]] = {}
        self._followed: dict[str, Callable[[], None]] = {}
        self._bytes = 0
        self._changed = asyncio.Event()
        self._freed = asyncio.Event()
        self._storing = asyncio.Lock()
        self._turns = StreamPacer()

    @property
    def unstored_bytes(self) -> int:
        """Number of bytes of all captures in memory."""
        return self._bytes

    @property
    def level(self) -> int:
        """The current compression level: compression must not let the amount in memory grow."""
        return QUICK_LEVEL if self._bytes > BUSY_BYTES else LEVEL

    def get(self, exec_id: str) -> Capture | None:
        """The capture of a run, if it has one here."""
        return self._captures.get(exec_id)

    async def open(self, exec_id: str, *, limit: int = MOST_LOG_BYTES) -> Capture:
        """The capture of a run: the existing one, or a new one that continues where the stored log ends.

        Args:
            exec_id: the run.
            limit: number of bytes of output that are kept, in addition to the end.

        Raises:
            UnavailableError: the database cannot be read.
        """
        if exec_id in self._captures:
            return self._captures[exec_id]
        if exec_id not in self._opening:
            # Shared: two captures of the same run would overwrite each other's chunks.
            task = asyncio.create_task(self._load(exec_id, limit), name=f"open-log-{exec_id}")
            self._opening[exec_id] = task
            task.add_done_callback(lambda _: self._opening.pop(exec_id, None))
        return await asyncio.shield(self._opening[exec_id])

    async def _load(self, exec_id: str, limit: int) -> Capture:
        cursor = await self._database.read(lambda connection: load_cursor(connection, exec_id))
        capture = Capture(exec_id, cursor, self._clock, self, limit=limit)
        self._captures[exec_id] = capture
        if exec_id in self._followed:
            capture.busy_seconds = FOLLOWED_SECONDS
            self.stored(exec_id)
        return capture

    def follow(self, exec_id: str, on_stored: Callable[[], None]) -> None:
        """Store a run's output more often, and call `on_stored` each time, and when its capture begins or ends."""
        self._followed[exec_id] = on_stored
        if (capture := self._captures.get(exec_id)) is not None:
            capture.busy_seconds = FOLLOWED_SECONDS

    def unfollow(self, exec_id: str, on_stored: Callable[[], None]) -> None:
        """Stop calling `on_stored`, unless another follower has replaced it."""
        if self._followed.get(exec_id) != on_stored:
            return
        del self._followed[exec_id]
        if (capture := self._captures.get(exec_id)) is not None:
            capture.busy_seconds = BUSY_SECONDS

    def stored(self, exec_id: str) -> None:
        """Report that something was stored for a run; called by captures."""
        if (on_stored := self._followed.get(exec_id)) is not None:
            on_stored()

    async def close(self, exec_id: str) -> None:
        """Store the rest of a capture, if there is any, and forget it; the next `open` loads it again.

        If the database fails, nothing is lost: the engine still has the output, and the stored cursor shows what is
        missing.
        """
        try:
            await self.flush(exec_id)
        except UnavailableError as error:
            _log.warning("log_not_stored", exec=exec_id, error=str(error))
        finally:
            capture = self._captures.pop(exec_id, None)
            if capture is not None:
                capture.lose("closed")
                self._freed.set()
            self.stored(exec_id)

    def changed(self) -> None:
        """Something is due sooner than `run` expects; called by captures."""
        self._changed.set()

    def counted(self, size: int) -> None:
        """Bytes came into memory, or left it (negative); called by captures."""
        self._bytes += size
        if size < 0:
            self._freed.set()

    async def room(self, capture: Capture) -> None:
        """Wait while too much is in memory, and for a turn; call it before reading more from the engine."""
        await self._turns.take(capture.count_fresh())
        while capture.lost is None and (capture.unstored_bytes > CAPTURE_BYTES or self._bytes > ALL_BYTES):
            self._freed.clear()
            await self._freed.wait()

    async def flush(self, exec_id: str) -> None:
        """Store everything that has arrived for a run; does nothing if it has no capture here.

        Raises:
            UnavailableError: the database failed; nothing is lost.
        """
        capture = self._captures.get(exec_id)
        if capture is None:
            return
        if math.isinf(capture.due) and capture.unstored_bytes:
            # It is on its way to the database; if that fails, it is due again.
            async with self._storing:
                pass
        if math.isinf(capture.due):
            return
        await asyncio.sleep(capture.rest_seconds(LEAST_SECONDS_BETWEEN))
        await self._store([capture])

    async def run(self) -> None:
        """Store captures when they are due, until cancelled; raises errors other than database failures."""
        loop = asyncio.get_running_loop()
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            self._changed.clear()
            now = loop.time()
            due = min((capture.due for capture in self._captures.values()), default=math.inf)
            if due > now:
                await self._wait(due - now)
                continue
            ready = [c for c in self._captures.values() if c.due <= now + GATHER_SECONDS]
            try:
                await self._store(ready)
            except UnavailableError as error:
                _log.debug("log_not_stored", captures=len(ready), bytes=self._bytes, error=str(error))
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)
            else:
                backoff = FIRST_BACKOFF_SECONDS

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def close_all(self) -> None:
        """Store the rest of all captures, and forget them; `run` must have been cancelled before."""
        await asyncio.gather(*(self.close(exec_id) for exec_id in list(self._captures)))

    async def _store(self, captures: list[Capture]) -> None:
        async with self._storing:
            taken = {c.exec_id: (c, chunks) for c in captures if (chunks := c.take())}
            try:
                while taken:
                    refused = await self._write({key: chunks for key, (_, chunks) in taken.items()})
                    for exec_id, reason in refused.items():
                        taken.pop(exec_id)[0].lose(reason)
                        _log.warning("log_lost", exec=exec_id, reason=reason)
                    if not any(reason == _CONFLICT for reason in refused.values()):
                        break
            except BaseException:
                # Also when cancelled: it is not known whether it was committed, and storing twice is harmless.
                for capture, _ in taken.values():
                    capture.put_back(0.0)
                raise
            for capture, chunks in taken.values():
                capture.stored(chunks[-1].seq)

    async def _write(self, taken: dict[str, list[SealedChunk]]) -> dict[str, str]:
        if sum(chunk.cost for chunks in taken.values() for chunk in chunks) > INLINE_BYTES:
            await asyncio.to_thread(_pack, taken)
        else:
            _pack(taken)

        def work(connection: Connection) -> dict[str, str]:
            allowed = writable_execs(connection, taken.keys(), self._owner)
            insert(connection, [chunk.row() for key in taken if key in allowed for chunk in taken[key]])
            point(Point.WRITING_CHUNK)
            return dict.fromkeys(
                (key for key in taken if key not in allowed),
                "the run was deleted or belongs to another daemon",
            )

        try:
            # Not synced: the engine has the output, too, and after a power cut it is read again from there.
            refused = await self._database.write(work, durable=False)
        except ChunkConflictError as error:
            _log.error("log_conflict", exec=error.exec_id, error=str(error))
            return {error.exec_id: _CONFLICT}
        point(Point.CHUNK_WRITTEN)
        return refused


_CONFLICT: Final = "another daemon is writing the same log"


def _pack(taken: dict[str, list[SealedChunk]]) -> None:
    for chunks in taken.values():
        for chunk in chunks:
            chunk.row()
