"""The queue: which waiting exec starts next, where capacity allows it.

One loop owns all of its state. Offers, releases and engines coming up only wake it. What could start is held in
memory, for each region apart, so that none waits for another; the rest (back-offs, runs behind an earlier one
of their job, whatever is too many) stays in the database and is read when its time has come. Within a region,
first come is first served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.clock import Clock
from scheduler.errors import UnavailableError
from scheduler.execution import Exec, ExecStatus, FailReason
from scheduler.faults import Point, point
from scheduler.job import ONE_AT_A_TIME
from scheduler.metrics import WAITING
from scheduler.running.decide import End, region_missing
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.running.tasks import wait_for_event
from scheduler.store import execs
from scheduler.store.database import Database

log = structlog.get_logger()

#: Execs of one region held in memory at most; further ones are read when these are fewer than half.
HELD: Final = 1_000
#: Execs taken in one transaction at most.
BATCH: Final = 32
#: Seconds before a refusal of the database is tried again, and between looks that nobody asked for.
RETRY_INTERVAL: Final = 0.5
BACKSTOP: Final = 30.0


@dataclass(slots=True)
class _Queue:
    """The waiting execs of one region, as far as they are held.

    Attributes:
        held: those that could start, oldest first, by id.
        has_more: whether the database may have others that could start.
        look_at: when a back-off ends that was seen in the database.
    """

    held: dict[str, Exec] = field(default_factory=dict)
    has_more: bool = True
    look_at: datetime | None = None


class Dispatcher:
    """Starts waiting execs.

    Args:
        database: where they are.
        clock: tells the time.
        regions: all regions by name.
        runner: looks after what was dispatched.
        instance: this daemon's id, which it takes execs as.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        regions: Mapping[str, Region],
        runner: Runner,
        *,
        instance: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._regions = regions
        self._runner = runner
        self._instance = instance
        self._queues = {name: _Queue() for name in regions}
        self._may_be_homeless = True
        self._wake = asyncio.Event()

    # ---- what others tell it -----------------------------------------------------------------------------

    def offer(self, new: Iterable[Exec]) -> None:
        """Take up execs that were stored as waiting."""
        now = self._clock.now()
        for one in new:
            queue = self._queues.get(one.spec.region_name)
            if queue is None:
                self._may_be_homeless = True
                continue
            is_behind = one.spec.concurrency_policy in ONE_AT_A_TIME
            is_later = one.not_before is not None and one.not_before > now
            if queue.has_more or is_behind or is_later or len(queue.held) >= HELD:
                queue.has_more = True  # the database knows its turn
            else:
                queue.held[one.id] = one
        self._wake.set()

    def withdraw(self, exec_id: str) -> None:
        """Forget an exec that was stopped or deleted while it waited."""
        for queue in self._queues.values():
            queue.held.pop(exec_id, None)
            queue.has_more = True  # it may have been the one that another waited for
        self._wake.set()

    def released(self, one: Exec) -> None:
        """Take note that a run has given its capacity back."""
        if one.spec.concurrency_policy in ONE_AT_A_TIME:
            self._queues[one.spec.region_name].has_more = True
        self._wake.set()

    def wake(self) -> None:
        """Look again, for an engine has come or gone."""
        self._wake.set()

    def look_again(self) -> None:
        """Read anew what waits: something may have been stored that nobody told of."""
        self._may_be_homeless = True
        for queue in self._queues.values():
            queue.has_more = True
        self._wake.set()

    async def adopt(self, one: Exec) -> None:
        """Look after an exec that was dispatched before, by an earlier daemon.

        Raises:
            UnavailableError: its region is not configured any more, and the database cannot be told so.
        """
        region = self._regions.get(one.spec.region_name)
        if region is None:
            await self._fail(one, region_missing(one))
        elif not self._runner.looks_after(one.id):
            region.reserve(one.id, one.spec)
            self._runner.launch(one, fresh=False)

    def reason(self, one: Exec) -> str:
        """What an exec waits for, for people."""
        region = self._regions.get(one.spec.region_name)
        if region is None:
            return f"the region {one.spec.region_name} to be configured again"
        if not region.up.is_set():
            return f"the engine of region {region.name} to answer: {region.problem}"
        if one.dispatched_at is not None or self._runner.looks_after(one.id):
            trouble = self._runner.trouble_of(one.id)
            return f"its image and its container to be ready{f'; tried again after: {trouble}' if trouble else ''}"
        if one.not_before is not None and one.not_before > self._clock.now():
            return f"its back-off to end at {one.not_before.isoformat(timespec='seconds')}"
        is_held = one.id in self._queues[region.name].held
        if one.spec.concurrency_policy in ONE_AT_A_TIME and not is_held:
            return "the job's earlier run to end"
        return region.shortage(one.spec)

    # ---- the loop ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            try:
                pause = await self._pass()
            except UnavailableError as error:
                log.debug("dispatcher.database_unavailable", error=str(error))
                for queue in self._queues.values():
                    queue.has_more = True
                pause = RETRY_INTERVAL
            if not await wait_for_event(self._wake, pause) and pause == BACKSTOP:
                # Nobody said anything for long: look whether somebody should have.
                for queue in self._queues.values():
                    queue.has_more = True
            self._wake.clear()

    async def _pass(self) -> float:
        """Start what can start; answer after how many seconds to look again at the latest."""
        if self._may_be_homeless:
            await self._fail_homeless()
        pause = BACKSTOP
        for name, queue in self._queues.items():
            region = self._regions[name]
            if region.up.is_set():
                pause = min(pause, await self._serve(region, queue))
            WAITING.labels(region=name).set(len(queue.held))
        return pause

    async def _serve(self, region: Region, queue: _Queue) -> float:
        """Start what a region can take; answer after how many seconds its next back-off ends."""
        while True:
            now = self._clock.now()
            if queue.look_at is not None and queue.look_at <= now:
                queue.has_more, queue.look_at = True, None  # the next reading says when the one after ends
            if queue.has_more and len(queue.held) < HELD // 2:
                await self._read(region.name, queue, now)
            chosen, hopeless = self._choose(region, queue)
            for one in hopeless:
                await self._fail(one, _too_large(one, region))
            if chosen:
                await self._dispatch(chosen)
            elif not hopeless:
                break
        if queue.look_at is None:
            return BACKSTOP
        return min(max((queue.look_at - self._clock.now()).total_seconds(), 0), BACKSTOP)

    async def _read(self, region: str, queue: _Queue, now: datetime) -> None:
        def work(connection: Connection) -> tuple[list[Exec], datetime | None]:
            found = execs.startable(connection, region, now=now, limit=HELD)
            return found, execs.next_back_off(connection, region, now=now)

        queue.has_more = False  # before reading: what is offered meanwhile may come too late for it
        found, queue.look_at = await self._database.read(work)
        queue.has_more = queue.has_more or len(found) == HELD
        for one in found:
            if not self._runner.looks_after(one.id):
                queue.held.setdefault(one.id, one)

    def _choose(self, region: Region, queue: _Queue) -> tuple[list[Exec], list[Exec]]:
        """Reserve capacity for those that can start now, in order; also those that never can."""
        chosen: list[Exec] = []
        hopeless: list[Exec] = []
        for one in queue.held.values():
            if len(chosen) >= BATCH:
                break
            if not region.fits_at_all(one.spec):
                hopeless.append(one)
                continue
            if not region.fits_now(one.spec):
                break
            region.reserve(one.id, one.spec)
            chosen.append(one)
        return chosen, hopeless

    async def _fail_homeless(self) -> None:
        """End execs of regions that are not configured any more."""
        found = await self._database.read(
            lambda connection: execs.of_unknown_regions(connection, self._regions.keys(), limit=HELD)
        )
        for one in found:
            await self._fail(one, region_missing(one))
        self._may_be_homeless = len(found) == HELD

    async def _dispatch(self, chosen: list[Exec]) -> None:
        now = self._clock.now()
        ids = [one.id for one in chosen]
        taken: set[str] = set()

        def take(connection: Connection) -> set[str]:
            found = execs.dispatch(connection, ids, owner=self._instance, now=now)
            point(Point.DISPATCHING)
            return found

        try:
            taken = await self._database.write(take)
            point(Point.DISPATCHED)
            for one in chosen:
                # What is not ours any more was stopped, deleted or taken by another daemon.
                self._queues[one.spec.region_name].held.pop(one.id, None)
        finally:
            for one in chosen:
                if one.id not in taken:
                    self._regions[one.spec.region_name].release(one.id)
                    self.released(one)
        for one in chosen:
            if one.id in taken:
                self._runner.launch(replace(one, owner=self._instance, dispatched_at=now), fresh=True)

    async def _fail(self, one: Exec, end: End) -> None:
        """End an exec that can never start, or whose engine nobody knows any more."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            execs.change_status(
                connection,
                one.id,
                one.status,
                end.status,
                ended_at=max(now, one.started_at or now),
                fail_reason=end.fail_reason,
                error=end.error,
            )

        await self._database.write(work)
        if (queue := self._queues.get(one.spec.region_name)) is not None:
            queue.held.pop(one.id, None)
        log.info("run.ended", exec=one.id, job=one.job_id, status="failed", reason=end.fail_reason)


def _too_large(one: Exec, region: Region) -> End:
    return End(
        ExecStatus.FAILED,
        fail_reason=FailReason.NO_CAPACITY,
        error=(
            f"Its size {one.spec.resource_size} reserves {one.spec.cpus:g} CPU and "
            f"{one.spec.memory_bytes >> 20} MiB; region {region.name} has {region.capacity.cpus:g} CPU and "
            f"{region.capacity.memory_bytes >> 20} MiB in all. Choose a smaller resource_size."
        ),
    )
