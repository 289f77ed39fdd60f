"""Resumes a log from the engine's own copy, so that every byte is stored once.

Pure. The engine returns its copy from the very beginning. Usually it is identical to what was stored, and an
`Aligner` skips as many bytes as are stored, comparing the beginning and the last stored bytes on the way (which needs
no memory). It can differ, though: the oldest part is lost when the engine rotates the file, ``json-file`` replaces
each invalid byte by U+FFFD, and ``local`` loses the newline of a line longer than 16 KiB (Engine 20.10). In this case
the aligner reports that it is lost, and a `Locator` reads the whole copy once to search for the last stored bytes;
the aligner that it creates continues there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from scheduler.domain.stream import Stream
from scheduler.logs.cursor import SAMPLE_BYTES, LogCursor, StreamCursor
from scheduler.store.tables import to_micros

#: A stream, some of its bytes, and the engine's time of them if it reported one.
EngineFrame = tuple[Stream, bytes, datetime | None]

#: Lengths of the tail that are searched for; the longest match counts.
_PATTERN_LENGTHS: Final = (SAMPLE_BYTES, 1024, 256, 64)
#: A match of this length is accepted regardless of the engine's times; a shorter one can be a coincidence.
_STRONG_BYTES: Final = 1024
#: Number of bytes that are collected before a search.
_SCAN_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The position in the engine's copy of a stream at which new bytes begin.

    Attributes:
        offset: number of bytes of the copy that are already stored.
        before: the bytes right before, or fewer; compared when they are read.
        head: the copy's first bytes, or fewer; compared when they are read.
    """

    offset: int
    before: bytes = b""
    head: bytes = b""


class _StreamAligner:
    def __init__(self, place: ResumePoint) -> None:
        self._place = place
        self._at = 0
        self.has_passed = place.offset == 0
        self.is_lost = False

    def feed(self, data: bytes) -> bytes:
        """The new part of some bytes; sets `is_lost` if they are not the expected ones."""
        if self.has_passed:
            return data
        place, begin = self._place, self._at
        self._at = end = begin + len(data)
        if _differs(data, begin, place.head, 0) or _differs(
            data, begin, place.before, place.offset - len(place.before)
        ):
            self.is_lost = True
            return b""
        self.has_passed = end >= place.offset
        return data[place.offset - begin :] if self.has_passed else b""


def _differs(data: bytes, begin: int, sample: bytes, sample_begin: int) -> bool:
    first = max(begin, sample_begin)
    last = min(begin + len(data), sample_begin + len(sample))
    return (
        first < last
        and data[first - begin : last - begin] != (sample[first - sample_begin : last - sample_begin])
    )


class Aligner:
    """Passes on what is new in the engine's copy of a log.

    Args:
        cursor: the position of the stored log.
        places: where to continue, if that is known better than by counting.
    """

    def __init__(self, cursor: LogCursor, places: Mapping[Stream, ResumePoint] | None = None) -> None:
        self._streams = {
            stream: _StreamAligner(
                ResumePoint(position.end, position.tail, position.head) if places is None else places[stream]
            )
            for stream, position in cursor.streams.items()
        }
        #: Whether the copy differs from what is stored; then nothing more is passed on: use a `Locator`.
        self.is_lost = False

    def feed(self, frames: Iterable[EngineFrame]) -> list[EngineFrame]:
        """The new part of the next frames of the copy."""
        new: list[EngineFrame] = []
        for stream, data, at in frames:
            if self.is_lost:
                break
            aligner = self._streams[stream]
            if rest := aligner.feed(data):
                new.append((stream, rest, at))
            self.is_lost = aligner.is_lost
        return new

    def finish(self) -> bool:
        """Record the end of the copy; returns whether it contained everything that is stored."""
        self.is_lost = self.is_lost or not all(aligner.has_passed for aligner in self._streams.values())
        return not self.is_lost


@dataclass(slots=True)
class _Matches:
    """Where a pattern was found; only positions that may be chosen are kept."""

    pattern: bytes
    count: int = 0
    first: ResumePoint | None = None
    nearest: ResumePoint | None = None
    timely: ResumePoint | None = None

    def add(self, place: ResumePoint, cursor: StreamCursor, at: int | None) -> None:
        self.count += 1
        self.first = self.first or place
        if self.nearest is None or abs(place.offset - cursor.end) < abs(self.nearest.offset - cursor.end):
            self.nearest = place
        # Stored output had been written before it arrived: the latest such match is the right one.
        if at is not None and cursor.last_at is not None and at <= cursor.last_at:
            self.timely = place


@dataclass(slots=True)
class _Window:
    """The latest bytes of a stream's copy, with the times of their frames."""

    base: int = 0
    data: bytes = b""
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    starts: list[int] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)

    def add(self, data: bytes, at: int | None) -> None:
        self.starts.append(self.base + len(self.data) + self.size)
        self.times.append(at)
        self.pieces.append(data)
        self.size += len(data)

    def join(self) -> int:
        """Join the pieces; returns the number of bytes before."""
        old = len(self.data)
        self.data = b"".join((self.data, *self.pieces))
        self.pieces.clear()
        self.size = 0
        return old

    def trim(self, keep: int) -> None:
        cut = max(0, len(self.data) - keep)
        self.base += cut
        self.data = self.data[cut:]
        gone = max(0, bisect_right(self.starts, self.base) - 1)
        del self.starts[:gone], self.times[:gone]

    def time_at(self, offset: int) -> int | None:
        index = bisect_right(self.starts, offset) - 1
        return self.times[index] if index >= 0 else None

    def before(self, offset: int) -> bytes:
        end = offset - self.base
        return self.data[max(0, end - SAMPLE_BYTES) : end]


