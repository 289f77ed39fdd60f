"""Follows runs: what stands in the log first, then what is printed, to any number of followers.

One `LiveSource` an exec reads what is stored, woken by the capture hub, or by looking every half second where
another daemon looks after the run; all followers of the run share what it read. Followers are shown only what is
stored: a line that has not been could be cut otherwise after a kill, and a cursor to it would lead nowhere. A
follower keeps its place in the source's last few megabytes. A few that fall behind them read by themselves until they
have caught up; more are dropped, with a reason.
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

#: More followers are refused: each is an open connection.
MOST_FOLLOWERS: Final = 5_000
#: Those of a job or a namespace each look for more by themselves, so there are fewer.
MOST_OF_MANY: Final = 100
#: A follower may be so much behind, unless many runs are followed: then the sources share `ALL_BYTES`.
SOURCE_BYTES: Final = 4 * 1024 * 1024
LEAST_SOURCE_BYTES: Final = 256 * 1024
ALL_BYTES: Final = 32 * 1024 * 1024

#: So many followers of one run may fall behind that and read by themselves until they have caught up.
MOST_LAGGARDS: Final = 8

TOO_SLOW: Final = "it reads more slowly than the run prints"


class Follow:
    """One follower of one run. Made by `Followers.follow`; to be closed.

    Attributes:
        outcome: the exec, once `next` has said that it is over.
        dropped: why nothing more comes although the run goes on; None as long as all is well.
        on_dropped: is called when it is dropped, which may be in the middle of sending.
        is_stopping: whether the daemon stops.
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
        #: Up to here everything has been given; None until the log's past has been.
        self._position: int | None = None
        self._past: Reading | None = None
        self._batches: Any = None
        self._is_lagging = False

    def missed(self, portion: Portion) -> None:
        """The source has let go of a portion."""
        is_behind = self._position is not None and self._position < portion.until
        if is_behind and not self._is_lagging and self._source.laggards >= MOST_LAGGARDS:
            self.drop(TOO_SLOW)

    def _fall_back(self, position: int) -> None:
        """Read by itself what the source has let go of already, from a position on."""
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
        """Give it up."""
        if self.dropped is None:
            self.dropped = reason
            self.on_dropped()

    def cursor_of(self, line: Line) -> str:
        """The cursor of a line that this follower was given."""
        return run_cursor(self._source.exec_id, line.position)

    async def next(self, patience: float, encode: Callable[[list[Line]], Awaitable[Any]]) -> Any:
        """What `encode` makes of the next lines; None after so many seconds without any.

        What followers with the same query are given is made once for all of them.

        Raises:
            StopAsyncIteration: that was all: see `outcome`, `dropped` and `is_stopping`.
            InvalidInputError: the cursor is none, or another log's.
            UnavailableError: the database cannot be read.
        """
        while True:
            if self.dropped is not None or self.is_stopping:
                raise StopAsyncIteration
            if self._position is not None and self._source.oldest > self._position:
                # A burst was faster than its connection; whoever takes nothing at all is dropped by the sender.
                self._lag(lags=True)
                self._fall_back(self._position)
            if self._position is not None:
                return await self._next_live(patience, encode)
            if (lines := await self._next_past()) is not None:
                return await encode(lines)

    async def _next_past(self) -> list[Line] | None:
        """A batch of what was stored before; None when that is all, or to be asked for again."""
        if self._batches is None:
            await self._source.ready()
            place = self._place()
            if place is not None and self._source.oldest <= place <= self._source.frontier:
                # All that is asked for is at hand: a thousand who come at once need not each read it for themselves.
                self._position = place
                self._lag(lags=False)
                return None
            self._past = self._reader.read(self._source.exec_id, self._query)
            self._batches = aiter(self._past)
        batch: list[Line] | None = await anext(self._batches, None)
        if batch is not None:
            return batch or None
        assert self._past is not None  # noqa: S101 - made above
        end = self._past.end
        if self._source.oldest <= end:
            self._position = end
            self._lag(lags=False)
        else:
            # What was printed while the past was sent is gone from the source already: it is the past as well.
            self._fall_back(end)
        return None

    def _place(self) -> int | None:
        """After which position the query begins; None where only reading the log can tell."""
        if self._query.tail is not None or self._source.failure is not None:
            return None
        return (
            -1 if self._query.cursor is None else parse_run_cursor(self._query.cursor, self._source.exec_id)
        )

    async def _next_live(self, patience: float, encode: Callable[[list[Line]], Awaitable[Any]]) -> Any:
        source = self._source
        assert self._position is not None  # noqa: S101 - the past is over
        while True:
            if self.dropped is not None or self.is_stopping:
                raise StopAsyncIteration
            # Taken before looking: what comes after it is not overlooked.
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
            made = await self._made_of(portion, encode)
            self._position = max(self._position, portion.until)
            if made is not None:
                return made

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
        """The daemon stops: let the follower go."""
        self.is_stopping = True
        self.on_dropped()

    def close(self) -> None:
        """Follow no more."""
        self._lag(lags=False)
        self._source.followers.discard(self)


