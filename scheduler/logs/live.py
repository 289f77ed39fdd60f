"""Reads on in the log of a run that goes on, once for all who follow it.

A `LiveSource` reads what is stored, woken by the capture hub, or by looking every half second where another daemon
looks after the run. It keeps the newest few megabytes for its followers; see `scheduler.logs.followers`.
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

#: What a line takes in memory besides its bytes, about.
LINE_COST: Final = 64
#: A run that is looked after elsewhere, or by nobody yet, is looked at this often, in seconds.
POLL_SECONDS: Final = 0.5
#: One that is looked after here tells of itself; looking besides costs nothing.
REST_SECONDS: Final = 5.0
#: So many different ways of looking at one portion are shared; further ones are made for each follower.
MOST_SHARED: Final = 4
#: What was made of the newest portions is kept; who is further behind has it made anew.
FRESH_PORTIONS: Final = 2

DELETED: Final = "the run was deleted"
DEFECT: Final = "the log could not be read on; the daemon's own log says why"

_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """What a source asks of its followers."""

    def missed(self, portion: Portion) -> None:
        """The source has let go of a portion."""
        ...

    def stop(self) -> None:
        """The daemon stops."""
        ...


@dataclass(slots=True)
class Portion:
    """Lines that came together.

    Attributes:
        after: the position before the first of them.
        until: the position up to which everything has come with this one.
        runs: the lines.
        cost: about what they take in memory.
        is_fresh: whether what is made of them is kept.
    """

    after: int
    until: int
    runs: list[FrameLines]
    cost: int = 0
    is_fresh: bool = True
    _shared: dict[Hashable, asyncio.Future[Any]] = field(default_factory=dict)

    async def shared(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """What `make` makes of this portion, made once for all who ask with the same key."""
        if key not in self._shared and (not self.is_fresh or len(self._shared) >= MOST_SHARED):
            return await make()
        if key not in self._shared:
            self._shared[key] = asyncio.ensure_future(make())
        # One follower that leaves must not take it away from the others.
        return await asyncio.shield(self._shared[key])

    def age(self) -> None:
        """Newer ones have come: let go of what was made."""
        self.is_fresh = False
        self._shared.clear()


class LiveSource:
    """Reads on in one exec's log, for all its followers.

    Attributes:
        portions: the newest, one after the other.
        frontier: the position up to which everything has been read.
        outcome: the exec, once it has ended and all of its log is in `portions`.
        failure: why nothing more will come, if something is wrong.
        laggards: how many followers have fallen behind.
    """

    def __init__(self, database: Database, hub: CaptureHub, exec_id: str, room: Callable[[], int]) -> None:
        self.exec_id = exec_id
        self.portions: deque[Portion] = deque()
        self.frontier = -1
        self.outcome: Exec | None = None
        self.failure: str | None = None
        self.laggards = 0
        self.followers: set[Listener] = set()
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
        """Whether nothing more will come."""
        return self.outcome is not None or self.failure is not None

    @property
    def oldest(self) -> int:
        """The position after which everything is still here."""
        return self.portions[0].after if self.portions else self.frontier

    @property
    def grown(self) -> asyncio.Event:
        """Set with the next portion, or the end; another one each time."""
        return self._grown

    def after(self, position: int) -> Portion | None:
        """The first portion that has anything after a position; None when there is none yet."""
        found = None
        # From the newest on, where nearly all followers are.
        for portion in reversed(self.portions):
            if portion.until <= position:
                break
            found = portion
        return found

    async def ready(self) -> None:
        """Return when it is known where the log stands."""
        while not self._is_ready and not self.has_ended:
            await self._grown.wait()

    async def _run(self) -> None:
        self._hub.follow(self.exec_id, self._woken.set)
        try:
            while not self.has_ended:
                self._woken.clear()
                try:
                    one, runs = await self._database.read(self._look)
                except UnavailableError as error:
                    _log.info("following_interrupted", exec=self.exec_id, error=str(error))
                    await asyncio.sleep(POLL_SECONDS)
                    continue
                self._take(one, runs)
                if runs is None and not self.has_ended:
                    await self._rest()
        except Exception as error:  # noqa: BLE001 - followers are told; the run itself is none the worse for it
            _log.error("following_failed", exec=self.exec_id, exc_info=error)
            self.failure = DEFECT
            self.wake()
        finally:
            self._hub.unfollow(self.exec_id, self._woken.set)

    def _look(self, connection: Connection) -> tuple[Exec | None, list[FrameLines] | None]:
        # The status first: a final one is committed together with the last of the log.
        one = execs.get(connection, self.exec_id)
        return one, self._scan.step(connection)

    def _take(self, one: Exec | None, runs: list[FrameLines] | None) -> None:
        before, frontier = self.frontier, self._scan.frontier
        self.frontier = -1 if frontier is None else frontier
        if runs:
            cost = sum(len(line) + LINE_COST for run in runs for line in run.lines)
            self.portions.append(Portion(before, self.frontier, runs, cost))
            self._size += cost
            if len(self.portions) > FRESH_PORTIONS:
                self.portions[-1 - FRESH_PORTIONS].age()
            self._forget()
        # The first look reads nothing: it notes where the log stands.
        if runs is None and one is None:
            self.failure = DELETED
        elif runs is None and one is not None and one.status in FINAL_STATUSES:
            self.outcome = one
        if runs or self.has_ended or not self._is_ready:
            self._is_ready = True
            self.wake()

    def _forget(self) -> None:
        """Let go of the oldest, and of the followers who have not had it."""
        most = self._room()
        while self._size > most and len(self.portions) > 1:
            gone = self.portions.popleft()
            self._size -= gone.cost
            for follow in self.followers:
                follow.missed(gone)

    def wake(self) -> None:
        """Let those look who wait."""
        self._grown.set()
        self._grown = asyncio.Event()

    async def _rest(self) -> None:
        seconds = POLL_SECONDS if self._hub.get(self.exec_id) is None else REST_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
