"""Reads the logs of many runs, of a job or a namespace, as one log in chronological order.

A lazy merge. The runs that overlap the period are found by index, a page at a time. A run's log is opened when the
merge has reached the time at which the run began. Each keeps only as many lines in memory as its share of
`MEMORY_LINES` and `MEMORY_BYTES` allows; anything beyond that is read again. So the cost depends on what is returned,
and thousands of concurrent runs take no more memory than a few.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.engine import Connection

from scheduler.domain.stream import Stream
from scheduler.logs.lines import Line, position_of
from scheduler.logs.places import MergedLogPlace, parse_place_cursor, place_cursor
from scheduler.logs.reader import (
    BATCH_LINES,
    SCAN_BYTES,
    SCAN_SECONDS,
    TAIL_BYTES,
    LogQuery,
    LogReader,
    batches_of,
)
from scheduler.logs.scanning import BackwardScan, ForwardScan
from scheduler.store import spans
from scheduler.store.spans import Scope, Span
from scheduler.store.tables import EPOCH, from_micros, to_micros

#: What all open runs together keep in memory, and the minimum for each of them.
MEMORY_LINES: Final = 64 * 1024
MEMORY_BYTES: Final = 16 * 1024 * 1024
LEAST_LINES: Final = 32
#: Number of runs that are looked up at once.
SPANS_AT_ONCE: Final = 64
#: Maximum difference between the clocks of daemons that share a database.
SLACK: Final = timedelta(seconds=5)

_LOWEST_ID: Final = str(UUID(int=0))
_HIGHEST_ID: Final = str(UUID(int=2**128 - 1))
_HIGHEST: Final = position_of(2**31, 0)
_Key = tuple[int, int, int]


class RunLine(NamedTuple):
    """One line of the log of many runs: like `Line`, with its run, and its job if runs of several jobs are read."""

    at: datetime
    stream: Stream
    data: bytes
    position: int
    exec_id: str
    job_id: int | None


class _Strand:
    """One run's log in the merge: some lines in memory, the others still to be read."""

    def __init__(
        self,
        span: Span,
        query: LogQuery,
        cursor: MergedLogPlace | None,
        latest: datetime,
        *,
        job_id: int | None,
    ) -> None:
        self.exec_id = span.exec_id
        self.job_id = job_id
        self.lines: deque[Line] = deque()
        self.scanned_bytes = 0
        self._query = query
        self._number = UUID(span.exec_id).int
        self._is_backward = query.order == "desc"
        self._start = None if query.start is None else to_micros(query.start)
        self._end = None if query.end is None else to_micros(query.end)
        self._after: int | None = None
        self._scan: ForwardScan | BackwardScan | None = None
        # Until something is read: the earliest possible time of its lines.
        if self._is_backward:
            self._at = _micros_after(latest if span.end is None else min(span.end, latest), SLACK)
            self._at = self._at if self._end is None else min(self._at, self._end)
        else:
            self._at = to_micros(span.begin) - SLACK // timedelta(microseconds=1)
            self._at = self._at if self._start is None else max(self._at, self._start)
        if cursor is not None:
            self._go_on(cursor)

    def _go_on(self, cursor: MergedLogPlace) -> None:
        """Leave out everything up to a position."""
        if self.exec_id == cursor.exec_id:
            self._after = cursor.position
        # At exactly the time of the cursor, the runs before the cursor's run were returned, and those after it were
        # not.
        is_given = self.exec_id > cursor.exec_id if self._is_backward else self.exec_id < cursor.exec_id
        if self._is_backward:
            self._end = min(cursor.at - is_given, cursor.at if self._end is None else self._end)
            self._at = min(self._at, self._end)
        else:
            self._start = max(cursor.at + is_given, cursor.at if self._start is None else self._start)
            self._at = max(self._at, self._start)

    @property
    def key(self) -> _Key:
        """The position of the next line in the order of the merge, or the earliest possible one."""
        if self.lines:
            line = self.lines[0]
            at, position = to_micros(line.at), line.position
        else:
            at, position = self._at, _HIGHEST if self._is_backward else -1
        key = (at, self._number, position)
        return (-key[0], -key[1], -key[2]) if self._is_backward else key

    @property
    def time(self) -> int:
        """The time of that position."""
        return -self.key[0] if self._is_backward else self.key[0]

    async def read(self, reader: LogReader, share: int) -> bool:
        """Read more lines, keeping at most `share`; False if there are no more."""
        if self._scan is None:
            kind = BackwardScan if self._is_backward else ForwardScan
            self._scan = kind(
                self.exec_id,
                frozenset(Stream) if self._query.streams is None else self._query.streams,
                start=self._start,
                end=self._end,
                after=self._after,
                limit=share,
            )
        scan, before = self._scan, self._scan.scanned_bytes
        runs = await reader.step(scan)
        self.scanned_bytes += scan.scanned_bytes - before
        if runs is None:
            return False
        runs = await reader.select(runs, self._query.filter)
        size = 0
        for batch in batches_of(runs, None, newest_first=self._is_backward):
            for line in batch:
                if len(self.lines) >= share or size > share * MEMORY_BYTES // MEMORY_LINES:
                    # The rest is read again when it is needed.
                    self._after = self.lines[-1].position
                    self._at = to_micros(self.lines[-1].at)
                    self._scan = None
                    return True
                self.lines.append(line)
                size += len(line.data)
        self._after = scan.frontier
        if scan.frontier_at is not None:
            self._at = (min if self._is_backward else max)(self._at, scan.frontier_at)
        return True


