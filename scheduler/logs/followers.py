"""Follows runs for any number of followers: first the existing log, then new output.

One `LiveSource` per run reads what is stored, woken by the capture hub, or every half second if another daemon
manages the run; all followers of the run share what it has read. Followers are only shown what is stored: a line that
is not stored could be split differently after a crash, and a cursor to it would be invalid. A follower has a position
in the last few megabytes of the source. A few followers that fall behind them read the log themselves until they have
caught up; further ones are dropped, with a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Final

from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import Exec
from scheduler.logs.following_many import FollowMany
from scheduler.logs.hub import CaptureHub
from scheduler.logs.lines import FrameLines, Line, is_damage
from scheduler.logs.live import LiveSource, Portion
from scheduler.logs.places import parse_run_cursor, run_cursor
from scheduler.logs.reader import LogQuery, LogReader, Reading, batches_of
from scheduler.store.database import Database
from scheduler.store.spans import Scope
from scheduler.store.tables import to_micros

#: Maximum number of followers; each is an open connection.
MOST_FOLLOWERS: Final = 5_000
#: Followers of a job or a namespace each poll for themselves, so there are fewer.
MOST_OF_MANY: Final = 100
#: How far a follower may be behind, unless many runs are followed: then the sources share `ALL_BYTES`.
SOURCE_BYTES: Final = 4 * 1024 * 1024
LEAST_SOURCE_BYTES: Final = 256 * 1024
ALL_BYTES: Final = 32 * 1024 * 1024

#: Number of followers of one run that may fall further behind and read the log themselves until they have caught up.
MOST_LAGGARDS: Final = 8

TOO_SLOW: Final = "it reads more slowly than the run prints"


class Follow:
    """One follower of one run. Created by `Followers.follow`; must be closed.

    Attributes:
        outcome: the run, once `next` has reported the end.
        dropped: why nothing more follows although the run has not ended; None otherwise.
        on_dropped: called when it is dropped, possibly while something is being sent.
        is_stopping: whether the daemon is stopping.
    """

    def __init__(self, source: LiveSource, reader: LogReader, query: LogQuery) -> None:
        self.outcome: Exec | None = None
        self.dropped: str | None = None
        self.on_dropped: Callable[[], None] = lambda: None
        self.is_stopping = False
        self._source = source
        self._reader = reader
        self._query = query
        self._view = (query.streams, query.start, query.filter)
        self._start = None if query.start is None else to_micros(query.start)
        #: Everything up to here was returned; None until the existing log was returned.
        self._position: int | None = None
        self._past: Reading | None = None
        self._batches: Any = None
        self._is_lagging = False

    def missed(self, portion: Portion) -> None:
        """The source has released a portion."""
        is_behind = self._position is not None and self._position < portion.until
        if is_behind and not self._is_lagging and self._source.laggards >= MOST_LAGGARDS:
            self.drop(TOO_SLOW)

    def _fall_back(self, position: int) -> None:
        """Read the log itself from a position that the source has already released."""
        query = self._query
        self._query = LogQuery(
            start=query.start,
            streams=query.streams,
            filter=query.filter,
            cursor=None if position < 0 else run_cursor(self._source.exec_id, position),
        )
        self._batches = None
        self._position = None

    def _lag(self, *, lags: bool) -> None:
        if lags is not self._is_lagging:
            self._source.laggards += 1 if lags else -1
            self._is_lagging = lags

    def drop(self, reason: str) -> None:
        """Drop the follower."""
        if self.dropped is None:
            self.dropped = reason
            self.on_dropped()

    def cursor_of(self, line: Line) -> str:
        """The cursor of a line that this follower returned."""
        return run_cursor(self._source.exec_id, line.position)

    async def next(self, patience: float, encode: Callable[[list[Line]], Awaitable[Any]]) -> Any:
        """The result of `encode` for the next lines; None after `patience` seconds without any.

        The result is created once for all followers with the same query.

        Raises:
            StopAsyncIteration: the end; see `outcome`, `dropped` and `is_stopping`.
            InvalidInputError: the cursor is invalid, or belongs to another log.
            UnavailableError: the database cannot be read.
        """
        while True:
            if self.dropped is not None or self.is_stopping:
                raise StopAsyncIteration
            if self._position is not None and self._source.oldest > self._position:
                # A burst was faster than its connection; a follower that reads nothing at all is dropped by the
                # sender.
                self._lag(lags=True)
                self._fall_back(self._position)
            if self._position is not None:
                return await self._next_live(patience, encode)
            if (lines := await self._next_past()) is not None:
                return await encode(lines)

    async def _next_past(self) -> list[Line] | None:
        """A batch of the existing log; None at its end, or if it must be requested again."""
        if self._batches is None:
            await self._source.ready()
            place = self._place()
            if place is not None and self._source.oldest <= place <= self._source.frontier:
                # The source has everything that is requested: a thousand simultaneous followers need not each read
                # it.
                self._position = place
                self._lag(lags=False)
                return None
            self._past = self._reader.read(self._source.exec_id, self._query)
            self._batches = aiter(self._past)
        batch: list[Line] | None = await anext(self._batches, None)
        if batch is not None:
            return batch or None
        assert self._past is not None  # noqa: S101 - set above
        end = self._past.end
        if self._source.oldest <= end:
            self._position = end
            self._lag(lags=False)
        else:
            # The source has already released output from the time of sending: it is read from the existing log, too.
            self._fall_back(end)
        return None

    def _place(self) -> int | None:
        """The position after which the query begins; None if only reading the log can tell."""
        if self._query.tail is not None or self._source.failure is not None:
            return None
        return (
            -1 if self._query.cursor is None else parse_run_cursor(self._query.cursor, self._source.exec_id)
        )

    async def _next_live(self, patience: float, encode: Callable[[list[Line]], Awaitable[Any]]) -> Any:
        source = self._source
        assert self._position is not None  # noqa: S101 - the existing log was returned
        while True:
            if self.dropped is not None or self.is_stopping:
                raise StopAsyncIteration
            # Taken before checking, so that nothing that follows is missed.
            grown = source.grown
            portion = source.after(self._position)
            if portion is None:
                if source.has_ended:
                    self.outcome, self.dropped = source.outcome, source.failure
                    raise StopAsyncIteration
                try:
                    async with asyncio.timeout(patience):
                        await grown.wait()
                except TimeoutError:
                    return None
                continue
            result = await self._made_of(portion, encode)
            self._position = max(self._position, portion.until)
            if result is not None:
                return result

    async def _made_of(self, portion: Portion, encode: Callable[[list[Line]], Awaitable[Any]]) -> Any:
        after = self._position if self._position is not None else -1

        async def make() -> Any:
            runs = list(self._wanted(portion.runs, after))
            runs = await self._reader.select(runs, self._query.filter)
            lines = [line for batch in batches_of(runs, None, newest_first=False) for line in batch]
            return await encode(lines) if lines else None

        if portion.after < after:
            return await make()
        return await portion.shared(self._view, make)

    def _wanted(self, runs: Iterable[FrameLines], after: int) -> Iterable[FrameLines]:
        for run in runs:
            skip = max(0, after - run.position + 1)
            if skip >= len(run.lines):
                continue
            if not is_damage(run):
                if self._query.streams is not None and run.stream not in self._query.streams:
                    continue
                if self._start is not None and run.at < self._start:
                    continue
            yield run._replace(lines=run.lines[skip:], position=run.position + skip) if skip else run

    def stop(self) -> None:
        """Release the follower, because the daemon stops."""
        self.is_stopping = True
        self.on_dropped()

    def close(self) -> None:
        """Stop following."""
        self._lag(lags=False)
        self._source.followers.pop(self, None)


class Followers:
    """All followers of all runs.

    Args:
        database: where logs are stored.
        hub: notifies when something was stored.
        reader: reads existing logs.
    """

    def __init__(self, database: Database, hub: CaptureHub, reader: LogReader) -> None:
        self._database = database
        self._hub = hub
        self._reader = reader
        self._sources: dict[str, LiveSource] = {}
        self._of_many: dict[FollowMany, None] = {}
        self._is_stopping = False

    @property
    def count(self) -> int:
        """Number of followers."""
        return len(self._of_many) + sum(len(source.followers) for source in self._sources.values())

    def follow(self, exec_id: str, query: LogQuery) -> Follow:
        """Follow a run: first the lines that the query asks for, then new output.

        Args:
            exec_id: the run.
            query: without `end`, `limit` and `order`.

        Raises:
            InvalidInputError: the cursor is invalid, or belongs to another log.
            UnavailableError: there are too many followers, or the daemon is stopping.
        """
        if query.cursor is not None:
            parse_run_cursor(query.cursor, exec_id)
        self._demand_room(self.count, MOST_FOLLOWERS, "followers")
        source = self._sources.get(exec_id)
        if source is None or source.failure is not None:
            source = self._sources[exec_id] = LiveSource(self._database, self._hub, exec_id, self._room)
        follow = Follow(source, self._reader, query)
        source.followers[follow] = None
        return follow

    def follow_many(
        self,
        scope: Scope,
        query: LogQuery,
        *,
        now: Callable[[], datetime],
        is_there: Callable[[], Awaitable[bool]],
    ) -> FollowMany:
        """Follow all runs of a job or a namespace as one log; the arguments are those of `FollowMany`.

        Raises:
            InvalidInputError: the cursor is invalid, or belongs to another log.
            UnavailableError: there are too many followers, or the daemon is stopping.
        """
        follow = FollowMany(self._reader, scope, query, now=now, is_there=is_there)
        self._demand_room(self.count, MOST_FOLLOWERS, "followers")
        self._demand_room(len(self._of_many), MOST_OF_MANY, "followers of jobs and namespaces")
        self._of_many[follow] = None
        return follow

    def _demand_room(self, count: int, most: int, what: str) -> None:
        if self._is_stopping:
            raise UnavailableError("The daemon is stopping")
        if count >= most:
            raise UnavailableError(f"There are already {most} {what}; read the log page by page instead")

    def close(self, follow: Follow | FollowMany) -> None:
        """Release a follower, and everything that only it needed."""
        if isinstance(follow, FollowMany):
            self._of_many.pop(follow, None)
            return
        follow.close()
        source = follow._source  # noqa: SLF001 - the two classes belong together
        if not source.followers:
            source.task.cancel()
            if self._sources.get(source.exec_id) is source:
                del self._sources[source.exec_id]

    def _room(self) -> int:
        return max(LEAST_SOURCE_BYTES, min(SOURCE_BYTES, ALL_BYTES // max(1, len(self._sources))))

    def stop(self) -> None:
        """Release all followers, because the daemon stops; they reconnect to the next one."""
        self._is_stopping = True
        for many in self._of_many:
            many.stop()
        for source in self._sources.values():
            for follow in source.followers:
                follow.stop()
            source.wake()
