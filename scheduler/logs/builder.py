"""Collects arriving bytes into chunks.

Pure: no clock, no database. Keeps the state that continues across chunks: the position of each stream, whether a line
is open and where it began, and samples of the stream's beginning and end.
"""

from __future__ import annotations

from typing import Final

from scheduler.domain.stream import Stream
from scheduler.logs import chunks
from scheduler.logs.chunks import LEVEL, LINE_ENDS
from scheduler.logs.cursor import OUTPUTS, SAMPLE_BYTES, LogCursor, StreamCursor
from scheduler.store.logs import ChunkRow
from scheduler.store.tables import from_micros

#: Size in bytes at which a chunk is closed.
CHUNK_BYTES: Final = 256 * 1024
#: A longer line is split here; otherwise output without newlines would take all memory when it is read.
LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
#: A line that is redrawn repeatedly after carriage returns is split at one of them when it is longer than this: the
#: state of a progress bar is visible while it is running, and readers do not get megabytes for one line.
DRAWN_BYTES: Final = 4 * 1024
#: The cost of a frame in addition to its bytes, so that a million tiny frames make small chunks too.
FRAME_COST: Final = 16
_TAIL_SLACK: Final = 64 * 1024


class SealedChunk:
    """A complete chunk; it is compressed once, when its row is first requested."""

    __slots__ = (
        "_kinds",
        "_lengths",
        "_level",
        "_pieces",
        "_row",
        "_times",
        "cost",
        "row_without_data",
        "seq",
    )

    def __init__(
        self,
        row_without_data: ChunkRow,
        *,
        kinds: bytes,
        times: list[int],
        lengths: list[int],
        pieces: list[bytes],
        cost: int,
        level: int,
    ) -> None:
        self.seq = row_without_data.seq
        self.cost = cost
        self.row_without_data = row_without_data
        self._kinds = kinds
        self._times = times
        self._lengths = lengths
        self._pieces = pieces
        # Chosen once: the row must be the same every time.
        self._level = level
        self._row: ChunkRow | None = None

    def row(self) -> ChunkRow:
        """The row to store, always the same. May be called on another thread."""
        # Read before checking the row: another thread sets the row first and then releases the pieces.
        pieces = self._pieces
        if self._row is None:
            data = chunks.encode(self._kinds, self._times, self._lengths, pieces, level=self._level)
            self._row = self.row_without_data._replace(data=data)
            self._pieces = []
        return self._row


class _StreamState:
    __slots__ = (
        "began_in",
        "chunk_open_from",
        "end",
        "head",
        "last_at",
        "open_bytes",
        "recent",
        "recent_bytes",
    )

    def __init__(self, cursor: StreamCursor) -> None:
        self.end = cursor.end
        self.head = cursor.head
        self.last_at = cursor.last_at
        self.recent = [cursor.tail]
        self.recent_bytes = len(cursor.tail)
        self.began_in = cursor.open_from
        self.open_bytes = cursor.open_bytes
        # The value of `began_in` when the current chunk began.
        self.chunk_open_from = cursor.open_from

    def advance(self, data: bytes, at: int, seq: int, newlines: int) -> bool:
        """Add bytes; returns whether the open line has become too long."""
        if len(self.head) < SAMPLE_BYTES and self.end == len(self.head):
            self.head += data[: SAMPLE_BYTES - len(self.head)]
        self.end += len(data)
        self.last_at = at
        if len(data) >= SAMPLE_BYTES:  # the sample contains nothing before it
            self.recent = [data[-SAMPLE_BYTES:]]
            self.recent_bytes = SAMPLE_BYTES
        else:
            self.recent.append(data)
            self.recent_bytes += len(data)
        if self.recent_bytes > _TAIL_SLACK:
            self.recent = [self.tail()]
            self.recent_bytes = len(self.recent[0])
        if newlines:
            self.open_bytes = len(data) - data.rindex(b"\n") - 1
            self.began_in = seq if self.open_bytes else None
        else:
            self.open_bytes += len(data)
            if self.began_in is None:
                self.began_in = seq
        return self.open_bytes >= LONGEST_LINE_BYTES

    def skip(self, size: int) -> None:
        self.end += size
        self.recent = []
        self.recent_bytes = 0

    @property
    def ends_with_return(self) -> bool:
        return bool(self.recent) and self.recent[-1].endswith(b"\r")

    def tail(self) -> bytes:
        return b"".join(self.recent)[-SAMPLE_BYTES:]

    def cursor(self) -> StreamCursor:
        return StreamCursor(self.end, self.head, self.tail(), self.last_at, self.began_in, self.open_bytes)


