"""What a run prints beyond the limit of its log: counted, and the newest of it kept until the run has ended.

Pure. The beginning of a log is stored up to the limit as it comes; of what follows only the last lines matter,
because they say how the run ended. They are held here in bounded memory, and whoever takes them over stores them
at the end. After a crash they are read again from the engine's own copy, as nothing of this is stored before.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

#: How much of the end is kept.
TAIL_BYTES: Final = 64 * 1024
#: In no more pieces than this, so that a run that prints single bytes takes no more memory.
TAIL_PIECES: Final = 4096


class Piece(NamedTuple):
    """Some bytes of a stream, and when they arrived (microseconds since 1970)."""

    stream: int
    data: bytes
    at: int


class Overflow:
    """Counts and forgets, but for the end.

    Args:
        open_streams: streams whose line was cut off by the limit: the rest of that line is of no use.
    """

    def __init__(self, open_streams: frozenset[int] = frozenset()) -> None:
        self._rest_of_line = set(open_streams)
        #: How many bytes of each stream came, kept or not.
        self.counts: dict[int, int] = {}
        self._pieces: deque[Piece] = deque()
        self._size = 0
        #: Streams of which something before the first piece was forgotten that does not end a line.
        self._broken: set[int] = set()

    def add(self, stream: int, data: bytes, at: int) -> None:
        """Take more bytes, cut anywhere."""
        self.counts[stream] = self.counts.get(stream, 0) + len(data)
        if stream in self._rest_of_line:
            end = data.find(b"\n") + 1
            if not end:
                return
            self._rest_of_line.remove(stream)
            data = data[end:]
        if data:
            self._pieces.append(Piece(stream, data, at))
            self._size += len(data)
            # Not with every piece: cutting one copies it.
            if self._size > 2 * TAIL_BYTES or len(self._pieces) > 2 * TAIL_PIECES:
                self._trim()

    def _trim(self) -> None:
        while self._size > TAIL_BYTES or len(self._pieces) > TAIL_PIECES:
            stream, data, at = self._pieces.popleft()
            cut = len(data) if len(self._pieces) >= TAIL_PIECES else min(len(data), self._size - TAIL_BYTES)
            self._size -= cut
            if data[cut - 1 : cut] == b"\n":
                self._broken.discard(stream)
            else:
                self._broken.add(stream)
            if cut < len(data):
                self._pieces.appendleft(Piece(stream, data[cut:], at))

    def finish(self) -> tuple[dict[int, int], list[Piece]]:
        """How much of each stream is missing, and the end of what was printed, from a line's beginning on."""
        self._trim()
        pieces: list[Piece] = []
        broken = {
            stream
            for stream in self._broken
            if any(piece.stream == stream and b"\n" in piece.data for piece in self._pieces)
        }
        for stream, data, at in self._pieces:
            rest = data
            if stream in broken:
                end = data.find(b"\n") + 1
                rest = data[end:] if end else b""
                if end:
                    broken.remove(stream)
            if rest:
                pieces.append(Piece(stream, rest, at))
        missing = dict(self.counts)
        for piece in pieces:
            missing[piece.stream] -= len(piece.data)
        self.counts = {}
        self._pieces.clear()
        self._size = 0
        self._broken.clear()
        return missing, pieces
