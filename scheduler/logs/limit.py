"""Output beyond the limit of a log: counted, and the latest part is kept until the run has ended.

Pure. The beginning of a log is stored up to the limit as it arrives; of the rest, only the last lines matter, because
they show how the run ended. They are kept here in limited memory, and stored at the end. Nothing of this is stored
before, so after a crash it is read again from the engine's own copy. Each stream has its share of what is kept: an
engine passes on the two streams unevenly, so that the last words of one can arrive before a large amount of the
other. of one can arrive before a great deal of the other.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: Number of bytes at the end that are kept.
TAIL_BYTES: Final = 64 * 1024
#: Maximum number of pieces, so that a run that prints single bytes takes no more memory.
TAIL_PIECES: Final = 4096


class OutputPiece(NamedTuple):
    """Some bytes of a stream, and when they arrived (microseconds since 1970)."""

    stream: int
    data: bytes
    at: int


@dataclass(slots=True)
class _End:
    """The latest output of one stream.

    Attributes:
        pieces: the pieces that are kept, each with its position in the order of arrival.
        size: number of their bytes.
        is_broken: whether what was forgotten before them does not end with a line end.
    """

    pieces: deque[tuple[int, OutputPiece]] = field(default_factory=deque)
    size: int = 0
    is_broken: bool = False

    def add(self, order: int, piece: OutputPiece) -> None:
        """Add a piece."""
        self.pieces.append((order, piece))
        self.size += len(piece.data)

    def forget(self, most: int) -> None:
        """Forget the oldest piece, or its first `most` bytes."""
        order, (stream, data, at) = self.pieces.popleft()
        cut = min(len(data), most)
        self.size -= cut
        self.is_broken = data[cut - 1 : cut] != b"\n"
        if cut < len(data):
            self.pieces.appendleft((order, OutputPiece(stream, data[cut:], at)))

    def lines(self) -> list[tuple[int, OutputPiece]]:
        """What is kept, from the beginning of a line; everything if no line begins in it."""
        if not self.is_broken or not any(b"\n" in piece.data for _, piece in self.pieces):
            return list(self.pieces)
        held = iter(self.pieces)
        for order, (stream, data, at) in held:
            if end := data.find(b"\n") + 1:
                rest = [(order, OutputPiece(stream, data[end:], at))] if end < len(data) else []
                return [*rest, *held]
        return []


class Overflow:
    """Counts bytes and forgets them, except for the end.

    Args:
        open_streams: streams whose line was cut off by the limit: the rest of that line is not kept.
    """

    def __init__(self, open_streams: frozenset[int] = frozenset()) -> None:
        self._rest_of_line = set(open_streams)
        #: Number of bytes of each stream, kept or not.
        self.counts: dict[int, int] = {}
        self._ends: dict[int, _End] = {}
        self._order = 0
        self._size = 0
        self._pieces = 0

    def add(self, stream: int, data: bytes, at: int) -> None:
        """Add bytes, split anywhere."""
        self.counts[stream] = self.counts.get(stream, 0) + len(data)
        if stream in self._rest_of_line:
            end = data.find(b"\n") + 1
            if not end:
                return
            self._rest_of_line.remove(stream)
            data = data[end:]
        if data:
            self._order += 1
            self._ends.setdefault(stream, _End()).add(self._order, OutputPiece(stream, data, at))
            self._size += len(data)
            self._pieces += 1
            # Not with every piece, because cutting a piece copies it.
            if self._size > 2 * TAIL_BYTES or self._pieces > 2 * TAIL_PIECES:
                self._trim()

    def _trim(self) -> None:
        while self._pieces > TAIL_PIECES:
            self._forget(max(self._ends.values(), key=lambda end: len(end.pieces)))
        while self._size > TAIL_BYTES:
            largest = max(self._ends.values(), key=lambda end: end.size)
            beyond_share = largest.size - TAIL_BYTES // len(self._ends)
            self._forget(largest, min(beyond_share, self._size - TAIL_BYTES))

    def _forget(self, end: _End, most: int = sys.maxsize) -> None:
        size, pieces = end.size, len(end.pieces)
        end.forget(most)
        self._size -= size - end.size
        self._pieces -= pieces - len(end.pieces)

    def finish(self) -> tuple[dict[int, int], list[OutputPiece]]:
        """The number of missing bytes of each stream, and the end of the output, from the beginning of a line."""
        self._trim()
        held = sorted(each for end in self._ends.values() for each in end.lines())
        pieces = [piece for _, piece in held]
        missing = dict(self.counts)
        for piece in pieces:
            missing[piece.stream] -= len(piece.data)
        self.counts = {}
        self._ends.clear()
        self._size = self._pieces = 0
        return missing, pieces
