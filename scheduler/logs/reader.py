"""Reads one run's log: by time, by stream, by content, from either end, page by page.

Only the required chunks are read, a few in each short transaction on a thread of the database, so that only the lines
of some chunks are in memory, however long the result is. A read ends with what had arrived when it began. A damaged
chunk is replaced by one of Timeball's own lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Final, Literal, TypeVar

from sqlalchemy.engine import Connection

from scheduler.domain.stream import Stream
from scheduler.logs.filtering import ALL_LINES, LineFilter
from scheduler.logs.hub import CaptureHub
from scheduler.logs.lines import FrameLines, Line
from scheduler.logs.places import parse_run_cursor, run_cursor
from scheduler.logs.scanning import BackwardScan, ForwardScan
from scheduler.store.database import Database
from scheduler.store.tables import from_micros, to_micros

T = TypeVar("T")

# Twice as fast as calling the class, and a read of a million lines does little else.
_line: Final = partial(tuple.__new__, Line)

#: Maximum number of lines per batch, so that the work for a batch does not delay others. Such a small number is
#: released before the garbage collector notices; with thousands, it scans all memory again and again, which takes
#: longer than the reading itself.
BATCH_LINES: Final = 256
#: Maximum number of bytes, and of seconds, that a page searches; its cursor continues there.
SCAN_BYTES: Final = 256 * 1024 * 1024
SCAN_SECONDS: Final = 10.0
#: Maximum size of the last lines of a log that are collected.
TAIL_BYTES: Final = 16 * 1024 * 1024
#: Number of threads that filter lines.
FILTER_THREADS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which lines are requested.

    Attributes:
        start: no earlier lines; aware.
        end: no later lines; aware, exact to the microsecond.
        streams: only lines of these streams; None for all.
        limit: maximum number of lines; None for all.
        order: ``asc`` is oldest first.
        cursor: only lines after this one, in the requested order.
        tail: the last lines, oldest first; without `limit` and `cursor`.
        filter: only lines that pass the filter, as it shows them.
        is_bounded: stop after `SCAN_BYTES` or `SCAN_SECONDS`; `Reading.frontier` is where to continue.
    """

    start: datetime | None = None
    end: datetime | None = None
    streams: frozenset[Stream] | None = None
    limit: int | None = None
    order: Literal["asc", "desc"] = "asc"
    cursor: str | None = None
    tail: int | None = None
    filter: LineFilter = ALL_LINES
    is_bounded: bool = False


class LogReader:
    """Reads the logs of all runs.

    Args:
        database: where chunks are stored.
        hub: stores what is still in memory before each read, so that a read sees everything that has arrived.
    """

    def __init__(self, database: Database, hub: CaptureHub) -> None:
        self._database = database
        self._hub = hub
        self._filters = ThreadPoolExecutor(FILTER_THREADS, thread_name_prefix="log-filter")

    def read(self, exec_id: str, query: LogQuery) -> Reading:
        """The lines of one run that the query asks for.

        Raises:
            InvalidInputError: the cursor is invalid, or belongs to another log.
        """
        return Reading(self, exec_id, query)

    async def flush(self, exec_id: str) -> None:
        """Store what has arrived for a run.

        Raises:
            UnavailableError: the database failed.
        """
        await self._hub.flush(exec_id)

    async def step(self, scan: ForwardScan | BackwardScan) -> list[FrameLines] | None:
        """Perform one step of a scan, on a thread of the database."""
        return await self._database.read(scan.step)

    async def look(self, work: Callable[[Connection], T]) -> T:
        """The result of a function of a connection, on a thread of the database."""
        return await self._database.read(work)

    async def select(self, runs: list[FrameLines], wanted: LineFilter) -> list[FrameLines]:
        """The lines that pass a filter, which runs on another thread."""
        if not wanted or not runs:
            return runs
        return await asyncio.get_running_loop().run_in_executor(self._filters, wanted.apply, runs)

    def close(self) -> None:
        """Release the threads."""
        self._filters.shutdown(wait=False, cancel_futures=True)


