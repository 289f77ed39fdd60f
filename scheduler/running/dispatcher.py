"""The queue: which waiting exec starts next, where capacity allows it.

One loop owns all of its state. Offers, releases and engines coming up only wake it; what does not fit into
memory stays in the database and is read when there is room. Within a region, first come is first served.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.clock import Clock
from scheduler.errors import UnavailableError
from scheduler.execution import Exec, ExecStatus, FailReason
from scheduler.job import ConcurrencyPolicy
from scheduler.metrics import WAITING
from scheduler.running.decide import End, region_missing
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.running.tasks import wait_for_event
from scheduler.store import execs
from scheduler.store.database import Database

log = structlog.get_logger()

#: Waiting execs held in memory at most; further ones are read from the database when these are fewer than half.
HELD: Final = 2_000
#: Execs taken in one transaction at most.
BATCH: Final = 32
#: Seconds before a refusal of the database is tried again, and between looks that nobody asked for.
RETRY_INTERVAL: Final = 0.5
BACKSTOP: Final = 30.0

#: Runs of such a job start one after the other.
ONE_AT_A_TIME: Final = frozenset({ConcurrencyPolicy.QUEUE, ConcurrencyPolicy.REPLACE})


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
        self._waiting: dict[str, Exec] = {}
        self._busy: Counter[int] = Counter()
        self._more_stored = True
        self._wake = asyncio.Event()

    # ---- what others tell it -----------------------------------------------------------------------------

    def offer(self, new: Iterable[Exec]) -> None:
        """Take up execs that were stored as waiting."""
        for one in new:
            if len(self._waiting) >= HELD:
                self._more_stored = True
                break
            self._waiting[one.id] = one
        self._wake.set()

    def withdraw(self, exec_id: str) -> None:
        """Forget an exec that was stopped or deleted while it waited."""
        self._waiting.pop(exec_id, None)
        self._wake.set()

    def released(self, one: Exec) -> None:
        """Take note that a run has given its capacity back."""
        if self._busy[one.job_id] <= 1:
            del self._busy[one.job_id]
        else:
            self._busy[one.job_id] -= 1
        self._wake.set()

    def wake(self) -> None:
        """Look again, for an engine has come or gone."""
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
            self._hold(one, region)
            self._runner.launch(one, fresh=False)

    def reason(self, one: Exec) -> str:
        """What an exec waits for, for people."""
        region = self._regions.get(one.spec.region_name)
        if region is None:
            return f"the region {one.spec.region_name} to be configured again"
        if not region.up.is_set():
            return f"the engine of region {region.name} to answer: {region.problem}"
        if one.dispatched_at is not None or self._runner.looks_after(one.id):
            return "its image and its container to be ready"
        if one.not_before is not None and one.not_before > self._clock.now():
            return f"its back-off to end at {one.not_before.isoformat(timespec='seconds')}"
        if one.spec.concurrency_policy in ONE_AT_A_TIME and self._busy[one.job_id]:
            return "the job's earlier run to end"
        return region.shortage(one.spec)

    # ---- the loop ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            try:
                pause = await self._pass()
            except UnavailableError as error:
                log.warning("dispatcher.database_unavailable", error=str(error))
                pause = RETRY_INTERVAL
            await wait_for_event(self._wake, pause)
            self._wake.clear()

    async def _pass(self) -> float:
        """Start what can start; answer after how many seconds to look again at the latest."""
        if self._more_stored and len(self._waiting) < HELD // 2:
            await self._read_stored()
        while True:
            chosen, hopeless, pause = self._choose(self._clock.now())
            for one, end in hopeless:
                await self._fail(one, end)
            if not chosen:
                break
            await self._dispatch(chosen)
        counts = Counter(one.spec.region_name for one in self._waiting.values())
        for name in self._regions:
            WAITING.labels(region=name).set(counts[name])
        return pause

    async def _read_stored(self) -> None:
        found = await self._database.read(lambda connection: execs.waiting(connection, limit=HELD))
        self._more_stored = len(found) == HELD
        for one in found:
            if not self._runner.looks_after(one.id):
                self._waiting.setdefault(one.id, one)

    def _choose(self, now: datetime) -> tuple[list[Exec], list[tuple[Exec, End]], float]:
        """Reserve capacity for those that can start now; also those that never can, and when to look again."""
        chosen: list[Exec] = []
        hopeless: list[tuple[Exec, End]] = []
        full: set[str] = set()
        turns = Counter(self._busy)
        pause = BACKSTOP
        for one in self._waiting.values():
            if len(chosen) >= BATCH or len(full) == len(self._regions):
                break
            region = self._regions.get(one.spec.region_name)
            if region is None:
                hopeless.append((one, region_missing(one)))
                continue
            if region.name in full:
                continue
            if not region.up.is_set():
                full.add(region.name)
                continue
            if one.not_before is not None and one.not_before > now:
                pause = min(pause, (one.not_before - now).total_seconds())
                continue
            if one.spec.concurrency_policy in ONE_AT_A_TIME and turns[one.job_id]:
                continue
            if not region.fits_at_all(one.spec):
                hopeless.append((one, _too_large(one, region)))
                continue
            if not region.fits_now(one.spec):
                full.add(region.name)
                continue
            turns[one.job_id] += 1
            self._hold(one, region)
            chosen.append(one)
        return chosen, hopeless, pause

    def _hold(self, one: Exec, region: Region) -> None:
        region.reserve(one.id, one.spec)
        self._busy[one.job_id] += 1

    async def _dispatch(self, chosen: list[Exec]) -> None:
        now = self._clock.now()
        ids = [one.id for one in chosen]
        taken: set[str] = set()
        try:
            taken = await self._database.write(
                lambda connection: execs.dispatch(connection, ids, owner=self._instance, now=now)
            )
            for one in chosen:
                # What is not ours any more was stopped, deleted or taken by another daemon.
                self._waiting.pop(one.id, None)
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
        self._waiting.pop(one.id, None)
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
