"""A region: one engine, whether it answers, its capacity, and what is reserved of it.

A monitor per region subscribes to the engine's events. If the subscription breaks, or a ping or several calls stay
unanswered, the region's circuit opens: the engine is only probed occasionally until it answers again. Everything that
needs the engine waits for `Region.up`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from scheduler.admission.facts import Holding
from scheduler.domain.clock import Clock
from scheduler.engine.errors import EngineError, EngineTimeoutError, EngineUnavailableError
from scheduler.engine.judging import Trouble, troubles_of
from scheduler.engine.profile import EngineProfile
from scheduler.engine.protocol import Engine, EventStream
from scheduler.engine.types import Capacity, EngineEvent, EventKind, Handle, RunState, RunStatus
from scheduler.process.metrics import ENGINE_CIRCUIT_OPEN, ENGINE_UP
from scheduler.running.circuit import Circuit, CircuitState
from scheduler.running.guarding import GuardedEngine
from scheduler.running.pulling import PullLimits
from scheduler.running.tasks import wait_for_event

log = structlog.get_logger()

T = TypeVar("T")

PING_INTERVAL = 5.0
#: Seconds before an engine that is down is probed: the first and the longest pause.
RETRY_FIRST, RETRY_LONGEST = 0.25, 5.0
#: Seconds between checks whether a container has ended; events arrive sooner.
END_INTERVAL = 0.25
#: Seconds within which a healthy engine answers a ping, however busy it is: deletions do not wait for other engines.
KNOCK_LIMIT = 0.5


@dataclass(frozen=True, slots=True)
class RegionLimits:
    """The operator's limits of a region.

    Attributes:
        cpus: processors that can be reserved; None for all that the engine has.
        memory_bytes: memory that can be reserved; None for all that the engine has.
        answer_seconds: time without an answer to a ping after which an engine counts as unresponsive.
        pulls: limits of pulls.
        require_limits: whether the engine must be able to enforce the limits of runs.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    answer_seconds: float = 10.0
    pulls: PullLimits = field(default_factory=PullLimits)
    require_limits: bool = True


