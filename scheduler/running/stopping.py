"""Whether and why a run is to be stopped, and the stop request to its engine.

A request takes precedence over a timeout that has passed: the caller was promised that the run ends as cancelled. The
engine itself waits for the grace period, so a stop that has begun continues if the daemon dies; a later daemon finds
the request in the database, or the timeout exceeded, and asks again.
"""

from __future__ import annotations

import asyncio

from scheduler.domain.execution import Exec
from scheduler.engine.protocol import Engine
from scheduler.engine.types import Handle
from scheduler.process.faults import Point, point
from scheduler.running.decisions import StopCause
from scheduler.running.tasks import wait_for_event


class Stopping:
    """The stop of one run, if it is requested.

    Args:
        run: the run.
        engine: the engine of its container.

    Attributes:
        wanted: set when the run is to end.
        discarded: set when the run is to end and nothing more is recorded about it.
        cause: why it is to end; None while it is not.
        reason: who or what requested it, for people; None if nobody did.
    """

    def __init__(self, run: Exec, engine: Engine) -> None:
        self.wanted = asyncio.Event()
        self.discarded = asyncio.Event()
        self.cause: StopCause | None = None
        self.reason: str | None = run.stop_reason
        self._limit = run.spec.timeout_seconds
        self._grace = run.spec.stop_grace_seconds
        self._engine = engine
        self._handle: Handle | None = None
        self._asking: asyncio.Task[None] | None = None
        if run.stop_requested_at is not None:
            self.request(run.stop_reason)

    @property
    def grace_seconds(self) -> int:
        """Seconds between SIGTERM and SIGKILL."""
        return self._grace

    @property
    def has_begun(self) -> bool:
        """Whether the engine was asked to stop the container."""
        return self._asking is not None

    def request(self, reason: str | None) -> None:
        """Request a stop; the first request counts."""
        if self.wanted.is_set():
            return
        self.cause = StopCause.REQUEST
        self.reason = reason
        self.wanted.set()

    def discard(self, grace_seconds: int) -> None:
        """Stop it because it is being deleted; the first call sets the grace period."""
        if self.discarded.is_set():
            return
        self._grace = grace_seconds
        self.discarded.set()
        self.request(None)
        if self._asking is not None and self._handle is not None:
            self.forget()
            self.begin(self._handle)

    async def due(self, began: float) -> None:
        """Return when the container is to be stopped: on request, or because of its timeout.

        Args:
            began: when it was started, by the event loop's clock: wall clocks are set, and the engine has its own.
        """
        if self._limit is None:
            await self.wanted.wait()
            return
        left = began + self._limit - asyncio.get_running_loop().time()
        if not await wait_for_event(self.wanted, max(left, 0)):
            self.cause = StopCause.TIMEOUT
            self.wanted.set()

    def begin(self, handle: Handle) -> None:
        """Ask the engine to stop the container."""
        self._handle = handle
        point(Point.STOPPING)
        self._asking = asyncio.create_task(self._ask(handle))

    async def _ask(self, handle: Handle) -> None:
        await self._engine.stop(handle, self._grace)
        point(Point.STOPPED)

    def check(self) -> None:
        """Raise the engine's error, if the stop request failed."""
        if self._asking is not None and self._asking.done() and not self._asking.cancelled():
            self._asking.result()

    def forget(self) -> None:
        """Forget the stop request, so that it is repeated if necessary."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking.add_done_callback(_look_at)
            self._asking = None


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
