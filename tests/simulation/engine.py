"""A daemon's connection to a simulated engine.

What happens on the way is drawn by the network: requests and answers take time, are lost, arrive late, or after the
caller has given up. A request that is on its way takes effect also if the daemon that sent it has died.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.engine.errors import (
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    EngineUnreachableError,
)
from scheduler.engine.profile import EngineProfile
from scheduler.engine.protocol import EventStream, FrameStream
from scheduler.engine.types import (
    Capacity,
    EngineEvent,
    EngineFacts,
    Handle,
    ImageInfo,
    LaunchSpec,
    LogFrame,
    OwnRun,
    RunStatus,
)
from tests.simulation.host import Host
from tests.simulation.loop import WORLD

T = TypeVar("T")

#: Seconds after which a client gives up a request, and a pull without progress.
CALL_LIMIT: Final = 30.0
PULL_LIMIT: Final = 300.0


@dataclass(slots=True)
class Network:
    """What happens to requests and answers; every number is drawn from its own source.

    Attributes:
        lost: the share of requests that are lost on the way there, and of answers on the way back.
        late: the share of requests that arrive after the caller has given up.
        slow: the longest usual delay in seconds.
        doubled: the share of events that arrive twice, and of those that never do.
        is_cut: whether no connection can be made.
        streams: the open streams.
    """

    source: random.Random
    slow: float = 0.02
    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    unheard: float = 0.0
    is_cut: bool = False
    streams: dict[_Stream[Any], None] = field(default_factory=dict)

    def cut(self) -> None:
        """Break every connection, and let none be made."""
        self.is_cut = True
        for stream in self.streams:
            stream.break_off()
        self.streams.clear()

    def join(self) -> None:
        """Let connections be made again."""
        self.is_cut = False

    def delay(self) -> float:
        """Seconds on the way."""
        return self.source.random() ** 3 * self.slow

    def happens(self, share: float) -> bool:
        """Whether something with this probability happens."""
        return share > 0 and self.source.random() < share


class _Stream(Generic[T]):
    """A stream as it arrives: with delays."""

    def __init__(self, inner: Any, network: Network) -> None:
        self._inner = inner
        self._network = network
        network.streams[self] = None

    def break_off(self) -> None:
        """Lose the connection."""
        self._inner.put(EngineUnavailableError("the connection to the engine was lost"))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        item: T = await self._inner.__anext__()
        await asyncio.sleep(self._network.delay())
        return item

    async def aclose(self) -> None:
        self._network.streams.pop(self, None)
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Frames(_Stream[list[LogFrame]]):
    """Output, which may be split anywhere."""

    def __init__(self, inner: Any, network: Network) -> None:
        super().__init__(inner, network)
        self._rest: list[LogFrame] = []

    async def __anext__(self) -> list[LogFrame]:
        frames = self._rest or await super().__anext__()
        self._rest = []
        first = frames[0]
        if len(first.data) > 1 and self._network.source.random() < 0.3:
            at = self._network.source.randrange(1, len(first.data))
            self._rest = [first._replace(data=first.data[at:]), *frames[1:]]
            return [first._replace(data=first.data[:at])]
        return frames


class _Events(_Stream[EngineEvent]):
    """Events, some of which arrive twice, or never."""

    def __init__(self, inner: Any, network: Network) -> None:
        super().__init__(inner, network)
        self._again: EngineEvent | None = None

    async def __anext__(self) -> EngineEvent:
        if (again := self._again) is not None:
            self._again = None
            return again
        while True:
            event = await super().__anext__()
            if self._network.happens(self._network.unheard):
                continue
            if self._network.happens(self._network.doubled):
                self._again = event
            return event


class Client:
    """A daemon's connection to the host; implements `scheduler.engine.protocol.Engine`."""

    def __init__(self, host: Host, network: Network) -> None:
        self._host = host
        self._network = network

    async def _ask(self, effect: Callable[[], Awaitable[T]], *, limit: float = CALL_LIMIT) -> T:
        """Send a request, and wait some seconds for its answer; it may take effect later, or without an answer."""
        if self._network.is_cut or not self._host.is_up:
            await asyncio.sleep(self._network.delay())
            raise EngineUnreachableError("the engine cannot be reached")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().create_task(self._carry(effect, answer), context=WORLD.context())
        try:
            async with asyncio.timeout(limit):
                return await answer
        except TimeoutError as error:
            raise EngineTimeoutError(f"the engine did not answer within {limit:g} s") from error

    async def _carry(self, effect: Callable[[], Awaitable[T]], answer: asyncio.Future[T]) -> None:
        """Carry a request to the host and its answer back."""
        host, network = self._host, self._network
        life = host.lives
        try:
            late = network.happens(network.late)
            await asyncio.sleep(CALL_LIMIT * (1 + network.source.random()) if late else network.delay())
            await self._arrive(life)
            result = await effect()
            await asyncio.sleep(network.delay())
            await self._arrive(life)
        except EngineError as error:
            if not answer.done():
                answer.set_exception(error)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - a defect of the simulation is seen by whoever asked
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(result)

    async def _arrive(self, life: int) -> None:
        """Arrive where a request or an answer is going, unless it is lost, or its connection was."""
        await self._host.until_it_answers()
        is_broken = self._host.lives != life or not self._host.is_up or self._network.is_cut
        if is_broken or self._network.happens(self._network.lost):
            raise EngineUnavailableError("the connection to the engine was lost")

    # ---- the engine's calls -------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Like `Engine.ping`."""
        await self._ask(self._host.ping)

    async def now(self) -> datetime:
        """Like `Engine.now`."""
        return await self._ask(self._host.now)

    async def capacity(self) -> Capacity:
        """Like `Engine.capacity`."""
        return await self._ask(self._host.capacity)

    async def profile(self) -> EngineProfile:
        """Like `Engine.profile`."""
        return await self._ask(self._host.profile)

    async def examine(self) -> EngineFacts:
        """Like `Engine.examine`."""
        return await self._ask(self._host.examine)

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """Like `Engine.ensure_image`."""
        told: list[str] = []
        info = await self._ask(
            lambda: self._host.ensure_image(image, policy, told.append, login=login), limit=PULL_LIMIT
        )
        for line in told:
            progress(line)
        return info

    async def create(self, spec: LaunchSpec) -> Handle:
        """Like `Engine.create`."""
        return await self._ask(lambda: self._host.create(spec))

    async def find(self, exec_id: str) -> Handle | None:
        """Like `Engine.find`."""
        return await self._ask(lambda: self._host.find(exec_id))

    async def has_created(self, handle: Handle) -> bool:
        """Like `Engine.has_created`."""
        return await self._ask(lambda: self._host.has_created(handle))

    async def attach(self, handle: Handle) -> FrameStream:
        """Like `Engine.attach`."""
        return _Frames(await self._ask(lambda: self._host.attach(handle)), self._network)

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Like `Engine.start`."""
        if before is not None:
            await self._ask(self._host.ping)  # a connection of its own
            await before()
        await self._ask(lambda: self._host.start(handle, files))

    async def inspect(self, handle: Handle) -> RunStatus:
        """Like `Engine.inspect`."""
        return await self._ask(lambda: self._host.inspect(handle))

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> FrameStream:
        """Like `Engine.logs`."""
        stream = await self._ask(
            lambda: self._host.logs(handle, follow=follow, timestamps=timestamps, since=since)
        )
        return _Frames(stream, self._network)

    async def stop(self, handle: Handle, grace_seconds: int) -> None:
        """Like `Engine.stop`."""
        await self._ask(lambda: self._host.stop(handle, grace_seconds), limit=CALL_LIMIT + grace_seconds)

    async def kill(self, handle: Handle) -> None:
        """Like `Engine.kill`."""
        await self._ask(lambda: self._host.kill(handle))

    async def remove(self, handle: Handle) -> None:
        """Like `Engine.remove`."""
        await self._ask(lambda: self._host.remove(handle))

    async def events(self) -> EventStream:
        """Like `Engine.events`."""
        return _Events(await self._ask(self._host.events), self._network)

    async def list_ours(self) -> list[OwnRun]:
        """Like `Engine.list_ours`."""
        return await self._ask(self._host.list_ours)

    async def close(self) -> None:
        """Close the connection; what runs goes on."""
