"""Stores the output of a run as it arrives.

A `Capture` is the only writer of a run's chunks. Bytes are accepted without waiting (`add`); the `CaptureHub` stores
them. Nothing is ever dropped: the reader of the stream waits for `room`, which slows down the container. All of this
happens on the event loop; only the compression of larger amounts happens on a thread.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Protocol

from scheduler.domain.clock import Clock
from scheduler.domain.job import MOST_LOG_BYTES
from scheduler.domain.stream import Stream
from scheduler.logs.builder import CHUNK_BYTES, ChunkBuilder, SealedChunk
from scheduler.logs.cursor import LogCursor
from scheduler.logs.limit import TAIL_BYTES, Overflow
from scheduler.store.logs import ChunkRow
from scheduler.store.tables import to_micros

#: Amount in memory at which a capture asks its stream to wait.
CAPTURE_BYTES: Final = 4 * 1024 * 1024
#: Delay before the first bytes after a quiet period are stored, together with everything that arrives meanwhile.
PROMPT_SECONDS: Final = 0.03
#: Interval at which a busy stream is stored, unless a chunk is full before.
BUSY_SECONDS: Final = 1.0

_HARMLESS: Final = str.maketrans({"\n": "⏎", "\r": "⏎"})


class Keeper(Protocol):
    """What a capture requires of the hub that stores it."""

    @property
    def level(self) -> int:
        """The current compression level."""
        ...

    def changed(self) -> None:
        """There is something to store, or it is due sooner than before."""
        ...

    def counted(self, size: int) -> None:
        """Report that bytes came into memory, or left it (negative)."""
        ...

    def stored(self, exec_id: str) -> None:
        """Report that something was stored for a run."""
        ...

    async def room(self, capture: Capture) -> None:
        """Wait while too much is in memory, and for a turn."""
        ...

    async def flush(self, exec_id: str) -> None:
        """Store everything that has arrived for a run."""
        ...


class Capture:
    """The log of one run while it is being written. Created by `CaptureHub.open`.

    Args:
        exec_id: the run whose log it is.
        cursor: the position up to which it is stored.
        clock: the source of arrival times.
        keeper: stores what is collected.
        limit: number of output bytes that are stored; of the output beyond it, only the end is stored, at the end.
    """

    def __init__(
        self, exec_id: str, cursor: LogCursor, clock: Clock, keeper: Keeper, *, limit: int = MOST_LOG_BYTES
    ) -> None:
        self.exec_id = exec_id
        #: When to store (the event loop's time); infinite if there is nothing to store.
        self.due = math.inf
        #: Why nothing is accepted any more, such as the run's deletion; None otherwise.
        self.lost: str | None = None
        #: Interval at which a busy stream is stored; shorter while somebody follows it.
        self.busy_seconds = BUSY_SECONDS
        self._builder = ChunkBuilder(exec_id, cursor)
        self._sealed: deque[SealedChunk] = deque()
        self._clock = clock
        self._keeper = keeper
        self._bytes = 0
        self._fresh = 0
        self._stored_at = -math.inf
        self._drained_to = -1
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        # All output so far, kept or not: a stored log ends beyond the limit once it says that the limit was reached.
        self._output = sum(stream.end for stream in cursor.streams.values())
        self._overflow = Overflow() if self._output > limit else None

    def cursor(self) -> LogCursor:
        """The position of the log, stored or not: where reading the engine's copy must continue."""
        cursor = self._builder.cursor()
        return cursor if self._overflow is None else cursor.beyond(self._overflow.counts)

    @property
    def unstored_bytes(self) -> int:
        """Number of bytes in memory that are not stored yet."""
        return self._bytes

    def system(self, message: str) -> None:
        """Add one of Timeball's own lines; newlines in it are replaced by a visible character."""
        line = message.rstrip("\r\n").replace("\r\n", "\n").translate(_HARMLESS)
        self.add(Stream.SYSTEM, line.encode("utf-8", "replace") + b"\n")

    def add(self, stream: Stream, data: bytes, at: datetime | None = None) -> None:
        """Add bytes that have arrived; `add_frames` is faster for many at once.

        Args:
            stream: the stream of the bytes.
            data: the bytes, split anywhere.
            at: when they arrived, if not now. Limited to the range from the previous arrival to the current time.
        """
        now = to_micros(self._clock.now())
        self._add(int(stream), data, now if at is None else min(to_micros(at), now))

    def add_frames(self, frames: Iterable[tuple[Stream, bytes, datetime | None]]) -> None:
        """Add everything from one read: a stream, its bytes, and a time if the engine reported it."""
        now = to_micros(self._clock.now())
        last, arrival, pieces = Stream.STDOUT, now, list[bytes]()
        for stream, data, at in frames:
            time = now if at is None else min(to_micros(at), now)
            if stream is not last or time != arrival:
                self._add(int(last), b"".join(pieces), arrival)
                last, arrival, pieces = stream, time, []
            pieces.append(data)
        self._add(int(last), b"".join(pieces), arrival)

    async def room(self) -> None:
        """Wait while too much is in memory, and for a turn; call it before reading more from the engine."""
        await self._keeper.room(self)

    def count_fresh(self) -> int:
        """Number of bytes that have arrived since the last call."""
        fresh, self._fresh = self._fresh, 0
        return fresh

    async def flush(self) -> None:
        """Store everything that has arrived.

        Raises:
            UnavailableError: the database failed; nothing is lost.
        """
        await self._keeper.flush(self.exec_id)

    def end_output(self) -> None:
        """Record the end of the container's output, so that an unfinished last line counts as a line.

        Such a line has the time at which its last bytes arrived, or that of anything added since. Call it when the
        output is complete, before Timeball's own last lines; `drain` calls it, too.
        """
        if self.lost is not None:
            return
        if self._overflow is not None and self._overflow.counts:
            self._add_end(self._overflow)
        if self._builder.end_lines():
            self._note(0)

    def _add(self, stream: int, data: bytes, at: int) -> None:
        if not data or self.lost is not None:
            return
        if stream != Stream.SYSTEM:
            room = max(0, self._limit - self._output)
            self._output += len(data)
            if len(data) > room:
                self._put(stream, data[:room], at)
                beyond = data[room:]
                if self._overflow is None:
                    self._overflow = self._begin_overflow(stream, beyond[:1])
                    beyond = beyond[1:]
                if beyond:
                    self._overflow.add(stream, beyond, at)
                return
        self._put(stream, data, at)

    def _put(self, stream: int, data: bytes, at: int) -> None:
        for begin in range(0, len(data), CHUNK_BYTES):
            piece = data[begin : begin + CHUNK_BYTES]
            self._builder.append(stream, piece, at)
            self._note(len(piece))

    def _begin_overflow(self, stream: int, first: bytes) -> Overflow:
        """Note in the log that its limit was reached, and skip the first byte beyond it."""
        cut_lines = self._builder.open_streams() - {stream} | ({stream} if first != b"\n" else set())
        self._builder.end_lines()
        # In the same chunk as the note: if a stored log ends beyond its limit, it contains the note.
        self._seal()
        self._builder.skip(stream, 1)
        self.system(
            f"The log has reached its limit of {self._limit:,} bytes. Further output is not kept, except for the "
            f"last {TAIL_BYTES // 1024} KiB, which follow when the run has ended."
        )
        return Overflow(cut_lines)

    def _add_end(self, overflow: Overflow) -> None:
        """Note how much was not kept, and store the end of the output."""
        missing, pieces = overflow.finish()
        self._seal()
        for stream, size in missing.items():
            self._builder.skip(stream, size)
        kept = sum(len(piece.data) for piece in pieces)
        self.system(f"{self._output - self._limit - kept:,} bytes of output are missing here.")
        for piece in pieces:
            self._put(*piece)

    def _note(self, size: int) -> None:
        self._bytes += size
        self._fresh += size
        self._keeper.counted(size)
        now = self._loop.time()
        if self._builder.is_full:
            self._seal()
            due = now
        else:
            due = max(now + PROMPT_SECONDS, self._stored_at + self.busy_seconds)
        if due < self.due:
            self.due = due
            self._keeper.changed()

    def _seal(self) -> None:
        sealed = self._builder.seal(self._keeper.level)
        if sealed is not None:
            self._sealed.append(sealed)

    def take(self) -> list[SealedChunk]:
        """Everything that is not stored yet, as closed chunks; they are kept until `stored` is called for them."""
        self._seal()
        self.due = math.inf
        return list(self._sealed)

    def stored(self, seq: int) -> None:
        """Release the chunks up to a number, because they are committed."""
        self._stored_at = self._loop.time()
        freed = 0
        while self._sealed and self._sealed[0].seq <= seq:
            freed += self._sealed.popleft().row_without_data.raw_bytes
        self._bytes -= freed
        self._keeper.counted(-freed)
        self._keeper.stored(self.exec_id)

    def rest_seconds(self, least: float) -> float:
        """Seconds until the last store is `least` seconds ago."""
        return max(0.0, self._stored_at + least - self._loop.time())

    def put_back(self, due: float) -> None:
        """Schedule another attempt at storing what was taken."""
        if self._sealed:
            self.due = min(self.due, due)

    def lose(self, reason: str) -> None:
        """Give up: discard everything in memory, and accept nothing more."""
        self.lost = reason
        self.due = math.inf
        self._sealed.clear()
        self._builder.seal()
        self._keeper.counted(-self._bytes)
        self._bytes = 0

    def discard(self) -> None:
        """Accept and store nothing more, because the run is being deleted."""
        self.lose("discarded")

    def drain(self) -> list[ChunkRow]:
        """The remaining rows to store, for the transaction that makes the run's status final.

        Ends open lines. Call `confirm` after the commit of that transaction; if it fails, call `drain` again. Rows
        that are already on their way to the database are included: storing a row twice is harmless.
        """
        self.end_output()
        chunks = self.take()
        self._drained_to = chunks[-1].seq if chunks else -1
        # Must not be forgotten until it is confirmed.
        self.put_back(self._loop.time() + BUSY_SECONDS)
        return [chunk.row() for chunk in chunks]

    def confirm(self) -> None:
        """The rows of the last `drain` are committed."""
        self.stored(self._drained_to)
        if not self._sealed and not self._builder.cost:
            self.due = math.inf
