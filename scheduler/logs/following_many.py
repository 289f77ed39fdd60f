"""Follows the runs of a job or a namespace as one log in chronological order.

A follower of many runs polls about every second for the page after the last line that it returned, like a client that
pages with a cursor; it keeps only its position. Everything up to the end of a page is stored before it is read, so
that a line that arrives later has a later position, and each line is returned once. Runs that begin in the meantime
are found with the next page. Following never ends by itself, because another run can always begin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from scheduler.domain.execution import Exec
from scheduler.logs.merging import SLACK, Merging, RunLine
from scheduler.logs.places import MergedLogPlace, parse_place_cursor, place_cursor
from scheduler.logs.reader import LogQuery, LogReader
from scheduler.store.spans import Scope
from scheduler.store.tables import to_micros

#: Seconds between two polls after everything was returned; a poll costs some milliseconds, so without output the
#: interval grows.
LOOK_SECONDS: Final = 1.0
LONGEST_LOOK_SECONDS: Final = 3.0
#: Number of lines per page.
PAGE_LINES: Final = 1_000

GONE: Final = "the job was deleted"
_HIGHEST_ID: Final = str(UUID(int=2**128 - 1))


class FollowMany:
    """One follower of many runs; used and closed like `scheduler.logs.followers.Follow`.

    Args:
        reader: reads logs.
        scope: the runs to follow.
        query: which lines, without `end`, `limit` and `order`; its cursor must belong to this scope.
        now: returns the current time.
        is_there: whether the job or namespace still exists.

    Attributes:
        outcome: always None; exists for compatibility with followers of a single run.
        dropped: why nothing more follows; None otherwise.
        on_dropped: called when it is dropped, possibly while something is being sent.
        is_stopping: whether the daemon is stopping.

    Raises:
        InvalidInputError: the cursor is invalid, or belongs to another log.
    """

    def __init__(
        self,
        reader: LogReader,
        scope: Scope,
        query: LogQuery,
        *,
        now: Callable[[], datetime],
        is_there: Callable[[], Awaitable[bool]],
    ) -> None:
        if query.cursor is not None:
            parse_place_cursor(query.cursor, scope.name)
        self.outcome: Exec | None = None
        self.dropped: str | None = None
        self.on_dropped: Callable[[], None] = lambda: None
        self.is_stopping = False
        self._reader = reader
        self._scope = scope
        self._query = query
        self._now = now
        self._is_there = is_there
        self._let_go = asyncio.Event()
        self._is_caught_up = False
        self._pause = LOOK_SECONDS

    def drop(self, reason: str) -> None:
        """Drop the follower."""
        if self.dropped is None:
            self.dropped = reason
            self._let_go.set()
            self.on_dropped()

    def stop(self) -> None:
        """Release the follower, because the daemon stops."""
        self.is_stopping = True
        self._let_go.set()
        self.on_dropped()

    def cursor_of(self, line: RunLine) -> str:
        """The cursor of a line that this follower returned."""
        return place_cursor(self._scope.name, MergedLogPlace(to_micros(line.at), line.exec_id, line.position))

    async def next(self, patience: float, encode: Callable[[list[Any]], Awaitable[Any]]) -> Any:
        """The result of `encode` for the next lines; None after `patience` seconds without any.

        Raises:
            StopAsyncIteration: the end; see `dropped` and `is_stopping`.
            UnavailableError: the database cannot be read.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + patience
        while self.dropped is None and not self.is_stopping:
            if self._is_caught_up:
                await self._rest(min(self._pause, until - clock()))
                if not await self._is_there():
                    self.drop(GONE)
                    break
            lines = await self._page()
            if lines:
                self._pause = LOOK_SECONDS
                return await encode(lines)
            self._pause = min(self._pause * 1.2, LONGEST_LOOK_SECONDS)
            if self._is_caught_up and clock() >= until:
                return None
        raise StopAsyncIteration

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._let_go.wait()
        except TimeoutError:
            pass

    async def _page(self) -> list[RunLine]:
        """The lines of the next page; moves the position to its end."""
        query, asked_at = self._query, self._now()
        if query.tail is None:
            query = replace(query, limit=PAGE_LINES, is_bounded=True)
        else:
            query = replace(query, end=asked_at, is_bounded=True)
        reading = Merging(self._reader, self._scope, query, asked_at)
        lines = [line async for batch in reading for line in batch]
        places = (
            [] if self._query.cursor is None else [parse_place_cursor(self._query.cursor, self._scope.name)]
        )
        if lines:
            last = lines[-1]
            places.append(MergedLogPlace(to_micros(last.at), last.exec_id, last.position))
        is_full = query.tail is None and len(lines) >= PAGE_LINES
        self._is_caught_up = not is_full and (reading.is_complete or query.tail is not None)
        if self._is_caught_up:
            # What was searched without result need not be searched again. Other daemons may still be storing lines of
            # the last few seconds.
            places.append(MergedLogPlace(max(0, to_micros(asked_at - SLACK)), _HIGHEST_ID, 0))
        elif not is_full and (frontier := reading.frontier) is not None:
            places.append(parse_place_cursor(frontier, self._scope.name))
        cursor = place_cursor(self._scope.name, max(places)) if places else None
        self._query = replace(self._query, cursor=cursor, tail=None)
        return lines