class Reading:
    """One read of one run's log; iterate once, in batches of at most `BATCH_LINES` lines.

    Ends with what had arrived when the first batch was requested. If the run is deleted meanwhile, there are no more
    lines. Raises UnavailableError between any two batches if the database cannot be read.

    Attributes:
        is_complete: whether the log was searched as far as the query asks; otherwise `limit` or the bounds were
            reached.
    """

    def __init__(self, reader: LogReader, exec_id: str, query: LogQuery) -> None:
        self.exec_id = exec_id
        self.is_complete = False
        self._reader = reader
        self._query = query
        self._is_backward = query.order == "desc" or query.tail is not None
        kind = BackwardScan if self._is_backward else ForwardScan
        wanted = query.limit if query.tail is None else query.tail
        self._scan = kind(
            exec_id,
            frozenset(Stream) if query.streams is None else query.streams,
            start=None if query.start is None else to_micros(query.start),
            end=None if query.end is None else to_micros(query.end),
            after=None if query.cursor is None else parse_run_cursor(query.cursor, exec_id),
            limit=None if query.filter.selects else wanted,
        )

    @property
    def frontier(self) -> str | None:
        """The cursor of the position up to which everything was searched; None before anything was searched."""
        place = self._scan.frontier
        return None if place is None or place < 0 else run_cursor(self.exec_id, place)

    @property
    def end(self) -> int:
        """The last position when the first batch was requested; -1 if nothing was written."""
        return self._scan.end

    def cursor_of(self, line: Line) -> str:
        """The cursor of a line that this read returned."""
        return run_cursor(self.exec_id, line.position)

    async def __aiter__(self) -> AsyncIterator[list[Line]]:
        """The batches."""
        if self._query.tail is None:
            async for batch in self._read(self._query.limit):
                yield batch
            return
        batches, size = list[list[Line]](), 0
        async for batch in self._read(self._query.tail):
            batches.append(batch[::-1])
            size += sum(len(line.data) for line in batch)
            if size > TAIL_BYTES:
                self.is_complete = False
                break
        for batch in reversed(batches):
            yield batch

    async def _read(self, left: int | None) -> AsyncIterator[list[Line]]:
        await self._reader.flush(self.exec_id)
        clock = asyncio.get_running_loop().time
        until = clock() + SCAN_SECONDS
        while left is None or left > 0:
            runs = await self._reader.step(self._scan)
            if runs is None:
                self.is_complete = True
                return
            runs = await self._reader.select(runs, self._query.filter)
            for batch in batches_of(runs, left, newest_first=self._is_backward):
                lines = batch if left is None else batch[:left]
                if left is not None:
                    left -= len(lines)
                yield lines
                if left == 0:
                    return
            if self._query.is_bounded and (self._scan.scanned_bytes > SCAN_BYTES or clock() > until):
                return


def batches_of(runs: list[FrameLines], most: int | None, *, newest_first: bool) -> Iterator[list[Line]]:
    """Groups of lines as single lines, in batches; about `most` of them."""
    batch: list[Line] = []
    for at, number, lines, position in reversed(runs) if newest_first else runs:
        moment, stream = from_micros(at), Stream(number)
        selected, places = lines, range(position, position + len(lines))
        if newest_first:
            selected, places = lines[::-1], places[::-1]
        for first in range(0, min(len(selected), len(selected) if most is None else most), BATCH_LINES):
            last = first + BATCH_LINES
            batch += map(_line, zip(repeat(moment), repeat(stream), selected[first:last], places[first:last]))
            if len(batch) >= BATCH_LINES:
                yield batch[:BATCH_LINES]
                batch = batch[BATCH_LINES:]
        if most is not None and len(batch) >= most:
            break
    if batch:
        yield batch
