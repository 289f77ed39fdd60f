"""Starts waiting runs: asks admission which are next, takes them in the database, and passes them to the runner.

A single loop owns all of the state. Offers, releases and engines that come up only wake it. Regions are independent,
so that none waits for another. Other daemons on the same database take runs too; their runs are read and count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.admission.choosing import choose
from scheduler.admission.explaining import explain
from scheduler.admission.facts import Candidate, Holding, PolicyOf, RegionCapacity
from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.process.faults import Point, point
from scheduler.process.metrics import WAITING
from scheduler.running.decisions import End, region_missing
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.running.tasks import wait_for_event
from scheduler.running.waiting import HELD, WaitingRuns
from scheduler.store import execs, identity, queue
from scheduler.store.database import Database

log = structlog.get_logger()

#: Maximum number of runs taken in one transaction.
BATCH: Final = 32
#: Seconds before a retry after a database error, and between checks without a wake-up: if this is the only daemon on
#: the database, and if there are others.
RETRY_INTERVAL: Final = 0.5
BACKSTOP: Final = 30.0
PEER_INTERVAL: Final = 1.0


class Dispatcher:
    """Starts waiting runs.

    Args:
        database: where runs are stored.
        clock: the source of the current time.
        regions: all regions by name.
        runner: manages dispatched runs.
        instance: this daemon's id, which becomes the owner of the runs.
        policy_of: returns a namespace's limits.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        regions: Mapping[str, Region],
        runner: Runner,
        *,
        instance: str,
        policy_of: PolicyOf,
    ) -> None:
        self._database = database
        self._clock = clock
        self._regions = regions
        self._runner = runner
        self._instance = instance
        self._policy_of = policy_of
        self._waiting = {name: WaitingRuns(name, database, instance) for name in regions}
        self._foreign: dict[str, Holding] = {}
        self._rooms: dict[str, RegionCapacity] = {}
        self._has_peers = False
        self._may_be_homeless = True
        self._wake = asyncio.Event()

    # ---- notifications -----------------------------------------------------------------------------------

    def offer(self, new: Iterable[Exec]) -> None:
        """Take over runs that were stored as waiting."""
        for run in new:
            waiting = self._waiting.get(run.spec.region_name)
            if waiting is None:
                self._may_be_homeless = True
            else:
                waiting.changed(run.job_id)
        self._wake.set()

    def withdraw(self, exec_id: str) -> None:
        """Forget a run that was stopped or deleted while it was waiting."""
        for waiting in self._waiting.values():
            waiting.withdraw(exec_id)
        self._wake.set()

    def job_changed(self, job_id: int) -> None:
        """Notice that a job's limit may have changed."""
        for waiting in self._waiting.values():
            if job_id in waiting.lanes:
                waiting.changed(job_id)
        self._wake.set()

    def released(self) -> None:
        """Notice that a run has released its capacity."""
        self._room_changed()
        self._wake.set()

    def wake(self) -> None:
        """Check again, because an engine has come up or gone down."""
        self._room_changed()
        self._wake.set()

    def look_again(self) -> None:
        """Read the waiting runs again: something may have been stored without a notification."""
        self._may_be_homeless = True
        self._look_at_everything()
        self._wake.set()

    def note_peers(self, *, are_there: bool) -> None:
        """Notice whether other daemons use the database."""
        if are_there != self._has_peers:
            self._has_peers = are_there
            self.look_again()

    async def adopt(self, run: Exec, *, is_own: bool = False) -> None:
        """Take over a run that an earlier daemon dispatched.

        Args:
            run: the run.
            is_own: whether an earlier process of this daemon managed it, which has certainly ended; another daemon
                may only be frozen.

        Raises:
            UnavailableError: its region is not configured any more, and the database failed.
        """
        region = self._regions.get(run.spec.region_name)
        if region is None:
            await self._fail(run, region_missing(run))
        elif not self._runner.looks_after(run.id):
            self._foreign.pop(run.id, None)
            self._launch(region, run, fresh=False, is_own=is_own)

    def reason(self, run: Exec) -> str:
        """What a run is waiting for, for people: a phrase that begins with 'waits'."""
        region = self._regions.get(run.spec.region_name)
        if region is None:
            return f"waits for region {run.spec.region_name} to be configured again"
        if not region.up.is_set():
            return f"waits for the engine of region {region.name} to answer: {region.problem}"
        if run.dispatched_at is not None or self._runner.looks_after(run.id):
            trouble = self._runner.trouble_of(run.id)
            after = f"; retrying after an error: {trouble}" if trouble else ""
            return f"waits for its image and its container to be ready{after}"
        if run.not_before is not None and run.not_before > self._clock.now():
            return f"waits for its back-off to end at {run.not_before.isoformat(timespec='seconds')}"
        waiting, candidate = self._waiting[region.name], queue.candidate_of(run)
        if region.name not in self._rooms:
            self._rooms[region.name] = self._room(region)
        room = self._rooms[region.name]
        return explain(
            candidate,
            room,
            waiting.around(candidate, room, self._policy_of),
            max_running=waiting.max_running(run.job_id),
            policy=self._policy_of(run.namespace),
            turns=waiting.turns,
        )

    def _room(self, region: Region) -> RegionCapacity:
        """The region's capacity and its use by the runs of this daemon and of others."""
        held = dict(self._foreign)
        for other in self._regions.values():
            held |= other.holdings
        return RegionCapacity(region.name, region.capacity.cpus, region.capacity.memory_bytes, held.values())

    def _room_changed(self) -> None:
        self._rooms.clear()
        for waiting in self._waiting.values():
            waiting.room_changed()

    # ---- the loop ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            try:
                pause = await self._pass()
            except UnavailableError as error:
                log.debug("dispatcher.database_unavailable", error=str(error))
                self._look_at_everything()
                pause = RETRY_INTERVAL
            rest = PEER_INTERVAL if self._has_peers else BACKSTOP
            if not await wait_for_event(self._wake, min(pause, rest)) and pause >= rest:
                # There was no notification for a long time: check whether one was missed.
                self._look_at_everything()
            self._wake.clear()

    def _look_at_everything(self) -> None:
        for waiting in self._waiting.values():
            waiting.forget()

    async def _pass(self) -> float:
        """Start what can start; returns the seconds until the next check at the latest."""
        if self._may_be_homeless:
            await self._fail_homeless()
        pause = BACKSTOP
        for name, waiting in self._waiting.items():
            region = self._regions.get(name)
            if region is not None and region.up.is_set():
                await self._serve(region, waiting)
                next_back_off = waiting.seconds_to_back_off(self._clock.now())
                pause = pause if next_back_off is None else min(pause, next_back_off)
            WAITING.labels(region=name).set(len(waiting))
        return pause

    async def _serve(self, region: Region, waiting: WaitingRuns) -> None:
        """Start the runs that fit into a region."""
        while True:
            now = self._clock.now()
            foreign = await waiting.bring_up_to_date(now)
            if foreign is not None:
                self._note_foreign(foreign)
            room = self._room(region)
            choice = choose(
                waiting.lanes, room, waiting.turns, policy_of=self._policy_of, now=now, most=BATCH
            )
            waiting.blocked = choice.blocked
            if choice.is_thirsty:
                waiting.deepen()
            await self._fail_hopeless(choice.hopeless, region, waiting)
            if choice.chosen:
                await self._dispatch(region, waiting, choice.chosen)
            elif not choice.hopeless:
                return

    def _note_foreign(self, foreign: dict[str, Holding]) -> None:
        if foreign != self._foreign:
            self._foreign = foreign
            self._room_changed()

    async def _dispatch(self, region: Region, waiting: WaitingRuns, chosen: list[Candidate]) -> None:
        """Take runs in the database, if they still fit next to what other daemons have taken."""
        now = self._clock.now()
        limits = {run.job_id: waiting.max_running(run.job_id) for run in chosen}
        own = {key: held for other in self._regions.values() for key, held in other.holdings.items()}
        capacity = region.capacity

        def work(connection: Connection) -> tuple[dict[str, Exec], dict[str, Holding]]:
            queue.lock(connection)
            if not identity.is_alive(connection, self._instance, now=self._clock.now()):
                # Others may have taken its runs. The lease is renewed as soon as the database answers.
                raise UnavailableError("The lease of this daemon has expired")
            foreign = queue.held_by_others(connection, self._instance)
            # All dispatched runs: this daemon's own runs that it does not know about use capacity too.
            held = queue.held_by_others(connection, "") | own
            room = RegionCapacity(region.name, capacity.cpus, capacity.memory_bytes, held.values())
            admitted = []
            for run in chosen:
                policy = self._policy_of(run.namespace)
                if (
                    room.fits(run)
                    and not room.is_over_job_limit(run, limits[run.job_id])
                    and not room.is_over_namespace_limit(run.namespace, policy)
                    and (not run.is_alone or queue.is_first(connection, region.name, run))
                ):
                    room.take(run)
                    admitted.append(run.id)
            taken = queue.dispatch(connection, admitted, owner=self._instance, now=now)
            point(Point.DISPATCHING)
            return taken, foreign

        taken, foreign = await self._database.write(work)
        point(Point.DISPATCHED)
        for run in chosen:
            if run.id in taken:
                self._launch(region, taken[run.id], fresh=True)
            else:
                # It was stopped, deleted or taken by another daemon, or another daemon used the capacity first.
                waiting.changed(run.job_id)
        waiting.took(chosen)
        self._note_foreign(foreign)
        self._room_changed()

    def _launch(self, region: Region, run: Exec, *, fresh: bool, is_own: bool = False) -> None:
        region.reserve(run.id, queue.holding_of(run))
        self._room_changed()
        self._runner.launch(run, fresh=fresh, is_own=is_own)

    # ---- runs that can never start -----------------------------------------------------------------------

    async def _fail_homeless(self) -> None:
        """End runs of regions that are not configured any more."""
        homeless = await self._database.read(
            lambda connection: queue.of_unknown_regions(connection, self._regions.keys(), limit=HELD)
        )
        for run in homeless:
            await self._fail(run, region_missing(run))
        self._may_be_homeless = len(homeless) == HELD

    async def _fail_hopeless(self, hopeless: list[Candidate], region: Region, waiting: WaitingRuns) -> None:
        """End runs that are larger than their whole region."""
        for candidate in hopeless:
            run = await self._database.read(partial(execs.get, exec_id=candidate.id))
            if run is not None and run.ended_at is None and run.dispatched_at is None:
                await self._fail(run, _too_large(run, region))
        waiting.took(hopeless)

    async def _fail(self, run: Exec, end: End) -> None:
        """End a run that can never start, or whose engine is not known any more."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            execs.change_status(
                connection,
                run.id,
                run.status,
                end.status,
                owner=run.owner,
                ended_at=max(now, run.started_at or now),
                fail_reason=end.fail_reason,
                error=end.error,
            )

        await self._database.write(work)
        log.info("run.ended", exec=run.id, job=run.job_id, status="failed", reason=end.fail_reason)


def _too_large(run: Exec, region: Region) -> End:
    return End(
        ExecStatus.FAILED,
        fail_reason=FailReason.NO_CAPACITY,
        error=(
            f"Size {run.spec.resource_size} requires {run.spec.cpus:g} CPU and "
            f"{run.spec.memory_bytes >> 20} MiB, but region {region.name} has only {region.capacity.cpus:g} CPU and "
            f"{region.capacity.memory_bytes >> 20} MiB in total. Choose a smaller resource_size."
        ),
    )
