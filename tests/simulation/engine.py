"""A simulated engine: one host that all daemons share, and each daemon's own connection to it.

The host keeps containers and lets them run; its kinds differ as real engines do. What happens on the way is drawn by
the network: requests and answers take time, are lost, arrive late, or after the caller has given up. A request that
is on its way takes effect also if the daemon that sent it has died.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

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
from scheduler.engine.protocol import EventStream, FrameStream
from scheduler.engine.types import (
    Capacity,
    EngineEvent,
    EngineFacts,
    EventKind,
    Handle,
    ImageInfo,
    LaunchSpec,
    LogFrame,
    OwnRun,
    RunState,
    RunStatus,
)
from tests.lab.fake_engine import KILLED, FakeContainer, FakeEngine
from tests.lab.fake_programs import Program
from tests.simulation.checks import UNKNOWN_CODE
from tests.simulation.loop import WORLD

T = TypeVar("T")

#: Seconds after which a client gives up a request, and a pull without progress.
CALL_LIMIT: Final = 30.0
PULL_LIMIT: Final = 300.0


class Kind(StrEnum):
    """How an engine treats a process that it has started and forgotten, and what lives on when it dies."""

    REFUSES = "refuses"
    """Docker Engine 20.10: another start is refused, because the process is still there."""
    REPLACES = "replaces"
    """Docker Engine since 24.0: another start ends the forgotten process and starts another one."""
    KEEPS = "keeps"
    """With live-restore, or Podman: what runs goes on without the engine, and is known again afterwards."""


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


class Host(FakeEngine):
    """The engine itself.

    Attributes:
        behaviour: what it does when it dies.
        is_up: whether it answers.
        lives: how often it was started.
        starts: how often a process was started for each run.
        going: the processes that run now, also those that the engine has forgotten, by run.
        on_start: called before a process starts.
    """

    def __init__(
        self,
        behaviour: Kind,
        *,
        installation: str = "fake",
        source: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        cpus: float = 4.0,
        memory_bytes: int = 8 << 30,
    ) -> None:
        super().__init__(installation=installation, clock=clock, cpus=cpus, memory_bytes=memory_bytes)
        self.behaviour = behaviour
        self.is_up = True
        self.lives = 1
        self.starts: Counter[str] = Counter()
        self.going: dict[str, asyncio.Task[Any]] = {}
        self.on_start: Callable[[LaunchSpec], None] = lambda _: None
        #: In how many starts it dies, whether after this one has taken effect, and what is called then.
        self.dies_at_start: tuple[int, bool, Callable[[], None]] | None = None
        self._source = source or random.Random(0)
        self._answers = asyncio.Event()
        self._answers.set()
        self._made_in: dict[str, int] = {}
        self._noted: dict[str, float] = {}
        self._forgotten: dict[str, asyncio.Task[Any]] = {}

    # ---- dying --------------------------------------------------------------------------------------------

    def hang(self) -> None:
        """Accept requests, and answer none of them."""
        self._answers.clear()

    def answer_again(self) -> None:
        """Do what was asked for in the meantime, and answer."""
        self._answers.set()

    async def until_it_answers(self) -> None:
        """Return when it does not hang."""
        await self._answers.wait()

    def die_at_start(self, count: int, *, takes_effect: bool, then: Callable[[], None]) -> None:
        """Die over one of the next starts, before or after it has taken effect."""
        self.dies_at_start = count, takes_effect, then

    def die(self) -> None:
        """Die at once: forget the starts that were not noted yet; what else runs dies with it, or goes on."""
        if not self.is_up:
            return
        self.is_up = False
        self.lives += 1
        self._answers.set()
        self.break_streams()
        if self.behaviour is Kind.KEEPS:
            return
        now = asyncio.get_running_loop().time()
        for key, container in list(self.containers.items()):
            if container.status.state is not RunState.RUNNING:
                continue
            if now < self._noted[key]:
                self._forget(key, container)
            else:
                container.exits_with = UNKNOWN_CODE if self._source.random() < 0.3 else KILLED
                if self._source.random() < 0.3:  # what it had not written to its log yet
                    del container.frames[-self._source.randint(1, 2) :]
                assert container.task is not None
                container.task.cancel()

    def _forget(self, key: str, container: FakeContainer) -> None:
        """Take a container for one that was never started; its process goes on, and nobody listens to it."""
        status = replace(container.status, state=RunState.CREATED, started_at=None)
        copy = HostContainer(
            container.spec, container.handle, container.installation, status, frames=list(container.frames)
        )
        assert container.task is not None
        self._forgotten[key] = container.task
        self.containers[key] = copy

    def come_back(self) -> None:
        """Start again."""
        self.is_up = True

    # ---- what it does otherwise than the fake one -----------------------------------------------------------

    async def create(self, spec: LaunchSpec) -> Handle:
        """Remember in which life a container was created."""
        handle = await super().create(spec)
        if handle.engine_id not in self._made_in:
            self._made_in[handle.engine_id] = self.lives
            container = self.containers[handle.engine_id]
            self.containers[handle.engine_id] = HostContainer(
                container.spec, container.handle, container.installation, container.status
            )
        return handle

    async def has_created(self, handle: Handle) -> bool:
        """Whether it has not died since."""
        return await super().has_created(handle) and self._made_in[handle.engine_id] == self.lives

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start the process; one that it has started and forgotten stands in its way, or is replaced."""
        dies = self._is_last_start()
        if dies is not None and not dies[0]:
            self._die_then(dies[1])
        forgotten = self._forgotten.get(handle.engine_id)
        if forgotten is not None and not forgotten.done():
            if self.behaviour is Kind.REFUSES:
                raise EngineTroubledError("the engine cannot start it: id already in use")
            forgotten.cancel()
            await asyncio.wait((forgotten,))
        self._forgotten.pop(handle.engine_id, None)
        await super().start(handle, files, before=before)
        # It notes the start only after a while; until then, it would not know of it after its death.
        self._noted.setdefault(
            handle.engine_id, asyncio.get_running_loop().time() + self._source.random() * 0.1
        )
        if dies is not None:
            await asyncio.sleep(self._source.random() * 0.005)
            self._die_then(dies[1])

    def _is_last_start(self) -> tuple[bool, Callable[[], None]] | None:
        """Whether it dies over this start: after it has taken effect or before, and what is called then."""
        if self.dies_at_start is None:
            return None
        left, takes_effect, then = self.dies_at_start
        self.dies_at_start = (left - 1, takes_effect, then) if left > 1 else None
        return (takes_effect, then) if left == 1 else None

    def _die_then(self, then: Callable[[], None]) -> None:
        self.die()
        then()
        raise EngineUnavailableError("the engine died")

    async def remove(self, handle: Handle) -> None:
        """With what it has forgotten of it."""
        await super().remove(handle)
        forgotten = self._forgotten.pop(handle.engine_id, None)
        if forgotten is not None:
            forgotten.cancel()

    async def _run(self, container: FakeContainer, program: Program) -> None:
        exec_id = container.spec.exec_id
        self.on_start(container.spec)
        self.starts[exec_id] += 1
        task = asyncio.current_task()
        assert task is not None
        self.going[exec_id] = task
        try:
            await super()._run(container, program)
        finally:
            if self.going.get(exec_id) is task:
                del self.going[exec_id]
        code = getattr(container, "exits_with", None)
        if code is not None and container.status.exit_code == KILLED:
            container.status = replace(container.status, exit_code=code)

    def _tell(self, container: FakeContainer, kind: EventKind, exit_code: int | None = None) -> None:
        if self.is_up:
            super()._tell(container, kind, exit_code)

    def end_all(self) -> None:
        """End every process."""
        for task in [*self.going.values(), *self._forgotten.values()]:
            task.cancel()


@dataclass(slots=True, eq=False)
class HostContainer(FakeContainer):
    """A container, and the exit code that the death of its engine gives it."""

    exits_with: int | None = field(default=None)


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
