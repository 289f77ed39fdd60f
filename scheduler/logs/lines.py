"""Splits frames into lines.

Pure. A line's time is the arrival of the frame that completed it, so all lines of a run have one order and times
never decrease, even while the run is in progress. An open line is not shown: it is returned as a whole when its
newline arrives, or when the capture records the end of the output (a cursor would otherwise show it twice). A line
keeps its own ending, so that the lines of a stream, joined together, are what was printed.

The splitter returns groups of lines (all that one frame completed), so that a million lines take a few thousand
steps. A position numbers a line by the chunk and the frame that completed it, regardless of the query; cursors
contain it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from io import BytesIO
from typing import Final, NamedTuple

from scheduler.domain.stream import Stream
from scheduler.logs.chunks import LINE_ENDS, STREAM_BITS, Frame

_SEQ_SHIFT: Final = 48
_FRAME_SHIFT: Final = 24

#: Returns the beginning of a line that was open where reading began; only called if it is needed.
Head = Callable[[], bytes]


def position_of(seq: int, frame: int, index: int = 0) -> int:
    """The position of the index-th line that was completed by a frame of a chunk."""
    return seq << _SEQ_SHIFT | frame << _FRAME_SHIFT | index


def without_ending(data: bytes) -> bytes:
    r"""A line without its ``\n`` or ``\r\n``, if it has one."""
    if data.endswith(b"\n"):
        return data[:-2] if data.endswith(b"\r\n") else data[:-1]
    return data


def shown(data: bytes) -> bytes:
    r"""A line as a terminal finally shows it: without its ending, and only what follows the last inner ``\r``.

    A progress bar redraws itself after each ``\r``, thousands of times in one line; its last state is the line.
    """
    line = without_ending(data)
    return line.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in line else line


def chunk_of(position: int) -> int:
    """The `seq` of the chunk in which the line at a position ends."""
    return position >> _SEQ_SHIFT


#: The index of the placeholder for a damaged chunk; no frame has this many lines.
DAMAGE_INDEX: Final = (1 << _FRAME_SHIFT) - 1


class FrameLines(NamedTuple):
    """Lines that were completed by one frame.

    Attributes:
        at: their time, microseconds since 1970.
        stream: their stream's number.
        lines: their bytes, each with its ending.
        position: the position of the first line; the others follow consecutively.
    """

    at: int
    stream: int
    lines: list[bytes]
    position: int


def is_damage(run: FrameLines) -> bool:
    """Whether it is not output, but a placeholder for a chunk that cannot be read."""
    return run.position & DAMAGE_INDEX == DAMAGE_INDEX


class Line(NamedTuple):
    """One line of a log.

    Attributes:
        at: when the frame that completed it arrived, aware UTC.
        stream: the stream it was printed to.
        data: its bytes including the newline; without a newline if the output ended or the line was split.
        position: its position in the log, which `places.run_cursor` encodes.
    """

    at: datetime
    stream: Stream
    data: bytes
    position: int

    @property
    def message(self) -> bytes:
        """The visible part: see `shown`."""
        return shown(self.data)


class LineSplitter:
    """Splits the frames of successive chunks into groups of lines, and keeps open lines in between.

    Args:
        streams: the numbers of the requested streams; frames of others are skipped.
        start: lines before this time (microseconds) are left out.
        end: lines after this time are left out.
        heads: for each stream whose line is open at the first chunk, a function that returns the line's beginning.
    """

    def __init__(
        self,
        streams: Iterable[int],
        *,
        start: int | None = None,
        end: int | None = None,
        heads: Mapping[int, Head] | None = None,
    ) -> None:
        self._wanted = frozenset(streams)
        self._start = start
        self._end = end
        self._heads = dict(heads or {})
        self._open: dict[int, list[bytes]] = {stream: [] for stream in self._wanted}

    def feed(self, seq: int, frames: Iterable[Frame]) -> list[FrameLines]:
        """The lines that the frames of one chunk complete, in order."""
        runs: list[FrameLines] = []
        for number, (kind, at, data) in enumerate(frames):
            stream = kind & STREAM_BITS
            if stream not in self._wanted:
                continue
            lines = self._complete(stream, data, kind, wanted=self._in_range(at))
            if lines:
                runs.append(FrameLines(at, stream, lines, position_of(seq, number)))
        return runs

    def break_off(self, at: int, seq: int) -> list[FrameLines]:
        """Return open lines, because a chunk that cannot be read follows.

        Bytes before and after the gap must not look like one line.
        """
        runs: list[FrameLines] = []
        for stream in sorted(self._wanted):
            if self._in_range(at) and (self._open[stream] or stream in self._heads):
                line = self._take_head(stream) + b"".join(self._open[stream])
                if line:
                    runs.append(FrameLines(at, stream, [line], position_of(seq, 0, stream)))
            self._heads.pop(stream, None)
            self._open[stream] = []
        return runs

    def _in_range(self, at: int) -> bool:
        return (self._start is None or at >= self._start) and (self._end is None or at <= self._end)

    def _take_head(self, stream: int) -> bytes:
        head = self._heads.pop(stream, None)
        return b"" if head is None else head()

    def _complete(self, stream: int, data: bytes, kind: int, *, wanted: bool) -> list[bytes]:
        pieces = self._open[stream]
        if b"\n" not in data:
            if data:
                pieces.append(data)
            if not kind & LINE_ENDS:
                return []
            self._open[stream] = []
            if not wanted:
                self._heads.pop(stream, None)
                return []
            line = self._take_head(stream) + b"".join(pieces)
            return [line] if line else []
        if not wanted:
            self._heads.pop(stream, None)
            rest = data[data.rindex(b"\n") + 1 :]
            self._open[stream] = [rest] if rest and not kind & LINE_ENDS else []
            return []
        lines = BytesIO(data).readlines()
        if pieces or stream in self._heads:
            lines[0] = b"".join((self._take_head(stream), *pieces, lines[0]))
        has_rest = not data.endswith(b"\n") and not kind & LINE_ENDS
        self._open[stream] = [lines.pop()] if has_rest else []
        return lines


def open_end(frames: Iterable[Frame], stream: int) -> tuple[bytes, bool]:
    """What a stream's frames leave open at their end, and whether a line ended in them.

    Returns:
        the bytes after the end of the last line (all of them if no line ended), and whether a line ended.
    """
    pieces: list[bytes] = []
    ended = False
    for kind, _, data in frames:
        if kind & STREAM_BITS != stream:
            continue
        cut = data.rfind(b"\n")
        if kind & LINE_ENDS:
            pieces, ended = [], True
        elif cut >= 0:
            pieces, ended = [data[cut + 1 :]], True
        else:
            pieces.append(data)
    return b"".join(pieces), ended
