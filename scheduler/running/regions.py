"""A region: one engine, whether it answers, what it has, and what of that is reserved.

A monitor per region keeps a subscription to the engine's events; when that breaks or a ping stays unanswered,
the region is down until the engine answers again. Whoever needs the engine waits for `Region.up`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from scheduler.engine.errors import EngineError, EngineUnavailableError
from scheduler.engine.protocol import Capacity, Engine, EngineEvent, EventKind
from scheduler.execution import ExecSpec
from scheduler.metrics import ENGINE_UP

log = structlog.get_logger()

PING_INTERVAL = 5.0
#: Seconds between tries to reach an engine that is down: the first and the longest pause.
RETRY_FIRST, RETRY_LONGEST = 0.25, 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows to be reserved, where that is not simply what the engine has."""

    cpus: float | None = None
    memory_bytes: int | None = None


class Region:
    """One engine and the capacity that runs reserve from it.

    Attributes:
        name: as jobs name it.
        engine: the engine itself.
        up: set while the engine answers.
        problem: why it does not, for people; None while it does.
    """

    def __init__(self, name: str, engine: Engine, limits: Limits | None = None) -> None:
        self.name = name
        self.engine = engine
        self.up = asyncio.Event()
        self.problem: str | None = "The engine has not been asked yet"
        self._limits = limits or Limits()
        self._capacity = Capacity(cpus=0.0, memory_bytes=0)
        self._reserved: dict[str, ExecSpec] = {}
        self._ended: dict[str, asyncio.Event] = {}

    @property
    def capacity(self) -> Capacity:
        """What runs may reserve in all; nothing before the engine has answered for the first time."""
        return self._capacity

    def fits_at_all(self, spec: ExecSpec) -> bool:
        """Whether the run could start if nothing else ran."""
        return self._fits(spec, 0.0, 0)

    def fits_now(self, spec: ExecSpec) -> bool:
        """Whether the run can start beside those that hold reservations."""
        reserved = self._reserved.values()
        return self._fits(spec, sum(s.cpus for s in reserved), sum(s.memory_bytes for s in reserved))

    def _fits(self, spec: ExecSpec, cpus: float, memory_bytes: int) -> bool:
        # Sums of sizes such as 0.15 are not exact in binary; a millionth of a processor decides nothing.
        return (
            cpus + spec.cpus <= self._capacity.cpus + 1e-6
            and memory_bytes + spec.memory_bytes <= self._capacity.memory_bytes
        )

    def shortage(self, spec: ExecSpec) -> str:
        """What a run waits for, for people."""
        cpus = self._capacity.cpus - sum(s.cpus for s in self._reserved.values())
        memory = self._capacity.memory_bytes - sum(s.memory_bytes for s in self._reserved.values())
        parts = []
        if spec.cpus > cpus + 1e-6:
            parts.append(f"{spec.cpus:g} CPU ({max(cpus, 0):.2f} of {self._capacity.cpus:g} free)")
        if spec.memory_bytes > memory:
            parts.append(f"{spec.memory_bytes >> 20} MiB of memory ({max(memory, 0) >> 20} MiB free)")
        return " and ".join(parts) or "its turn"

    def reserve(self, exec_id: str, spec: ExecSpec) -> None:
        """Hold capacity for a run; again for the same run changes nothing."""
        self._reserved[exec_id] = spec

    def release(self, exec_id: str) -> None:
        """Give a run's capacity back; doing so twice is fine."""
        self._reserved.pop(exec_id, None)

    @property
    def holding(self) -> int:
        """How many runs hold capacity."""
        return len(self._reserved)

    def ended(self, exec_id: str) -> asyncio.Event:
        """Set when the engine says that the run's container has ended, until `forget`."""
        return self._ended.setdefault(exec_id, asyncio.Event())

    def forget(self, exec_id: str) -> None:
        """Stop listening for the end of a run."""
        self._ended.pop(exec_id, None)

    async def monitor(
        self, on_up: Callable[[Region], Awaitable[None]], on_change: Callable[[], None]
    ) -> None:
        """Keep `up` true to the engine, until cancelled.

        Args:
            on_up: is awaited every time the engine has begun to answer, before `up` is set.
            on_change: is called whenever `up` has changed.
        """
        pause = RETRY_FIRST
        while True:
            try:
                async with await self.engine.events() as events:
                    found = await self.engine.capacity()
                    self._capacity = Capacity(
                        cpus=self._limits.cpus or found.cpus,
                        memory_bytes=self._limits.memory_bytes or found.memory_bytes,
                    )
                    await on_up(self)
                    self._set_up()
                    on_change()
                    pause = RETRY_FIRST
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._ping())
                        async for event in events:
                            self._note(event)
                        raise EngineUnavailableError("The engine ended the stream of its events")
            except* EngineError as group:
                self._set_down(_first_message(group))
                on_change()
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            await self.engine.ping()

    def _note(self, event: EngineEvent) -> None:
        if event.kind in (EventKind.DIE, EventKind.DESTROY) and event.exec_id in self._ended:
            self._ended[event.exec_id].set()

    def _set_up(self) -> None:
        self.problem = None
        self.up.set()
        ENGINE_UP.labels(region=self.name).set(1)
        log.info(
            "region.up",
            region=self.name,
            cpus=self._capacity.cpus,
            memory_mib=self._capacity.memory_bytes >> 20,
        )

    def _set_down(self, problem: str) -> None:
        if self.up.is_set() or self.problem != problem:
            log.warning("region.down", region=self.name, problem=problem)
        self.problem = problem
        self.up.clear()
        ENGINE_UP.labels(region=self.name).set(0)


def _first_message(group: BaseExceptionGroup[EngineError]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
