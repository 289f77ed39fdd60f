"""Reads a run's chunks, forward or backward, and returns the requested lines.

A scan is created for one read and performed in steps on threads of the database, one short transaction per step. The
index on times determines the chunks that it reads; a line that began before the first of them is only loaded if it is
requested. The end is fixed in the first step, so that a busy run cannot keep a reader forever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.domain.stream import Stream
from scheduler.logs import chunks
from scheduler.logs.chunks import DamagedChunkError, Frame
from scheduler.logs.lines import DAMAGE_INDEX, FrameLines, LineSplitter, chunk_of, open_end, position_of
from scheduler.logs.loading import stream_open_from
from scheduler.store import logs as store
from scheduler.store.logs import ChunkRow
from scheduler.store.tables import from_micros, to_micros

#: Approximate amount read per step, unless fewer lines are requested.
STEP_BYTES: Final = 1024 * 1024
STEP_LINES: Final = 32 * 1024
STEP_CHUNKS: Final = 64
#: Higher than every chunk's number.
_FAR: Final = 2**31 - 1


class _Scan:
    """The common part of both directions.

    Args:
        exec_id: the run.
        streams: the requested streams.
        start: no lines before this time, microseconds since 1970.
        end: no lines after this time.
        after: only lines after this position in the scan's direction.
        limit: approximate number of requested lines, which limits the number of chunks read at once.

    Attributes:
        scanned_bytes: number of bytes searched.
        frontier: the position up to which, in the scan's direction, everything was searched; None before the first
            step, -1 if nothing was written.
        frontier_at: the time of the last searched output, microseconds since 1970: the rest is not earlier (not
            later, if the scan goes backward); None before the first step.
        end: the last position at the first step; -1 if nothing was written.
    """

    def __init__(
        self,
        exec_id: str,
        streams: Iterable[Stream],
        *,
        start: int | None = None,
        end: int | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> None:
        self._exec_id = exec_id
        self._streams = frozenset(streams)
        self._mask = sum(1 << stream for stream in self._streams)
        self._start = start
        self._end = end
        self._after = after
        self._lines = STEP_LINES if limit is None else min(limit, STEP_LINES)
        self._bounds: tuple[int, int] | None = None
        self.scanned_bytes = 0
        self.frontier: int | None = None
        self.frontier_at: int | None = None
        self.end = -1

    def _find_bounds(self, connection: Connection) -> tuple[int, int]:
        """The first and the last chunk that can be relevant; last < first if there is none."""
        reach = store.extent(connection, self._exec_id)
        if reach is None:
            return 0, -1
        first, last = reach.first_seq, reach.last_seq
        self.end = position_of(last + 1, 0) - 1
        nothing = (last + 1, last)
        if self._start is not None:
            seq = store.first_ending_at_or_after(connection, self._exec_id, from_micros(self._start))
            if seq is None:
                return nothing
            first = seq
        if self._end is not None:
            # The first chunk that extends beyond the end can still contain lines before it; the next cannot.
            beyond = store.first_ending_at_or_after(connection, self._exec_id, from_micros(self._end + 1))
            last = last if beyond is None else beyond
        return first, last

    def _fetch(self, connection: Connection, first: int, last: int, *, newest_first: bool) -> list[ChunkRow]:
        rows: list[ChunkRow] = []
        size = lines = 0
        stored = store.chunks(
            connection, self._exec_id, first, last, self._mask, newest_first=newest_first, limit=STEP_CHUNKS
        )
        with closing(stored):
            for row in stored:
                rows.append(row)
                size += row.raw_bytes
                lines += row.lines
                if size >= STEP_BYTES or lines >= self._lines:
                    break
        self.scanned_bytes += size
        return rows

    def _splitter(self, first: ChunkRow) -> LineSplitter:
        began = {stream: stream_open_from(first, stream) for stream in self._streams}
        heads: dict[int, Callable[[], bytes]] = {
            int(stream): partial(self._head, int(stream), seq, first.seq - 1)
            for stream, seq in began.items()
            if seq is not None
        }
        return LineSplitter(map(int, self._streams), start=self._start, end=self._end, heads=heads)

    def _head(self, stream: int, first: int, last: int) -> bytes:
        """The beginning of a line that is open after chunk `last`."""
        pieces: list[bytes] = []
        while first <= last:
            rows = store.chunks(self._connection, self._exec_id, first, last, 1 << stream, limit=STEP_CHUNKS)
            fetched = 0
            for row in rows:
                fetched += 1
                first = row.seq + 1
                try:
                    rest, ended = open_end(chunks.decode(row.data), stream)
                except DamagedChunkError:
                    pieces.clear()
                else:
                    pieces = [rest] if ended else [*pieces, rest]
            if fetched < STEP_CHUNKS:
                break
        return b"".join(pieces)

    def _split(
        self, connection: Connection, splitter: LineSplitter, rows: Iterable[ChunkRow]
    ) -> list[FrameLines]:
        self._connection = connection
        runs: list[FrameLines] = []
        for row in rows:
            try:
                frames: list[Frame] = chunks.decode(row.data)
            except DamagedChunkError as error:
                runs += self._damaged(splitter, row, error)
            else:
                runs += splitter.feed(row.seq, frames)
        return runs

    def _damaged(self, splitter: LineSplitter, row: ChunkRow, error: DamagedChunkError) -> list[FrameLines]:
        # Shown whatever the requested streams: a gap must not look like silence.
        at = max(to_micros(row.first_at), self._start or 0)
        runs = splitter.break_off(at, row.seq)
        if self._end is None or at <= self._end:
            text = f"Part of the log ({row.lines} lines) is damaged and cannot be shown: {error}\n"
            runs.append(FrameLines(at, Stream.SYSTEM, [text.encode()], position_of(row.seq, 0, DAMAGE_INDEX)))
        return runs


class ForwardScan(_Scan):
    """Oldest lines first."""

    _current: LineSplitter | None = None

    def step(self, connection: Connection) -> list[FrameLines] | None:
        """The next lines, oldest first; possibly none yet. None at the end."""
        if self._bounds is None:
            first, last = self._find_bounds(connection)
            if self._after is not None:
                first = max(first, chunk_of(self._after))
            self._bounds = first, last
        first, last = self._bounds
        rows = self._fetch(connection, first, last, newest_first=False) if first <= last else []
        if not rows:
            if last < _FAR:
                self._reach(last + 1)
            return None
        if self._current is None:
            self._current = self._splitter(rows[0])
        runs = self._split(connection, self._current, rows)
        self._bounds = rows[-1].seq + 1, last
        self._reach(rows[-1].seq + 1)
        self.frontier_at = to_micros(rows[-1].last_at)
        return runs if self._after is None else [later for run in runs for later in self._later(run)]

    def _reach(self, seq: int) -> None:
        """Everything before a chunk was searched."""
        self.frontier = max(
            position_of(seq, 0) - 1,
            -1 if self._after is None else self._after,
            -1 if self.frontier is None else self.frontier,
        )

    def _later(self, run: FrameLines) -> list[FrameLines]:
        skip = 0 if self._after is None else max(0, self._after - run.position + 1)
        if skip == 0:
            return [run]
        lines = run.lines[skip:]
        return [run._replace(lines=lines, position=run.position + skip)] if lines else []


class LiveScan(ForwardScan):
    """New output from now on; its steps never end.

    The first step finds the current position of the log; what was stored before is left to others.
    """

    def step(self, connection: Connection) -> list[FrameLines] | None:
        """The lines that were stored since the last step, oldest first; None if there are none."""
        if self._bounds is None:
            reach = store.extent(connection, self._exec_id)
            self._bounds = (0 if reach is None else reach.last_seq + 1), _FAR
            self._reach(self._bounds[0])
            return None
        return super().step(connection)


class BackwardScan(_Scan):
    """Newest lines first."""

    def step(self, connection: Connection) -> list[FrameLines] | None:
        """The next older lines, in the order in which they were printed; possibly none yet. None at the beginning."""
        if self._bounds is None:
            first, last = self._find_bounds(connection)
            if self._after is not None:
                last = min(last, chunk_of(self._after))
            self._bounds = first, last
        first, last = self._bounds
        rows = self._fetch(connection, first, last, newest_first=True) if first <= last else []
        if not rows:
            return None
        rows.reverse()
        self.frontier = position_of(rows[0].seq, 0)
        self.frontier_at = to_micros(rows[0].first_at)
        # A line that continues beyond these chunks was already returned with the chunk that ends it.
        runs = self._split(connection, self._splitter(rows[0]), rows)
        self._bounds = first, rows[0].seq - 1
        return runs if self._after is None else [older for run in runs for older in self._older(run)]

    def _older(self, run: FrameLines) -> list[FrameLines]:
        keep = len(run.lines) if self._after is None else self._after - run.position
        return [run._replace(lines=run.lines[:keep])] if keep > 0 else []
