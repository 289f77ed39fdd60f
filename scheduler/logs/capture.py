"""Takes down what a run prints, as it arrives.

A `Capture` is the only writer of one exec's chunks. Bytes go in without waiting (`add`); the `CaptureHub`
stores them. Nothing is ever dropped: whoever reads the stream waits for `room` and thereby holds the
container back. All of this happens on the event loop; only the packing of much at once goes to a thread.
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

#: A capture asks its stream to wait while it has more than this in memory.
CAPTURE_BYTES: Final = 4 * 1024 * 1024
#: The first bytes after a quiet time are stored this many seconds later, with what arrives meanwhile.
PROMPT_SECONDS: Final = 0.03
#: A busy stream is stored this often, or whenever a chunk is full.
BUSY_SECONDS: Final = 1.0

_HARMLESS: Final = str.maketrans({"\n": "⏎", "\r": "⏎"})


class Keeper(Protocol):
    """What a capture asks of the hub that stores it."""

    @property
    def level(self) -> int:
        """How hard to compress what is closed now."""
        ...

    def changed(self) -> None:
        """There is something to store, or it is due sooner than was said before."""
        ...

    def counted(self, size: int) -> None:
        """So many bytes came into memory, or left it (negative)."""
        ...

    def stored(self, exec_id: str) -> None:
        """Something was stored for an exec."""
        ...

    async def room(self, capture: Capture) -> None:
        """Wait while too much is in memory, and for a turn."""
        ...

    async def flush(self, exec_id: str) -> None:
        """Store all that has arrived for an exec."""
        ...


class Capture:
    """One exec's log, being written. Made by `CaptureHub.open`.

    Args:
        exec_id: whose log it is.
        cursor: how far it has been stored.
        clock: tells arrival times.
        keeper: stores what is gathered.
        limit: how many bytes of output are stored as they come; of what is beyond, only the end is, at the end.
    """

    def __init__(
        self, exec_id: str, cursor: LogCursor, clock: Clock, keeper: Keeper, *, limit: int = MOST_LOG_BYTES
    ) -> None:
        self.exec_id = exec_id
        #: When this should be stored (the event loop's time); infinite when there is nothing.
        self.due = math.inf
        #: Why nothing is taken any more, such as its exec's deletion; None as long as all is well.
        self.lost: str | None = None
        #: A busy stream is stored this often; more often while somebody follows it.
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
        # All output so far, kept or not: what is stored ends beyond the limit once its being reached is said there.
        self._output = sum(stream.end for stream in cursor.streams.values())
        self._overflow = Overflow() if self._output > limit else None

    def cursor(self) -> LogCursor:
        """How far the log goes, stored or not: where reading the engine's copy has to go on."""
        cursor = self._builder.cursor()
        return cursor if self._overflow is None else cursor.beyond(self._overflow.counts)

    @property
    def unstored_bytes(self) -> int:
        """How much is in memory and not yet stored."""
        return self._bytes

    def system(self, message: str) -> None:
        """Add one of Timeball's own lines; newlines in it become a visible sign."""
        line = message.rstrip("\r\n").replace("\r\n", "\n").translate(_HARMLESS)
        self.add(Stream.SYSTEM, line.encode("utf-8", "replace") + b"\n")

    def add(self, stream: Stream, data: bytes, at: datetime | None = None) -> None:
        """Add bytes that arrived; `add_frames` is faster for many at once.

        Args:
            stream: where they come from.
            data: cut anywhere.
            at: when they arrived, if not just now. Never believed to lie ahead, nor before what came earlier.
        """
        now = to_micros(self._clock.now())
        self._add(int(stream), data, now if at is None else min(to_micros(at), now))

    def add_frames(self, frames: Iterable[tuple[Stream, bytes, datetime | None]]) -> None:
        """Add what came with one read: a stream, bytes of it, and a time if the engine told it."""
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
        """How many bytes have arrived since this was last asked."""
        fresh, self._fresh = self._fresh, 0
        return fresh

    async def flush(self) -> None:
        """Store all that has arrived.

        Raises:
            UnavailableError: the database refused; nothing is lost.
        """
        await self._keeper.flush(self.exec_id)

    def end_output(self) -> None:
        """Note that the container's output has ended, so that an unfinished last line counts as a line.

        Such a line has the time at which its last bytes arrived, or that of what has been added since. Call it
        when the output is complete, before the last of Timeball's own lines; `drain` does so too.
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
        """Say in the log that it has reached its limit, and pass over the first byte beyond."""
        cut_lines = self._builder.open_streams() - {stream} | ({stream} if first != b"\n" else set())
        self._builder.end_lines()
        # In the very chunk that says so: where a stored log ends beyond its limit, it has been said.
        self._seal()
        self._builder.skip(stream, 1)
        self.system(
            f"The log has reached its limit of {self._limit:,} bytes. What is printed from here on is not kept, "
            f"but for the last {TAIL_BYTES // 1024} KiB, which follow when the run has ended."
        )
        return Overflow(cut_lines)

    def _add_end(self, overflow: Overflow) -> None:
        """Say how much was not kept, and store the end of what was printed."""
        missing, pieces = overflow.finish()
        self._seal()
        for stream, size in missing.items():
            self._builder.skip(stream, size)
        kept = sum(len(piece.data) for piece in pieces)
        self.system(f"{self._output - self._limit - kept:,} bytes that were printed here are not kept.")
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
        """All that is not yet stored, as closed chunks; they stay until `stored` is told of them."""
        self._seal()
        self.due = math.inf
        return list(self._sealed)

    def stored(self, seq: int) -> None:
        """Let go of the chunks up to a number, as they are committed."""
        self._stored_at = self._loop.time()
        freed = 0
        while self._sealed and self._sealed[0].seq <= seq:
            freed += self._sealed.popleft().row_without_data.raw_bytes
        self._bytes -= freed
        self._keeper.counted(-freed)
        self._keeper.stored(self.exec_id)

    def rest_seconds(self, least: float) -> float:
        """How long to wait until the last storing is `least` seconds ago."""
        return max(0.0, self._stored_at + least - self._loop.time())

    def put_back(self, due: float) -> None:
        """Ask for another try at storing what was taken."""
        if self._sealed:
            self.due = min(self.due, due)

    def lose(self, reason: str) -> None:
        """Give up: what is in memory belongs nowhere any more, and nothing more is taken."""
        self.lost = reason
        self.due = math.inf
        self._sealed.clear()
        self._builder.seal()
        self._keeper.counted(-self._bytes)
        self._bytes = 0

    def discard(self) -> None:
        """Take nothing more and store nothing more: the exec is being deleted."""
        self.lose("discarded")

    def drain(self) -> list[ChunkRow]:
        """The rows that are left to store, for the transaction that makes the exec's status final.

        Ends open lines. Call `confirm` once that transaction is committed; if it is not, drain again. Rows
        that are on their way to the database already are among them: storing a row twice is harmless.
        """
        self.end_output()
        chunks = self.take()
        self._drained_to = chunks[-1].seq if chunks else -1
        # Until it is confirmed this must not be forgotten.
        self.put_back(self._loop.time() + BUSY_SECONDS)
        return [chunk.row() for chunk in chunks]

    def confirm(self) -> None:
        """The rows of the last `drain` are committed."""
        self.stored(self._drained_to)
        if not self._sealed and not self._builder.cost:
            self.due = math.inf
