"""Starts waiting execs: asks admission which are next, takes them in the database, and hands them to the runner.

One loop owns all of its state. Offers, releases and engines coming up only wake it. Each region is apart, so that
none waits for another. Other daemons on the same database take execs too: what they hold is read, and counts.
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
from scheduler.running.decide import End, region_missing
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.running.tasks import wait_for_event
from scheduler.running.waiting import HELD, WaitingRuns
from scheduler.store import execs, identity, queue
from scheduler.store.database import Database

log = structlog.get_logger()

#: Execs taken in one transaction at most.
BATCH: Final = 32
#: Seconds before a refusal of the database is tried again, and between looks that nobody asked for: alone on the
#: database, and with other daemons beside this one.
RETRY_INTERVAL: Final = 0.5
BACKSTOP: Final = 30.0
PEER_INTERVAL: Final = 1.0


class Dispatcher:
    """Starts waiting execs.

    Args:
        database: where they are.
        clock: tells the time.
        regions: all regions by name.
        runner: looks after what was dispatched.
        instance: this daemon's id, which it takes execs as.
        policy_of: what each namespace is allowed.
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

    # ---- what others tell it -----------------------------------------------------------------------------

    def offer(self, new: Iterable[Exec]) -> None:
        """Take up execs that were stored as waiting."""
        for one in new:
            waiting = self._waiting.get(one.spec.region_name)
            if waiting is None:
                self._may_be_homeless = True
            else:
                waiting.changed(one.job_id)
        self._wake.set()

    def withdraw(self, exec_id: str) -> None:
        """Forget an exec that was stopped or deleted while it waited."""
        for waiting in self._waiting.values():
            waiting.withdraw(exec_id)
        self._wake.set()

    def job_changed(self, job_id: int) -> None:
        """Take note that a job may have another limit."""
        for waiting in self._waiting.values():
            if job_id in waiting.lanes:
                waiting.changed(job_id)
        self._wake.set()

    def released(self) -> None:
        """Take note that a run has given its capacity back."""
        self._room_changed()
        self._wake.set()

    def wake(self) -> None:
        """Look again, for an engine has come or gone."""
        self._room_changed()
        self._wake.set()

    def look_again(self) -> None:
        """Read anew what waits: something may have been stored that nobody told of."""
        self._may_be_homeless = True
        self._look_at_everything()
        self._wake.set()

    def note_peers(self, *, are_there: bool) -> None:
        """Take note whether other daemons use the database."""
        if are_there != self._has_peers:
            self._has_peers = are_there
            self.look_again()

    async def adopt(self, one: Exec) -> None:
        """Look after an exec that was dispatched before, by an earlier daemon.

        Raises:
            UnavailableError: its region is not configured any more, and the database cannot be told so.
        """
        region = self._regions.get(one.spec.region_name)
        if region is None:
            await self._fail(one, region_missing(one))
        elif not self._runner.looks_after(one.id):
            self._foreign.pop(one.id, None)
            self._launch(region, one, fresh=False)

    def reason(self, one: Exec) -> str:
        """What an exec waits for, for people: a phrase that begins with 'waits'."""
        region = self._regions.get(one.spec.region_name)
        if region is None:
            return f"waits for the region {one.spec.region_name} to be configured again"
        if not region.up.is_set():
            return f"waits for the engine of region {region.name} to answer: {region.problem}"
        if one.dispatched_at is not None or self._runner.looks_after(one.id):
            trouble = self._runner.trouble_of(one.id)
            after = f"; tried again after: {trouble}" if trouble else ""
            return f"waits for its image and its container to be ready{after}"
        if one.not_before is not None and one.not_before > self._clock.now():
            return f"waits for its back-off to end at {one.not_before.isoformat(timespec='seconds')}"
        waiting, candidate = self._waiting[region.name], queue.candidate_of(one)
        if region.name not in self._rooms:
            self._rooms[region.name] = self._room(region)
        room = self._rooms[region.name]
        return explain(
            candidate,
            room,
            waiting.around(candidate, room, self._policy_of),
            max_running=waiting.max_running(one.job_id),
            policy=self._policy_of(one.namespace),
            turns=waiting.turns,
        )

    def _room(self, region: Region) -> RegionCapacity:
        """What the region has and what is held of it, by this daemon's runs and by others'."""
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
                # Nobody said anything for long: look whether somebody should have.
                self._look_at_everything()
            self._wake.clear()

    def _look_at_everything(self) -> None:
        for waiting in self._waiting.values():
            waiting.forget()

    async def _pass(self) -> float:
        """Start what can start; answer after how many seconds to look again at the latest."""
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
        """Start what a region can take."""
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
        """Take execs in the database, as far as they still fit beside what other daemons have taken."""
        now = self._clock.now()
        limits = {one.job_id: waiting.max_running(one.job_id) for one in chosen}
        own = {key: held for other in self._regions.values() for key, held in other.holdings.items()}
        capacity = region.capacity

        def work(connection: Connection) -> tuple[dict[str, Exec], dict[str, Holding]]:
            queue.lock(connection)
            if not identity.is_alive(connection, self._instance, now=self._clock.now()):
                return {}, queue.held_by_others(connection, self._instance)
            foreign = queue.held_by_others(connection, self._instance)
            # All that is dispatched: what is this daemon's without its knowing holds capacity too.
            held = queue.held_by_others(connection, "") | own
            room = RegionCapacity(region.name, capacity.cpus, capacity.memory_bytes, held.values())
            admitted = []
            for one in chosen:
                policy = self._policy_of(one.namespace)
                if (
                    room.fits(one)
                    and not room.is_over_job_limit(one, limits[one.job_id])
                    and not room.is_over_namespace_limit(one.namespace, policy)
                    and (not one.is_alone or queue.is_first(connection, region.name, one))
                ):
                    room.take(one)
                    admitted.append(one.id)
            taken = queue.dispatch(connection, admitted, owner=self._instance, now=now)
            point(Point.DISPATCHING)
            return taken, foreign

        taken, foreign = await self._database.write(work)
        point(Point.DISPATCHED)
        for one in chosen:
            if one.id in taken:
                self._launch(region, taken[one.id], fresh=True)
            else:
                # It was stopped, deleted or taken by another daemon, or another daemon was quicker with the room.
                waiting.changed(one.job_id)
        waiting.took(chosen)
        self._note_foreign(foreign)
        self._room_changed()

    def _launch(self, region: Region, one: Exec, *, fresh: bool) -> None:
        region.reserve(one.id, queue.holding_of(one))
        self._room_changed()
        self._runner.launch(one, fresh=fresh)

    # ---- what can never start ----------------------------------------------------------------------------

    async def _fail_homeless(self) -> None:
        """End execs of regions that are not configured any more."""
        found = await self._database.read(
            lambda connection: queue.of_unknown_regions(connection, self._regions.keys(), limit=HELD)
        )
        for one in found:
            await self._fail(one, region_missing(one))
        self._may_be_homeless = len(found) == HELD

    async def _fail_hopeless(self, some: list[Candidate], region: Region, waiting: WaitingRuns) -> None:
        """End execs that are larger than their whole region."""
        for candidate in some:
            one = await self._database.read(partial(execs.get, exec_id=candidate.id))
            if one is not None and one.ended_at is None and one.dispatched_at is None:
                await self._fail(one, _too_large(one, region))
        waiting.took(some)

    async def _fail(self, one: Exec, end: End) -> None:
        """End an exec that can never start, or whose engine nobody knows any more."""
        now = self._clock.now()

        def work(connection: Connection) -> None:
            execs.change_status(
                connection,
                one.id,
                one.status,
                end.status,
                owner=one.owner,
                ended_at=max(now, one.started_at or now),
                fail_reason=end.fail_reason,
                error=end.error,
            )

        await self._database.write(work)
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
