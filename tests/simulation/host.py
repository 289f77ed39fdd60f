"""The host of a simulated engine: it keeps containers, lets them run, and dies as real engines do."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from scheduler.domain.secret_files import SecretFile
from scheduler.engine.errors import (
    EngineTroubledError,
    EngineUnavailableError,
)
from scheduler.engine.types import (
    EventKind,
    Handle,
    LaunchSpec,
    RunState,
)
from tests.lab.fake_engine import KILLED, FakeContainer, FakeEngine
from tests.lab.fake_programs import Program
from tests.simulation.checks import UNKNOWN_CODE


class Kind(StrEnum):
    """How an engine treats a process that it has started and forgotten, and what lives on when it dies."""

    REFUSES = "refuses"
    """Docker Engine 20.10: another start is refused, because the process is still there."""
    REPLACES = "replaces"
    """Docker Engine since 24.0: another start ends the forgotten process and starts another one."""
    KEEPS = "keeps"
    """With live-restore, or Podman: what runs goes on without the engine, and is known again afterwards."""


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
