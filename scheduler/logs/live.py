"""Reads the log of a run in progress, once for all of its followers.

A `LiveSource` reads what is stored, woken by the capture hub, or every half second if another daemon manages the run.
It keeps the latest few megabytes for its followers; see `scheduler.logs.followers`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import FINAL_STATUSES, Exec
from scheduler.domain.stream import Stream
from scheduler.logs.hub import CaptureHub
from scheduler.logs.lines import FrameLines
from scheduler.logs.scanning import LiveScan
from scheduler.store import execs
from scheduler.store.database import Database

#: Approximate memory of a line in addition to its bytes.
LINE_COST: Final = 64
#: Seconds between polls of a run that is managed elsewhere, or by nobody yet.
POLL_SECONDS: Final = 0.5
#: Runs that are managed here send notifications; polling them in addition costs nothing.
REST_SECONDS: Final = 5.0
#: Number of results that are shared per portion; further ones are created for each follower.
MOST_SHARED: Final = 4
#: Results of the latest portions are kept; for followers that are further behind, they are created again.
FRESH_PORTIONS: Final = 2

DELETED: Final = "the run was deleted"
DEFECT: Final = "the log cannot be read any further; see the daemon's log"

_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """What a source requires of its followers."""

    def missed(self, portion: Portion) -> None:
        """The source has released a portion."""
        ...

    def stop(self) -> None:
        """The daemon stops."""
        ...


@dataclass(slots=True)
class Portion:
    """Lines that were read together.

    Attributes:
        after: the position before the first of them.
        until: the position up to which everything was read with this portion.
        runs: the lines.
        cost: approximate memory of the lines.
        is_fresh: whether results for it are kept.
    """

    after: int
    until: int
    runs: list[FrameLines]
    cost: int = 0
    is_fresh: bool = True
    _shared: dict[Hashable, asyncio.Future[Any]] = field(default_factory=dict)

    async def shared(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `make` for this portion, created once for all followers with the same key."""
        if key not in self._shared and (not self.is_fresh or len(self._shared) >= MOST_SHARED):
            return await make()
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(make())
        # A follower that leaves must not cancel it for the others.
        return await asyncio.shield(self._shared[key])

    def age(self) -> None:
        """Release the results, because there are newer portions."""
        self.is_fresh = False
        self._shared.clear()


class LiveSource:
    """Reads the log of one run for all its followers.

    Attributes:
        portions: the latest portions, in order.
        frontier: the position up to which everything was read.
        outcome: the run, once it has ended and all of its log is in `portions`.
        failure: why nothing more follows, if something is wrong.
        laggards: number of followers that have fallen behind.
    """

    def __init__(self, database: Database, hub: CaptureHub, exec_id: str, room: Callable[[], int]) -> None:
        self.exec_id = exec_id
        self.portions: deque[Portion] = deque()
        self.frontier = -1
        self.outcome: Exec | None = None
        self.failure: str | None = None
        self.laggards = 0
        self.followers: dict[Listener, None] = {}  # in the order in which they came
        self._database = database
        self._hub = hub
        self._room = room
        self._size = 0
        self._is_ready = False
        self._woken = asyncio.Event()
        self._grown = asyncio.Event()
        self._scan = LiveScan(exec_id, frozenset(Stream))
        self.task = asyncio.create_task(self._run(), name=f"follow-{exec_id}")

    @property
    def has_ended(self) -> bool:
        """Whether nothing more follows."""
        return self.outcome is not None or self.failure is not None

    @property
    def oldest(self) -> int:
        """The position after which everything is still available here."""
        return self.portions[0].after if self.portions else self.frontier

    @property
    def grown(self) -> asyncio.Event:
        """Set with the next portion, or at the end; a new event each time."""
        return self._grown

    def after(self, position: int) -> Portion | None:
        """The first portion that contains anything after a position; None if there is none yet."""
        first = None
        # From the latest on, where nearly all followers are.
        for portion in reversed(self.portions):
            if portion.until <= position:
                break
            first = portion
        return first

    async def ready(self) -> None:
        """Return when the current position of the log is known."""
        while not self._is_ready and not self.has_ended:
            await self._grown.wait()

    async def _run(self) -> None:
        self._hub.follow(self.exec_id, self._woken.set)
        try:
            while not self.has_ended:
                self._woken.clear()
                try:
                    run, runs = await self._database.read(self._look)
                except UnavailableError as error:
                    _log.info("following_interrupted", exec=self.exec_id, error=str(error))
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                self._take(run, runs)
                if runs is None and not self.has_ended:
                    await self._rest()
        except Exception as error:  # noqa: BLE001 - followers are notified; the run itself is not affected
            _log.error("following_failed", exec=self.exec_id, exc_info=error)
            self.failure = DEFECT
            self.wake()
        finally:
            self._hub.unfollow(self.exec_id, self._woken.set)

    def _look(self, connection: Connection) -> tuple[Exec | None, list[FrameLines] | None]:
        # The status first: a final status is committed together with the end of the log.
        run = execs.get(connection, self.exec_id)
        return run, self._scan.step(connection)

    def _take(self, run: Exec | None, runs: list[FrameLines] | None) -> None:
        before, frontier = self.frontier, self._scan.frontier
        self.frontier = -1 if frontier is None else frontier
        if runs:
            cost = sum(len(line) + LINE_COST for group in runs for line in group.lines)
            self.portions.append(Portion(before, self.frontier, runs, cost))
            self._size += cost
            if len(self.portions) > FRESH_PORTIONS:
                self.portions[-1 - FRESH_PORTIONS].age()
            self._forget()
        # The first poll reads nothing: it finds the current position of the log.
        if runs is None and run is None:
            self.failure = DELETED
        elif runs is None and run is not None and run.status in FINAL_STATUSES:
            self.outcome = run
        if runs or self.has_ended or not self._is_ready:
            self._is_ready = True
            self.wake()

    def _forget(self) -> None:
        """Release the oldest portions, and notify followers that have not read them."""
        most = self._room()
        while self._size > most and len(self.portions) > 1:
            gone = self.portions.popleft()
            self._size -= gone.cost
            for follow in self.followers:
                follow.missed(gone)

    def wake(self) -> None:
        """Wake the followers that are waiting."""
        self._grown.set()
        self._grown = asyncio.Event()

    async def _rest(self) -> None:
        seconds = POLL_SECONDS if self._hub.get(self.exec_id) is None else REST_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