class ChunkBuilder:
    """Collects the output of one run.

    Args:
        exec_id: the run whose log it is.
        cursor: where the log continues.
    """

    def __init__(self, exec_id: str, cursor: LogCursor) -> None:
        self._exec_id = exec_id
        self._seq = cursor.seq
        self._last_at = cursor.last_at
        self._states = {int(stream): _StreamState(cursor.streams[stream]) for stream in OUTPUTS}
        self._begin()

    def _begin(self) -> None:
        self._kinds = bytearray()
        self._times: list[int] = []
        self._lengths: list[int] = []
        self._pieces: list[bytes] = []
        self._streams = 0
        self._lines = 0
        self._raw = 0
        #: The cost of the current chunk so far, in bytes.
        self.cost = 0
        for state in self._states.values():
            state.chunk_open_from = state.began_in

    @property
    def is_full(self) -> bool:
        """Whether the current chunk should be closed."""
        return self.cost >= CHUNK_BYTES

    def append(self, stream: int, data: bytes, at: int) -> None:
        """Add bytes of a stream: at least one, at most `CHUNK_BYTES`.

        A time before the previous one is raised to it, so that times never decrease.
        """
        at = max(at, self._last_at)
        state = self._states.get(stream)
        if state is not None:
            if state.open_bytes >= DRAWN_BYTES and state.ends_with_return and not data.startswith(b"\n"):
                self._end_line(stream)
            # Not a carriage return that is the last byte: it may be the first half of a line ending.
            cut = data.rfind(b"\r", 0, -1) + 1 if b"\r" in data and b"\n" not in data else 0
            if cut and state.open_bytes + cut >= DRAWN_BYTES:
                self._append(stream, data[:cut], at)
                self._cut(stream)
                data = data[cut:]
        self._append(stream, data, at)

    def _append(self, stream: int, data: bytes, at: int) -> None:
        self._last_at = at
        newlines = data.count(b"\n")
        self._lines += newlines
        state = self._states.get(stream)
        too_long = state is not None and state.advance(data, at, self._seq, newlines)
        self._put(stream, data, at)
        if too_long:
            self._cut(stream)

    def _put(self, kind: int, data: bytes, at: int) -> None:
        # Bytes that arrive together are one frame: the work of readers depends on the number of frames.
        if self._kinds and self._kinds[-1] == kind and self._times[-1] == at:
            self._lengths[-1] += len(data)
        else:
            self._kinds.append(kind)
            self._times.append(at)
            self._lengths.append(len(data))
            self.cost += FRAME_COST
        self._pieces.append(data)
        self._streams |= 1 << kind
        self._raw += len(data)
        self.cost += len(data)

    def _cut(self, stream: int) -> None:
        state = self._states[stream]
        state.began_in = None
        state.open_bytes = 0
        self._kinds[-1] |= LINE_ENDS
        self._lines += 1

    def end_lines(self) -> bool:
        """End open lines, because no more output will come; returns whether there were any.

        Their time is that of their own last bytes, or of anything added later, so that times never decrease.
        """
        had_open_lines = False
        for stream, state in self._states.items():
            if state.began_in is not None:
                self._end_line(stream)
                had_open_lines = True
        return had_open_lines

    def _end_line(self, stream: int) -> None:
        """End a stream's open line with an empty frame: its last bytes may be in an earlier chunk."""
        self._kinds.append(stream)
        # The arrival of its own bytes, unless anything arrived later: frames are in the order of their times.
        self._times.append(self._last_at)
        self._lengths.append(0)
        self._streams |= 1 << stream
        self.cost += FRAME_COST
        self._cut(stream)

    def open_streams(self) -> frozenset[int]:
        """The streams with an open line."""
        return frozenset(stream for stream, state in self._states.items() if state.began_in is not None)

    def skip(self, stream: int, size: int) -> None:
        """Skip bytes that are not kept; only while the current chunk is empty, because chunks have no gaps."""
        self._states[stream].skip(size)

    def seal(self, level: int = LEVEL) -> SealedChunk | None:
        """Close the current chunk and begin the next; None if the current chunk is empty.

        Args:
            level: the compression level.
        """
        if not self._kinds:
            return None
        stdout, stderr = self._states[Stream.STDOUT], self._states[Stream.STDERR]
        row = ChunkRow(
            exec_id=self._exec_id,
            seq=self._seq,
            first_at=from_micros(self._times[0]),
            last_at=from_micros(self._times[-1]),
            stdout_end=stdout.end,
            stderr_end=stderr.end,
            streams=self._streams,
            lines=self._lines,
            stdout_open_from=stdout.chunk_open_from,
            stderr_open_from=stderr.chunk_open_from,
            raw_bytes=self._raw,
            data=b"",
        )
        sealed = SealedChunk(
            row,
            kinds=bytes(self._kinds),
            times=self._times,
            lengths=self._lengths,
            pieces=self._pieces,
            cost=self.cost,
            level=level,
        )
        self._seq += 1
        self._begin()
        return sealed

    def cursor(self) -> LogCursor:
        """The position of the log, including everything collected."""
        return LogCursor(
            self._seq, self._last_at, {stream: self._states[stream].cursor() for stream in OUTPUTS}
        )