class Region:
    """One engine and the capacity that runs reserve.

    Attributes:
        name: the name that jobs use.
        engine: the engine, behind the region's circuit.
        up: set while the engine answers.
        problem: why it does not answer, for people; None while it does.
        limits: the operator's limits.
        profile: what kind of engine it is, as it was when it last came up; None before it has answered.
        breaks: how often the connection to the engine was lost; not counted if the engine only hung.
    """

    def __init__(self, name: str, engine: Engine, limits: RegionLimits | None = None) -> None:
        self.name = name
        self.limits = limits or RegionLimits()
        self.profile: EngineProfile | None = None
        self.breaks = 0
        self.up = asyncio.Event()
        self.problem: str | None = "The engine has not answered yet"
        self._down = asyncio.Event()
        self._tripped = asyncio.Event()
        self._circuit = Circuit(first_pause=RETRY_FIRST, longest_pause=RETRY_LONGEST)
        self._guarded = GuardedEngine(engine, name, self._circuit, self._tripped.set)
        self._prober = GuardedEngine(engine, name, self._circuit, probing=True)
        self.engine: Engine = self._guarded
        self._capacity = Capacity(cpus=0.0, memory_bytes=0)
        self._reserved: dict[str, Holding] = {}
        self._ended: dict[str, asyncio.Event] = {}
        # When the engine reported an end, by its clock, and when the report arrived, by the event loop's clock.
        self._deaths: dict[str, tuple[datetime, float]] = {}

    @property
    def capacity(self) -> Capacity:
        """The capacity that runs may reserve in total; zero before the engine has answered for the first time."""
        return self._capacity

    @property
    def holdings(self) -> Mapping[str, Holding]:
        """What each run of this daemon uses, by run id."""
        return self._reserved

    def reserve(self, exec_id: str, held: Holding) -> None:
        """Reserve capacity for a run; reserving for the same run again changes nothing."""
        self._reserved[exec_id] = held

    def release(self, exec_id: str) -> None:
        """Release a run's capacity; releasing twice is not an error."""
        self._reserved.pop(exec_id, None)

    @property
    def holding(self) -> int:
        """Number of runs that use capacity."""
        return len(self._reserved)

    def ended(self, exec_id: str) -> asyncio.Event:
        """Set when the engine reports that the run's container has ended, until `forget`."""
        return self._ended.setdefault(exec_id, asyncio.Event())

    async def status_at_end(self, handle: Handle, ended: asyncio.Event, patience: float) -> RunStatus | None:
        """The status of a container that has ended; None if it is still running after `patience` seconds."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            ended.clear()  # before inspecting: an end that is reported from here on must not be missed
            status = await self.engine.inspect(handle)
            if status.state is not RunState.RUNNING:
                return status
            if asyncio.get_running_loop().time() >= deadline:
                return None
            await wait_for_event(ended, END_INTERVAL)

    def forget(self, exec_id: str) -> None:
        """Stop listening for the end of a run."""
        self._ended.pop(exec_id, None)
        self._deaths.pop(exec_id, None)

    def was_over(self, exec_id: str, finished_at: datetime, moment: float) -> bool:
        """Whether a run's container had certainly ended at some time; False if the engine has not reported its end.

        The engine's clock may differ considerably from ours, so it is only compared with itself: between the end and
        the arrival of the report, at least as much time has passed as the engine's clock shows.

        Args:
            exec_id: the run.
            finished_at: when the container ended, by the engine's clock.
            moment: the time to check, by the event loop's clock.
        """
        if exec_id not in self._deaths:
            return False
        told_at, heard = self._deaths[exec_id]
        return heard - (told_at - finished_at).total_seconds() <= moment

    async def time_of(self, moment: datetime) -> float:
        """When something happened, by the event loop's clock, that happened at a time of the engine's clock."""
        passed = await self.engine.now() - moment
        return asyncio.get_running_loop().time() - passed.total_seconds()

    async def ahead(self, clock: Clock) -> timedelta:
        """How far the engine's clock is ahead of ours; zero if the difference may be due to the call's duration."""
        asked = clock.now()
        theirs = await self.engine.now()
        answered = clock.now()
        return timedelta() if asked <= theirs <= answered else theirs - (asked + (answered - asked) / 2)

    async def monitor(
        self, on_up: Callable[[Region], Awaitable[None]], on_change: Callable[[], None]
    ) -> None:
        """Keep `up` consistent with the engine, until cancelled.

        Args:
            on_up: awaited every time the engine has begun to answer, before `up` is set.
            on_change: called whenever `up` has changed.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._circuit.seconds_to_probe(loop.time()))
            self._circuit.probe()
            try:
                async with await self._probed() as events:
                    self._tripped.clear()
                    self._circuit.close()
                    await on_up(self)
                    self._set_up()
                    on_change()
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._ping())
                        tasks.create_task(self._until_tripped())
                        async for event in events:
                            self._note(event)
                        raise EngineUnavailableError("The engine ended its event stream")
            except* EngineError as group:
                error = _first(group)
                if self._circuit.state is not CircuitState.OPEN:
                    self._circuit.open(loop.time(), str(error))
                self._set_down(error)
                self._guarded.give_up()
                on_change()

    async def _probed(self) -> EventStream:
        """The engine's event stream, after its profile and its capacity were read."""
        events = await self._in_time(self._prober.events())
        try:
            profile = await self._in_time(self._prober.profile())
            capacity = await self._in_time(self._prober.capacity())
        except BaseException:
            await events.aclose()
            raise
        is_other, self.profile = profile != self.profile, profile
        if is_other:
            self._tell_troubles(profile)
        self._capacity = Capacity(
            cpus=self.limits.cpus or capacity.cpus,
            memory_bytes=self.limits.memory_bytes or capacity.memory_bytes,
        )
        return events

    @property
    def troubles(self) -> list[Trouble]:
        """The known troubles of the engine; none before it has answered."""
        if self.profile is None:
            return []
        return troubles_of(self.profile, require_limits=self.limits.require_limits)

    def _tell_troubles(self, profile: EngineProfile) -> None:
        """Log what kind of engine has come up, and its known troubles."""
        log.info(
            "region.engine",
            region=self.name,
            engine=profile.description,
            log_driver=profile.log_driver,
            missing_limits=[str(limit) for limit in profile.missing_limits],
        )
        for trouble in self.troubles:
            event = "region.runs_refused" if trouble.refuses_runs else "region.engine_trouble"
            log.warning(
                event, region=self.name, trouble=trouble.name, problem=trouble.summary, remedy=trouble.remedy
            )

    async def _in_time(self, call: Awaitable[T]) -> T:
        """The result of a call that a healthy engine answers quickly."""
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                return await call
        except TimeoutError as error:
            raise EngineTimeoutError(
                "the engine hangs: it accepts connections, but did not answer within "
                f"{self.limits.answer_seconds:g} s"
            ) from error

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(min(PING_INTERVAL, self.limits.answer_seconds))
            await self._in_time(self._prober.ping())

    async def _until_tripped(self) -> None:
        await self._tripped.wait()
        raise EngineTimeoutError(self._circuit.reason or "The engine does not answer calls")

    async def until_silent(self) -> None:
        """Return when the engine does not answer, now or later."""
        if not self.up.is_set():
            return
        try:
            async with asyncio.timeout(KNOCK_LIMIT):
                await self._prober.ping()
        except (TimeoutError, EngineError):
            return
        await self._down.wait()

    def _note(self, event: EngineEvent) -> None:
        if event.kind in (EventKind.DIE, EventKind.DESTROY) and event.exec_id in self._ended:
            if event.kind is EventKind.DIE:
                self._deaths[event.exec_id] = event.at, asyncio.get_running_loop().time()
            self._ended[event.exec_id].set()

    def _set_up(self) -> None:
        self.problem = None
        self.up.set()
        self._down.clear()
        ENGINE_UP.labels(region=self.name).set(1)
        ENGINE_CIRCUIT_OPEN.labels(region=self.name).set(0)
        log.info(
            "region.up",
            region=self.name,
            cpus=self._capacity.cpus,
            memory_mib=self._capacity.memory_bytes >> 20,
        )

    def _set_down(self, error: BaseException) -> None:
        problem = str(error)
        if self.up.is_set() or self.problem != problem:
            log.warning("region.down", region=self.name, problem=problem)
        if self.up.is_set() and not isinstance(error, EngineTimeoutError):
            self.breaks += 1
        self.problem = problem
        self.up.clear()
        self._down.set()
        ENGINE_UP.labels(region=self.name).set(0)
        ENGINE_CIRCUIT_OPEN.labels(region=self.name).set(1)


def _first(group: BaseExceptionGroup[EngineError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
