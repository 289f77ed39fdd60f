"""The waiting runs of one region that are kept in memory: some of the first of each job.

They are a copy of the database, and are read again whenever something may have changed. The number of jobs and of
runs per job in memory is limited, however many are waiting.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.admission.choosing import FairShares
from scheduler.admission.explaining import Standing
from scheduler.admission.facts import Candidate, Holding, Lane, PolicyOf, RegionCapacity
from scheduler.store import queue
from scheduler.store.database import Database

#: Maximum number of jobs of one region in memory; more are read when fewer than half of these remain.
HELD: Final = 1_000
#: Number of runs of one job that are read at once if more than the first are needed.
DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class _QueueQuery:
    """What is to be read, and then the result."""

    everything: bool
    first: Collection[int]
    deep: Collection[int]
    looked_until: datetime | None
    now: datetime


@dataclass(slots=True)
class _Found:
    lanes: dict[int, Lane]
    is_partial: bool
    next_back_off: datetime | None
    foreign: dict[str, Holding] = field(default_factory=dict)


class WaitingRuns:
    """The waiting runs of one region.

    Args:
        region: its name.
        database: where runs are stored.
        instance: this daemon's id.

    Attributes:
        lanes: the runs in memory, by job.
        turns: admission's state of the region.
        blocked: the first runs of their namespace and priority that did not fit at the last decision.
    """

    def __init__(self, region: str, database: Database, instance: str) -> None:
        self._region = region
        self._database = database
        self._instance = instance
        self.lanes: dict[int, Lane] = {}
        self.turns = FairShares()
        self.blocked: dict[tuple[str, int], Candidate] = {}
        self._is_known = False
        self._is_partial = False
        self._unread: set[int] = set()
        self._withdrawn: set[str] = set()
        self._deepen = False
        self._looked_until: datetime | None = None
        self._next_back_off: datetime | None = None
        self._ahead: tuple[Counter[int], float] | None = None

    def __len__(self) -> int:
        """Number of runs in memory."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    # ---- changes -----------------------------------------------------------------------------------------

    def changed(self, job_id: int) -> None:
        """Notice new runs of a job, or a changed limit."""
        self._unread.add(job_id)
        if len(self._unread) > HELD:
            self.forget()

    def withdraw(self, exec_id: str) -> None:
        """Remove a run that was stopped."""
        self._withdrawn.add(exec_id)

    def forget(self) -> None:
        """Read everything again."""
        self._is_known = False
        self._unread.clear()

    def deepen(self) -> None:
        """Read more runs of the jobs that have few in memory."""
        self._deepen = True

    def took(self, runs: Iterable[Candidate]) -> None:
        """Remove runs that are no longer waiting, or have changed."""
        taken: dict[int, set[str]] = defaultdict(set)
        for run in runs:
            taken[run.job_id].add(run.id)
        for job_id, ids in taken.items():
            lane = self.lanes.get(job_id)
            if lane is None:
                continue
            left = [run for run in lane.waiting if run.id not in ids]
            self._put(job_id, Lane(lane.max_running, left, lane.is_complete))
        self._ahead = None

    def _put(self, job_id: int, lane: Lane | None) -> None:
        if lane is not None and lane.waiting:
            self.lanes[job_id] = lane
            return
        self.lanes.pop(job_id, None)
        if lane is not None and not lane.is_complete:
            self._unread.add(job_id)

    # ---- reading -----------------------------------------------------------------------------------------

    async def bring_up_to_date(self, now: datetime) -> dict[str, Holding] | None:
        """Read what has changed; returns the capacity that other daemons use, or None if nothing was read.

        Raises:
            UnavailableError: the database cannot be read; nothing is lost.
        """
        self._drop_withdrawn()
        if self._is_partial and len(self.lanes) < HELD // 2:
            self._is_known = False
        is_over = self._next_back_off is not None and self._next_back_off <= now
        deep = self._shallow() if self._deepen else []
        if self._is_known and not self._unread and not deep and not is_over:
            return None
        reading = _QueueQuery(not self._is_known, self._unread, deep, self._looked_until, now)
        # Before reading: changes in the meantime may come too late for it.
        self._is_known, self._unread, self._deepen = True, set(), False
        try:
            result = await self._database.read(lambda connection: self._read(connection, reading))
        except BaseException:
            self.forget()
            raise
        if reading.everything:
            self.lanes, self._is_partial = result.lanes, result.is_partial
        else:
            for job_id in {*reading.first, *reading.deep, *result.lanes}:
                self._put(job_id, result.lanes.get(job_id))
            if len(self.lanes) > 2 * HELD:
                self.lanes, self._is_partial = fair_part(self.lanes, HELD), True
        self._looked_until, self._next_back_off = now, result.next_back_off
        self._ahead = None
        return result.foreign

    def _read(self, connection: Connection, reading: _QueueQuery) -> _Found:
        region, now = self._region, reading.now
        deep: set[int] = set()
        if reading.everything:
            first: Collection[int] = queue.waiting_jobs(connection, region)
        else:
            deep = set(reading.deep)
            over = queue.ended_back_offs(connection, region, after=reading.looked_until, until=now)
            first = (set(reading.first) | set(over)) - deep
        if len(first) <= DEPTH:  # as many as one decision takes: reading more for each would cost more
            deep, first = deep | set(first), ()
        lanes = queue.first_lanes(connection, region, first, now=now)
        for job_id in deep:
            lane = queue.lane(connection, region, job_id, now=now, depth=DEPTH)
            if lane is not None:
                lanes[job_id] = lane
        is_partial = len(lanes) > HELD
        return _Found(
            fair_part(lanes, HELD) if is_partial else lanes,
            is_partial,
            queue.next_back_off(connection, region, now=now),
            queue.held_by_others(connection, self._instance),
        )

    def _drop_withdrawn(self) -> None:
        if self._withdrawn:
            gone, self._withdrawn = self._withdrawn, set()
            hit = [run for lane in self.lanes.values() for run in lane.waiting if run.id in gone]
            self.took(hit)
            self._unread |= {run.job_id for run in hit}

    def _shallow(self) -> list[int]:
        """The jobs that have more waiting runs than are in memory, those that are next first."""
        shallow = (
            (lane.waiting[0].key, job_id)
            for job_id, lane in self.lanes.items()
            if not lane.is_complete and not lane.waiting[0].is_alone and len(lane.waiting) < DEPTH // 2
        )
        return [*(job_id for _, job_id in heapq.nsmallest(DEPTH, shallow)), *list(self._unread)[:DEPTH]]

    def seconds_to_back_off(self, now: datetime) -> float | None:
        """Seconds until the next back-off ends; None if there is none."""
        if self._next_back_off is None:
            return None
        return max((self._next_back_off - now).total_seconds(), 0.0)

    # ---- explaining --------------------------------------------------------------------------------------

    def room_changed(self) -> None:
        """Runs have started or ended: the number of runs ahead must be counted again."""
        self._ahead = None

    def max_running(self, job_id: int) -> int | None:
        """The limit of a job with waiting runs; None also if it is not known."""
        lane = self.lanes.get(job_id)
        return None if lane is None else lane.max_running

    def around(self, run: Candidate, room: RegionCapacity, policy_of: PolicyOf) -> Standing:
        """The position of a waiting run."""
        if self._ahead is None:
            self._ahead = self._count(room, policy_of)
        counts, unread = self._ahead
        lane = self.lanes.get(run.job_id)
        return Standing(
            is_first=lane is None or lane.waiting[0].id == run.id,
            blocked=self.blocked.get((run.namespace, run.priority)),
            ahead=sum(count for priority, count in counts.items() if priority > run.priority),
            is_exact=unread <= run.priority,
        )

    def _count(self, room: RegionCapacity, policy_of: PolicyOf) -> tuple[Counter[int], float]:
        """How many runs of each priority wait only for capacity, and up to which priority there may be more."""
        counts: Counter[int] = Counter()
        unread = -math.inf if self._is_known and not self._is_partial else math.inf
        for lane in self.lanes.values():
            first = lane.waiting[0]
            if room.is_over_job_limit(first, lane.max_running) or room.is_over_namespace_limit(
                first.namespace, policy_of(first.namespace)
            ):
                continue
            free = None if lane.max_running is None else lane.max_running - room.of_job[first.job_id]
            able = lane.waiting[:1] if first.is_alone else lane.waiting[:free]
            counts.update(run.priority for run in able)
            if not (lane.is_complete or len(able) < len(lane.waiting) or first.is_alone):
                unread = max(unread, lane.waiting[-1].priority)
        return counts, unread


def fair_part(lanes: dict[int, Lane], most: int) -> dict[int, Lane]:
    """A limited number of the lanes: those of the highest priority, with an equal number of each namespace."""
    ranked = []
    places: Counter[tuple[str, int]] = Counter()
    for job_id, lane in sorted(lanes.items(), key=lambda item: item[1].waiting[0].key):
        first = lane.waiting[0]
        place = places[first.namespace, first.priority]
        places[first.namespace, first.priority] += 1
        ranked.append((-first.priority, place, first.created_at, job_id))
    return {entry[-1]: lanes[entry[-1]] for entry in heapq.nsmallest(most, ranked)}
