"""Which waiting runs start next.

Pure: facts in, decisions out. Higher priority goes first; with equal priority, the namespace that uses least of the
region relative to its weight; within a namespace and priority, first come, first served. Runs over a limit of their
job or namespace are skipped. A run that does not fit into the free capacity may be overtaken by a limited number of
others and then blocks the region until it fits; see `docs/decisions/0009-who-starts-next.md`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from scheduler.admission.facts import Candidate, Lane, PolicyOf, RegionCapacity

#: Number of runs that may start before a run that is next but does not fit; after that, nothing of its priority or
#: a lower one starts in its region until it does.
MOST_OVERTAKING: Final = 10


@dataclass(slots=True)
class FairShares:
    """The state of a region that is kept between decisions.

    Attributes:
        clock: the tag of the namespace that was served last.
        tags: the tag of each namespace; of namespaces that use equally little, the one with the lowest tag goes
            first.
        overtaken: how many runs have started before a run that was next but did not fit, by its id.
        holder: the run that was overtaken too often and now blocks the region; None if there is none.
    """

    clock: float = 0.0
    tags: dict[str, float] = field(default_factory=dict)
    overtaken: dict[str, int] = field(default_factory=dict)
    holder: Candidate | None = None

    def tag(self, namespace: str) -> float:
        """The tag of a namespace; an idle namespace accumulates no credit."""
        return max(self.tags.get(namespace, 0.0), self.clock)

    def serve(self, namespace: str, cost: float) -> None:
        """Record that a run of a namespace starts, at a cost."""
        self.clock = self.tag(namespace)
        self.tags[namespace] = self.clock + cost
        self.tags = {name: tag for name, tag in self.tags.items() if tag > self.clock}


@dataclass(slots=True)
class Choice:
    """The result of a decision.

    Attributes:
        chosen: the runs that start now, in order.
        hopeless: runs that are larger than the whole region.
        blocked: the first run of each namespace and priority that does not fit.
        is_thirsty: whether all loaded runs of a job were used although it has more waiting.
    """

    chosen: list[Candidate] = field(default_factory=list)
    hopeless: list[Candidate] = field(default_factory=list)
    blocked: dict[tuple[str, int], Candidate] = field(default_factory=dict)
    is_thirsty: bool = False


def head(lane: Lane, now: datetime, start: int = 0) -> int | None:
    """The index of the job's next run whose back-off is over, from `start` on; None if there is none.

    A job whose runs execute one at a time waits for the back-off of its first run.
    """
    for index in range(start, len(lane.waiting)):
        run = lane.waiting[index]
        if run.not_before is None or run.not_before <= now:
            return index
        if run.is_alone:
            return None
    return None


def choose(
    lanes: Mapping[int, Lane],
    room: RegionCapacity,
    turns: FairShares,
    *,
    policy_of: PolicyOf,
    now: datetime,
    most: int,
) -> Choice:
    """Decide which runs of a region start now.

    Args:
        lanes: the waiting runs of the region, by job.
        room: the region's capacity, from which the chosen runs are deducted.
        turns: the region's state, which is updated.
        policy_of: returns a namespace's limits.
        now: the current time (UTC).
        most: maximum number of runs to choose.
    """
    return _Selection(lanes, room, turns, policy_of, now).make(most)


class _Selection:
    """One choice of runs from the queues for a region, of which there is one per priority and namespace."""

    def __init__(
        self,
        lanes: Mapping[int, Lane],
        room: RegionCapacity,
        turns: FairShares,
        policy_of: PolicyOf,
        now: datetime,
    ) -> None:
        self._lanes, self._room, self._turns = lanes, room, turns
        self._policy_of, self._now = policy_of, now
        self._choice = Choice()
        # By priority, then by namespace: a heap of (creation time, run id, job id, index in the lane).
        self._lines: dict[int, dict[str, list[tuple[datetime, str, int, int]]]] = {}
        for job_id in lanes:
            self._enter(job_id, 0)

    def _enter(self, job_id: int, start: int) -> None:
        """Queue the next run of a job, unless it is over a limit."""
        lane = self._lanes[job_id]
        if start and self._room.is_over_job_limit(lane.waiting[start - 1], lane.max_running):
            return
        index = head(lane, self._now, start)
        if index is None:
            if start and not lane.is_complete:
                self._choice.is_thirsty = True
            return
        run = lane.waiting[index]
        if self._room.is_over_job_limit(run, lane.max_running):
            return
        line = self._lines.setdefault(run.priority, {}).setdefault(run.namespace, [])
        heapq.heappush(line, (run.created_at, run.id, job_id, index))

    def make(self, most: int) -> Choice:
        choice = self._choice
        self._keep_turns()
        if self._turns.holder is not None and not self._is_in_turn(self._turns.holder):
            self._turns.holder = None
        while len(choice.chosen) < most and not choice.is_thirsty and (best := self._best()) is not None:
            self._take_up(*best)
            holder = self._turns.holder
            if holder is not None and not self._room.fits(holder):
                for priority in [level for level in self._lines if level <= holder.priority]:
                    del self._lines[priority]
        self._count_overtaking()
        return choice

    def _keep_turns(self) -> None:
        """Forget the overtaking counts of runs that no longer wait."""
        if self._turns.overtaken:
            first = {lane.waiting[0].id for lane in self._lanes.values() if lane.waiting}
            self._turns.overtaken = {
                key: count for key, count in self._turns.overtaken.items() if key in first
            }

    def _is_in_turn(self, holder: Candidate) -> bool:
        """Whether the run that blocks the region is waiting only for capacity."""
        line = self._lines.get(holder.priority, {}).get(holder.namespace, [])
        return any(entry[1] == holder.id for entry in line) and not self._room.is_over_namespace_limit(
            holder.namespace, self._policy_of(holder.namespace)
        )

    def _best(self) -> tuple[int, str] | None:
        """The queue that is served next: its priority and namespace."""
        while self._lines:
            priority = max(self._lines)
            names = self._lines[priority]
            for name in [
                name
                for name in names
                if not names[name] or self._room.is_over_namespace_limit(name, self._policy_of(name))
            ]:
                del names[name]
            if names:
                holder = self._turns.holder
                if holder is not None and holder.priority == priority and holder.namespace in names:
                    return priority, holder.namespace
                return priority, min(names, key=lambda name: self._rank(name, names[name][0]))
            del self._lines[priority]
        return None

    def _rank(self, name: str, first: tuple[datetime, str, int, int]) -> tuple[float, float, datetime, str]:
        # Rounded, so that shares which differ only in the last bit are equal.
        share = round(self._room.share(name) / self._policy_of(name).weight, 9)
        return share, self._turns.tag(name), first[0], first[1]

    def _take_up(self, priority: int, name: str) -> None:
        """Start the first run of a queue, unless it does not fit or is over a limit."""
        line = self._lines[priority][name]
        holder = self._turns.holder
        entry = line[0]
        if holder is not None and holder.namespace == name and holder.priority == priority:
            entry = next((queued for queued in line if queued[1] == holder.id), entry)
        _, _, job_id, index = entry
        run = self._lanes[job_id].waiting[index]
        if not self._room.fits_at_all(run):
            self._choice.hopeless.append(run)
        elif not self._room.fits(run):
            self._choice.blocked[name, priority] = run
            del self._lines[priority][name]
            return
        elif not self._room.is_over_job_limit(run, self._lanes[job_id].max_running):
            self._start(run)
        line.remove(entry)
        heapq.heapify(line)
        self._enter(job_id, index + 1)

    def _start(self, run: Candidate) -> None:
        turns = self._turns
        self._room.take(run)
        self._choice.chosen.append(run)
        cost = self._room.part(run.cpus, run.memory_bytes)
        turns.serve(run.namespace, cost / self._policy_of(run.namespace).weight)
        turns.overtaken.pop(run.id, None)
        if turns.holder is not None and turns.holder.id == run.id:
            turns.holder = None

    def _count_overtaking(self) -> None:
        """Count, for each run that was next but did not fit, the runs of no higher priority that started."""
        turns, blocked = self._turns, self._choice.blocked.values()
        for other in blocked:
            count = sum(run.priority <= other.priority for run in self._choice.chosen)
            turns.overtaken[other.id] = turns.overtaken.get(other.id, 0) + count
        if turns.holder is None and blocked:
            most = max(blocked, key=lambda run: (run.priority, turns.overtaken[run.id]))
            if turns.overtaken[most.id] >= MOST_OVERTAKING:
                turns.holder = most