class Followers:
    """All followers of all runs.

    Args:
        database: where logs are.
        hub: tells when something was stored.
        reader: reads what stands there already.
    """

    def __init__(self, database: Database, hub: CaptureHub, reader: LogReader) -> None:
        self._database = database
        self._hub = hub
        self._reader = reader
        self._sources: dict[str, LiveSource] = {}
        self._of_many: set[FollowMany] = set()
        self._is_stopping = False

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._of_many) + sum(len(source.followers) for source in self._sources.values())

    def follow(self, exec_id: str, query: LogQuery) -> Follow:
        """Follow a run: what the query asks for, then what is printed.

        Args:
            exec_id: which.
            query: without `end`, `limit` and `order`.

        Raises:
            InvalidInputError: the cursor is none, or another log's.
            UnavailableError: there are too many followers, or the daemon stops.
        """
        if query.cursor is not None:
            parse_run_cursor(query.cursor, exec_id)
        self._demand_room(self.count, MOST_FOLLOWERS, "followers")
        source = self._sources.get(exec_id)
        if source is None or source.failure is not None:
            source = self._sources[exec_id] = LiveSource(self._database, self._hub, exec_id, self._room)
        follow = Follow(source, self._reader, query)
        source.followers.add(follow)
        return follow

    def follow_many(
        self,
        scope: Scope,
        query: LogQuery,
        *,
        now: Callable[[], datetime],
        is_there: Callable[[], Awaitable[bool]],
    ) -> FollowMany:
        """Follow all runs of a job, or of a namespace, as one log; the arguments are those of `FollowMany`.

        Raises:
            InvalidInputError: the cursor is none, or another log's.
            UnavailableError: there are too many followers, or the daemon stops.
        """
        follow = FollowMany(self._reader, scope, query, now=now, is_there=is_there)
        self._demand_room(self.count, MOST_FOLLOWERS, "followers")
        self._demand_room(len(self._of_many), MOST_OF_MANY, "followers of jobs and namespaces")
        self._of_many.add(follow)
        return follow

    def _demand_room(self, count: int, most: int, what: str) -> None:
        if self._is_stopping:
            raise UnavailableError("The daemon is stopping")
        if count >= most:
            raise UnavailableError(
                f"There are {most} {what} already; read pages with limit= and cursor= instead"
            )

    def close(self, follow: Follow | FollowMany) -> None:
        """Let go of a follower, and of what only it needed."""
        if isinstance(follow, FollowMany):
            self._of_many.discard(follow)
            return
        follow.close()
        source = follow._source  # noqa: SLF001 - the two are one thing in two classes
        if not source.followers:
            source.task.cancel()
            if self._sources.get(source.exec_id) is source:
                del self._sources[source.exec_id]

    def _room(self) -> int:
        return max(LEAST_SOURCE_BYTES, min(SOURCE_BYTES, ALL_BYTES // max(1, len(self._sources))))

    def stop(self) -> None:
        """The daemon stops: let all followers go, so that they come back to the next one."""
        self._is_stopping = True
        for many in self._of_many:
            many.stop()
        for source in self._sources.values():
            for follow in source.followers:
                follow.stop()
            source.wake()
