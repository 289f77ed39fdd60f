"""Gathers arriving bytes into chunks.

Pure: no clock, no database. Keeps what has to be known across chunks: where each stream stands, which of its
lines is open and where that line began, and samples of its beginning and end.
"""

from __future__ import annotations

from typing import Final

from scheduler.domain.stream import Stream
from scheduler.logs import chunks
from scheduler.logs.chunks import LEVEL, LINE_ENDS
from scheduler.logs.cursor import OUTPUTS, SAMPLE_BYTES, LogCursor, StreamCursor
from scheduler.store.logs import ChunkRow
from scheduler.store.tables import from_micros

#: A chunk is closed when it has this many bytes.
CHUNK_BYTES: Final = 256 * 1024
#: A line longer than this is cut here, or output without a newline would take all memory when read.
LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
#: A line that is drawn anew again and again after a lone carriage return is cut at one of these when it is longer
#: than this: what a progress bar shows is seen while it goes on, and no reader gets megabytes for one line.
DRAWN_BYTES: Final = 4 * 1024
#: What a frame costs besides its bytes, so that a million tiny frames make small chunks too.
FRAME_COST: Final = 16
_TAIL_SLACK: Final = 64 * 1024


class SealedChunk:
    """A chunk that is complete; it is packed once, when its row is first asked for."""

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
        """The row to store; the same every time. May be called on another thread."""
        # Read before the row is looked at: another thread sets the row first and lets go of the pieces then.
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
        # What `began_in` was when the chunk being gathered began.
        self.chunk_open_from = cursor.open_from

    def advance(self, data: bytes, at: int, seq: int, newlines: int) -> bool:
        """Take note of bytes; says whether the open line has become too long."""
        if len(self.head) < SAMPLE_BYTES and self.end == len(self.head):
            self.head += data[: SAMPLE_BYTES - len(self.head)]
        self.end += len(data)
        self.last_at = at
        if len(data) >= SAMPLE_BYTES:  # nothing before it is in the sample
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
    """Gathers one exec's output.

    Args:
        exec_id: whose log it is.
        cursor: where it goes on.
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
        #: What the chunk being gathered has cost so far, in bytes.
        self.cost = 0
        for state in self._states.values():
            state.chunk_open_from = state.began_in

    @property
    def is_full(self) -> bool:
        """Whether the chunk being gathered should be sealed."""
        return self.cost >= CHUNK_BYTES

    def append(self, stream: int, data: bytes, at: int) -> None:
        """Add bytes of a stream: not empty, at most `CHUNK_BYTES`.

        A time before the last one is raised to it, so that times never go back.
        """
        at = max(at, self._last_at)
        state = self._states.get(stream)
        if state is not None:
            if state.open_bytes >= DRAWN_BYTES and state.ends_with_return and not data.startswith(b"\n"):
                self._end_line(stream)
            # Not one that is the last byte: it may be the first half of a line's end.
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
        # What arrives together is one frame: a reader's work is by the frame.
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
        """End the lines that are open, as no more output will come; says whether there were any.

        They end with their own last bytes, or with what came after those, so that times never go back.
        """
        found = False
        for stream, state in self._states.items():
            if state.began_in is not None:
                self._end_line(stream)
                found = True
        return found

    def _end_line(self, stream: int) -> None:
        """End a stream's open line with an empty frame: what it ends with may be in an earlier chunk."""
        self._kinds.append(stream)
        # Its own bytes' arrival, unless anything came later: frames are in the order of their times.
        self._times.append(self._last_at)
        self._lengths.append(0)
        self._streams |= 1 << stream
        self.cost += FRAME_COST
        self._cut(stream)

    def open_streams(self) -> frozenset[int]:
        """The streams whose line is open."""
        return frozenset(stream for stream, state in self._states.items() if state.began_in is not None)

    def skip(self, stream: int, size: int) -> None:
        """Pass over bytes that are not kept, while nothing is gathered: within a chunk there is no gap."""
        self._states[stream].skip(size)

    def seal(self, level: int = LEVEL) -> SealedChunk | None:
        """Close the chunk being gathered and begin the next; None when nothing has been gathered.

        Args:
            level: how hard to compress it.
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
        """How far the log goes, everything gathered included."""
        return LogCursor(
            self._seq, self._last_at, {stream: self._states[stream].cursor() for stream in OUTPUTS}
        )