def _micros_after(moment: datetime, more: timedelta) -> int:
    return to_micros(moment) + more // timedelta(microseconds=1)


class Merging:
    """One read of many runs' logs; iterate once, batch by batch. Like `scheduler.logs.reader.Reading`.

    Args:
        reader: reads each log.
        scope: the runs.
        query: which lines; its cursor must belong to this scope.
        now: the current time; runs that are created later are left out, and from a page also lines that arrive later.

    Raises:
        InvalidInputError: the cursor is invalid, or belongs to another log.
    """

    def __init__(self, reader: LogReader, scope: Scope, query: LogQuery, now: datetime) -> None:
        self.is_complete = False
        self._reader = reader
        self._scope = scope
        self._limit = query.limit if query.tail is None else query.tail
        self._is_tail = query.tail is not None
        self._is_backward = query.order == "desc" or self._is_tail
        self._cursor = None if query.cursor is None else parse_place_cursor(query.cursor, scope.name)
        if self._limit is not None and query.order == "asc":
            # A cursor is a position in time, and nothing may later appear before it: output that arrives from now on,
            # while the runs are being stored one by one, is left to the next page.
            query = replace(query, end=now if query.end is None else min(query.end, now))
        self._query = LogQuery(
            start=query.start,
            end=query.end,
            streams=query.streams,
            order="desc" if self._is_backward else "asc",
            filter=query.filter,
        )
        self._is_bounded = query.is_bounded
        self._now = now
        self._first, self._last = self._range(query)
        self._heap: list[tuple[_Key, _Strand]] = []
        self._spans: deque[Span] = deque()
        self._next_page: tuple[datetime, str] | None = None
        self._scanned = 0
        #: The last position that was returned or requested, if there is one.
        self._given: tuple[MergedLogPlace, ...] = () if self._cursor is None else (self._cursor,)

    def _range(self, query: LogQuery) -> tuple[datetime, datetime]:
        first = EPOCH if query.start is None else query.start
        last = self._now + SLACK if query.end is None else min(query.end, self._now + SLACK)
        if self._cursor is not None and self._is_backward:
            last = min(last, from_micros(self._cursor.at))
        elif self._cursor is not None:
            first = max(first, from_micros(self._cursor.at))
        return first, last

    @property
    def frontier(self) -> str | None:
        """The cursor of the position up to which everything was searched; None if that is the end."""
        at = None if not self._heap else self._heap[0][1].time
        if self._spans:
            begin = self._begin(self._spans[0])
            at = begin if at is None else (max if self._is_backward else min)(at, begin)
        if at is None:
            return None
        # Before (after) everything that can come at that time; never before what was returned.
        if self._is_backward:
            place = min((MergedLogPlace(at + 1, _LOWEST_ID, 0), *self._given))
        else:
            place = max((MergedLogPlace(max(0, at - 1), _HIGHEST_ID, 0), *self._given))
        return place_cursor(self._scope.name, place)

    def cursor_of(self, line: RunLine) -> str:
        """The cursor of a line that this read returned."""
        return place_cursor(self._scope.name, MergedLogPlace(to_micros(line.at), line.exec_id, line.position))

    async def __aiter__(self) -> AsyncIterator[list[RunLine]]:
        """The batches."""
        if not self._is_tail:
            async for batch in self._read():
                yield batch
            return
        batches, size = list[list[RunLine]](), 0
        async for batch in self._read():
            batches.append(batch[::-1])
            size += sum(len(line.data) for line in batch)
            if size > TAIL_BYTES:
                self.is_complete = False
                break
        for batch in reversed(batches):
            yield batch

    async def _read(self) -> AsyncIterator[list[RunLine]]:
        clock = asyncio.get_running_loop().time
        until = clock() + SCAN_SECONDS
        left = self._limit
        began: int | None = None
        await self._open()
        while left is None or left > 0:
            await self._admit()
            if not self._heap:
                self.is_complete = True
                return
            strand = self._heap[0][1]
            began = strand.time if began is None else began
            if strand.lines:
                batch = list(self._take(BATCH_LINES if left is None else min(left, BATCH_LINES)))
                if left is not None:
                    left -= len(batch)
                last = batch[-1]
                self._given = (MergedLogPlace(to_micros(last.at), last.exec_id, last.position),)
                yield batch
                continue
            # Not before there is progress: otherwise the next page would end at the same position.
            if self._is_bounded and strand.time != began and (self._scanned > SCAN_BYTES or clock() > until):
                return
            await self._fill(strand)

    async def _fill(self, strand: _Strand) -> None:
        share = max(LEAST_LINES, MEMORY_LINES // len(self._heap))
        before = strand.scanned_bytes
        if self._limit is not None and not self._query.filter.selects:
            share = max(LEAST_LINES, min(share, self._limit))
        has_more = await strand.read(self._reader, share)
        self._scanned += strand.scanned_bytes - before
        if has_more:
            heapq.heapreplace(self._heap, (strand.key, strand))
        else:
            heapq.heappop(self._heap)

    def _take(self, most: int) -> Iterator[RunLine]:
        """The next lines of the first strand that come before all others."""
        _, strand = self._heap[0]
        bounds = [self._heap[n][0] for n in (1, 2) if n < len(self._heap)]
        if self._spans:
            begin = self._begin(self._spans[0])
            bounds.append((-begin, -_FAR, 0) if self._is_backward else (begin, -1, 0))
        bound = min(bounds, default=None)
        until = None if bound is None else from_micros(abs(bound[0]))
        lines, exec_id, job_id = strand.lines, strand.exec_id, strand.job_id
        while lines and most > 0:
            at, stream, data, position = lines[0]
            # Comparing times is nearly always sufficient; the whole key is expensive.
            is_before = until is None or (at > until if self._is_backward else at < until)
            if not is_before and bound is not None and strand.key >= bound:
                break
            lines.popleft()
            yield RunLine(at, stream, data, position, exec_id, job_id)
            most -= 1
        heapq.heapreplace(self._heap, (strand.key, strand))

    # ---- finding runs --------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Find the runs in progress at the beginning of the period; store what is in memory of open runs."""

        def work(connection: Connection) -> tuple[list[Span], list[Span]]:
            going = spans.open_spans(connection, self._scope, self._last + SLACK)
            if self._is_backward:
                across = spans.closed_across(
                    connection,
                    self._scope,
                    begun_before=self._last + SLACK,
                    closed_since=max(self._last - SLACK, self._first - SLACK),
                )
                return going, [*going, *across]
            if self._first == EPOCH:
                return going, []
            across = spans.closed_across(
                connection, self._scope, begun_before=self._first, closed_since=self._first - SLACK
            )
            return going, [*(span for span in going if span.begin < self._first), *across]

        going, first = await self._reader.look(work)
        for span in going:
            await self._reader.flush(span.exec_id)
        for span in first:
            self._admit_one(span)
        if self._is_backward:
            self._next_page = (self._last - SLACK, "")
        else:
            self._next_page = (self._first, "")

    async def _admit(self) -> None:
        """Open the runs that begin (or end, when reading backwards) before the next line."""
        while True:
            if not self._spans and self._next_page is not None:
                await self._look_up()
            if not self._spans:
                return
            begin = self._begin(self._spans[0])
            if self._heap and (
                begin < self._heap[0][1].time if self._is_backward else begin > self._heap[0][1].time
            ):
                return
            self._admit_one(self._spans.popleft())

    def _begin(self, span: Span) -> int:
        """The earliest position at which the merge can meet a run's first line."""
        if self._is_backward:
            return _micros_after(span.end or self._last, SLACK)
        return _micros_after(span.begin, -SLACK)

    def _admit_one(self, span: Span) -> None:
        job_id = span.job_id if self._scope.job_id is None else None
        strand = _Strand(span, self._query, self._cursor, self._last, job_id=job_id)
        heapq.heappush(self._heap, (strand.key, strand))

    async def _look_up(self) -> None:
        """Load the next page of runs."""
        after = self._next_page
        assert after is not None  # noqa: S101 - checked before

        def work(connection: Connection) -> list[Span]:
            if self._is_backward:
                return spans.closed_between(
                    connection, self._scope, self._first - SLACK, after, limit=SPANS_AT_ONCE
                )
            return spans.begun_between(
                connection, self._scope, after, self._last + SLACK, limit=SPANS_AT_ONCE
            )

        page = await self._reader.look(work)
        self._spans.extend(page)
        if len(page) < SPANS_AT_ONCE:
            self._next_page = None
        else:
            last = page[-1]
            self._next_page = ((last.end or self._first) if self._is_backward else last.begin, last.exec_id)


_FAR: Final = 2**200
