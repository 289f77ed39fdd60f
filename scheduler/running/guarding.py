"""Protects a region's engine: counts and times every call, and never lets callers wait for a dead engine.

A call that the circuit does not let through fails immediately; calls that are waiting when it opens are given up.
Their effect must be checked afterwards, as after any other `EngineUnavailableError`. A start is given up a little
later, as the doubt about it costs a run: one that does not reach the engine says so by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.engine.errors import (
    EngineError,
    EngineTimeoutError,
    EngineTroubledError,
    EngineUnavailableError,
    EngineUnreachableError,
)
from scheduler.engine.profile import EngineProfile
from scheduler.engine.protocol import Engine, EventStream, FrameStream
from scheduler.engine.types import Capacity, EngineFacts, Handle, ImageInfo, LaunchSpec, OwnRun, RunStatus
from scheduler.process.metrics import ENGINE_CALL_SECONDS, ENGINE_CALLS
from scheduler.running.circuit import Circuit

#: The outcomes of calls, as named by the metric.
OK, REFUSED, TROUBLED, TIMEOUT, UNREACHABLE, GIVEN_UP, NOT_MADE = (
    "ok",
    "refused",
    "troubled",
    "timeout",
    "unreachable",
    "given_up",
    "circuit_open",
)

#: Seconds for a start that is waiting when the circuit opens: a refused connection is reported within milliseconds.
START_GRACE: Final = 2.0


class GuardedEngine:
    """An engine behind a circuit breaker.

    Args:
        engine: the engine itself.
        region: the engine's region.
        circuit: the circuit.
        on_open: called when a call without an answer has opened the circuit.
        probing: let calls through regardless of the circuit; their outcomes do not change it.
    """

    def __init__(
        self,
        engine: Engine,
        region: str,
        circuit: Circuit,
        on_open: Callable[[], None] = lambda: None,
        *,
        probing: bool = False,
    ) -> None:
        self._engine = engine
        self._region = region
        self._circuit = circuit
        self._on_open = on_open
        self._probing = probing
        # In the order in which they began, with the seconds that each still has when it is given up.
        self._waiting: dict[asyncio.Timeout, float] = {}

    def give_up(self) -> None:
        """Give up every call that is still waiting for its answer."""
        now = asyncio.get_running_loop().time()
        for scope, grace in self._waiting.items():
            scope.reschedule(now + grace)
        self._waiting.clear()

    # ---- the engine's calls ------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Like `Engine.ping`."""
        async with self._call("ping"):
            await self._engine.ping()

    async def now(self) -> datetime:
        """Like `Engine.now`."""
        async with self._call("now"):
            return await self._engine.now()

    async def capacity(self) -> Capacity:
        """Like `Engine.capacity`."""
        async with self._call("capacity"):
            return await self._engine.capacity()

    async def profile(self) -> EngineProfile:
        """Like `Engine.profile`."""
        async with self._call("profile"):
            return await self._engine.profile()

    async def examine(self) -> EngineFacts:
        """Like `Engine.examine`."""
        async with self._call("examine"):
            return await self._engine.examine()

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """Like `Engine.ensure_image`."""
        async with self._call("ensure_image"):
            return await self._engine.ensure_image(image, policy, progress, login=login)

    async def create(self, spec: LaunchSpec) -> Handle:
        """Like `Engine.create`."""
        async with self._call("create"):
            return await self._engine.create(spec)

    async def find(self, exec_id: str) -> Handle | None:
        """Like `Engine.find`."""
        async with self._call("find"):
            return await self._engine.find(exec_id)

    async def has_created(self, handle: Handle) -> bool:
        """Like `Engine.has_created`."""
        async with self._call("has_created"):
            return await self._engine.has_created(handle)

    async def attach(self, handle: Handle) -> FrameStream:
        """Like `Engine.attach`."""
        async with self._call("attach"):
            return await self._engine.attach(handle)

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Like `Engine.start`."""
        async with self._call("start", grace=START_GRACE):
            await self._engine.start(handle, files, before=before)

    async def inspect(self, handle: Handle) -> RunStatus:
        """Like `Engine.inspect`."""
        async with self._call("inspect"):
            return await self._engine.inspect(handle)

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> FrameStream:
        """Like `Engine.logs`."""
        async with self._call("logs"):
            return await self._engine.logs(handle, follow=follow, timestamps=timestamps, since=since)

    async def stop(self, handle: Handle, grace_seconds: int) -> None:
        """Like `Engine.stop`."""
        async with self._call("stop"):
            await self._engine.stop(handle, grace_seconds)

    async def kill(self, handle: Handle) -> None:
        """Like `Engine.kill`."""
        async with self._call("kill"):
            await self._engine.kill(handle)

    async def remove(self, handle: Handle) -> None:
        """Like `Engine.remove`."""
        async with self._call("remove"):
            await self._engine.remove(handle)

    async def events(self) -> EventStream:
        """Like `Engine.events`."""
        async with self._call("events"):
            return await self._engine.events()

    async def list_ours(self) -> list[OwnRun]:
        """Like `Engine.list_ours`."""
        async with self._call("list_ours"):
            return await self._engine.list_ours()

    async def close(self) -> None:
        """Like `Engine.close`, regardless of the circuit."""
        await self._engine.close()

    # ---- around each call --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _call(self, name: str, *, grace: float = 0.0) -> AsyncIterator[None]:
        """Let one call through, or reject it, and record its outcome."""
        if not (self._circuit.lets_through or self._probing):
            self._count(name, NOT_MADE)
            raise EngineUnreachableError(self._why_not)
        loop = asyncio.get_running_loop()
        began, outcome = loop.time(), GIVEN_UP
        try:
            async with asyncio.timeout(None) as scope:
                self._waiting[scope] = grace
                try:
                    yield
                finally:
                    self._waiting.pop(scope, None)
            outcome = OK
        except TimeoutError as error:
            raise EngineUnavailableError(self._why_not) from error
        except EngineError as error:
            outcome = _outcome(error)
            if outcome in (TIMEOUT, UNREACHABLE) and not self._probing:
                if self._circuit.failed(loop.time(), str(error)):
                    self._on_open()
                raise
            self._note_answer()
            raise
        else:
            self._note_answer()
        finally:
            self._count(name, outcome)
            ENGINE_CALL_SECONDS.labels(region=self._region, call=name).observe(loop.time() - began)

    def _note_answer(self) -> None:
        if not self._probing:
            self._circuit.answered()

    @property
    def _why_not(self) -> str:
        return f"the engine of region {self._region} is considered down: {self._circuit.reason}"

    def _count(self, call: str, outcome: str) -> None:
        ENGINE_CALLS.labels(region=self._region, call=call, outcome=outcome).inc()


def _outcome(error: EngineError) -> str:
    if isinstance(error, EngineTimeoutError):
        return TIMEOUT
    if isinstance(error, EngineTroubledError):
        return TROUBLED
    return UNREACHABLE if isinstance(error, EngineUnavailableError) else REFUSED