class _StreamLocator:
    def __init__(self, stream: Stream, cursor: StreamCursor) -> None:
        self._stream = stream
        self._cursor = cursor
        self._matches = [_Matches(pattern) for pattern in _patterns(cursor.tail)]
        self._window = _Window()
        self._head = b""
        self._head_times: list[tuple[int, int | None]] = []
        self._has_times = True
        self._first_later: ResumePoint | None = None
        self._expected: ResumePoint | None = None
        self._end = 0

    def feed(self, data: bytes, at: int | None) -> None:
        if not data:
            return
        if len(self._head) < SAMPLE_BYTES:
            self._head_times.append((len(self._head), at))
            self._head += data[: SAMPLE_BYTES - len(self._head)]
        if at is None:
            self._has_times = False
        elif self._first_later is None and at > (self._cursor.last_at or 0):
            self._scan()
            self._first_later = self._place(self._end)
        if self._expected is None and self._end + len(data) >= self._cursor.end:
            self._window.add(data, at)
            self._end += len(data)
            self._scan()
            self._expected = self._place(self._cursor.end)
            return
        self._window.add(data, at)
        self._end += len(data)
        if self._window.size >= _SCAN_BYTES:
            self._scan()

    def _place(self, offset: int) -> ResumePoint:
        return ResumePoint(offset, self._window.before(offset), self._head)

    def _scan(self) -> None:
        window = self._window
        old = window.join()
        for matches in self._matches:
            length = len(matches.pattern)
            at = window.data.find(matches.pattern, max(0, old - length + 1))
            while at >= 0:
                offset = window.base + at + length
                matches.add(self._place(offset), self._cursor, window.time_at(offset - 1))
                at = window.data.find(matches.pattern, at + 1)
        # More than the longest pattern (replacements make it three times as long) and a sample before it.
        window.trim(4 * SAMPLE_BYTES)

    def choose(self) -> tuple[ResumePoint, str | None]:
        """The best position, and a note about it if it is uncertain."""
        self._scan()
        if self._cursor.end == 0:
            return ResumePoint(0), None
        return self._best_match() or self._without_match()

    @property
    def _unsure(self) -> str:
        name = self._stream.label
        return (
            f"After an interruption, {name} continues at the most likely position: lines may be missing or "
            "repeated."
        )

    @property
    def _begins_alike(self) -> bool:
        head = self._cursor.head
        return bool(head) and self._head[: len(head)] == head[: len(self._head)]

    def _overlap(self) -> tuple[ResumePoint, str | None] | None:
        """The copy may begin within the tail, if everything before was discarded."""
        tail, head = self._cursor.tail, self._head
        length = next((n for n in range(min(len(tail) - 1, len(head)), 0, -1) if tail.endswith(head[:n])), 0)
        if not length:
            return None
        place = ResumePoint(length, head[:length], head)
        if not self._has_times:
            return place, None if length >= _STRONG_BYTES else self._unsure
        at = [at for start, at in self._head_times if start < length][-1]
        return (place, None) if at is not None and at <= (self._cursor.last_at or 0) else None

    def _best_match(self) -> tuple[ResumePoint, str | None] | None:
        overlap = self._overlap()
        for matches in self._matches:
            if overlap is not None and overlap[0].offset > len(matches.pattern):
                return overlap
            if self._has_times and matches.timely is not None:
                return matches.timely, None
            is_strong = len(matches.pattern) >= _STRONG_BYTES
            if matches.first is None or (self._has_times and not is_strong):
                continue
            if matches.count == 1:
                return matches.first, None if is_strong else self._unsure
            best = matches.nearest if self._begins_alike else matches.first
            return best or matches.first, self._unsure
        return overlap

    def _without_match(self) -> tuple[ResumePoint, str | None]:
        if self._has_times and self._end:
            place = self._first_later or self._place(self._end)
        elif self._begins_alike:
            place = self._expected or self._place(self._end)
        else:
            place = ResumePoint(0)
        if place.offset or not self._end:
            return place, self._unsure
        name = self._stream.label
        return place, f"Part of {name} is missing here: the engine has discarded it (its log was rotated)."


def _patterns(tail: bytes) -> list[bytes]:
    """The tail's last bytes as they may appear in the engine's copy, longest first."""
    patterns: list[bytes] = []
    for length in _PATTERN_LENGTHS:
        raw = tail[-length:]
        # A character that is cut at the beginning is complete in the copy, so its rest is not searched for.
        text = raw.lstrip(bytes(range(0x80, 0xC0))) if len(raw) > 3 else raw
        for pattern in (raw, text.decode("utf-8", "replace").encode()):
            if pattern and pattern not in patterns:
                patterns.append(pattern)
    return patterns


class Locator:
    """Searches the engine's copy of a log, in its current state, for the position at which new bytes begin.

    Feed it the whole copy, then call `aligner`, and read the copy again with the result. If the engine discards more
    in between, that aligner is lost too: start again.

    Args:
        cursor: the position of the stored log.
    """

    def __init__(self, cursor: LogCursor) -> None:
        self._cursor = cursor
        self._streams = {
            stream: _StreamLocator(stream, position) for stream, position in cursor.streams.items()
        }
        #: Notes for readers of the log: lost bytes, or an uncertain position. Complete after `aligner`.
        self.notes: list[str] = []

    def feed(self, frames: Iterable[EngineFrame]) -> None:
        """Add the next frames of the copy."""
        for stream, data, at in frames:
            self._streams[stream].feed(data, None if at is None else to_micros(at))

    def aligner(self) -> Aligner:
        """An aligner that continues at the positions found."""
        places: dict[Stream, ResumePoint] = {}
        for stream, locator in self._streams.items():
            places[stream], note = locator.choose()
            if note is not None:
                self.notes.append(note)
        return Aligner(self._cursor, places)
