"""Which waiting runs start next.

Pure: facts in, decisions out. Higher priority goes first; among equal priorities the namespace that holds the least
of the region for its weight; within a namespace and a priority, first come is first served. What is over a limit of
its job or namespace is passed by. What does not fit into the free capacity may be overtaken by others so many
times, and then holds the region until it fits; see `docs/decisions/0009-who-starts-next.md`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from scheduler.admission.facts import Candidate, Lane, PolicyOf, RegionCapacity

#: So many runs may start before one that came to its turn and did not fit; then nothing of its priority or a
#: lower one starts in its region until it does.
MOST_OVERTAKING: Final = 10


@dataclass(slots=True)
class FairShares:
    """What is remembered of a region between decisions.

    Attributes:
        clock: the tag of the namespace that was served last.
        tags: where each namespace stands; among those that hold equally little, the lowest is served first.
        overtaken: how many runs have started before one that was in turn and did not fit, by its id.
        holder: the run that has been overtaken often enough and holds the region; None when there is none.
    """

    clock: float = 0.0
    tags: dict[str, float] = field(default_factory=dict)
    overtaken: dict[str, int] = field(default_factory=dict)
    holder: Candidate | None = None

    def tag(self, namespace: str) -> float:
        """Where a namespace stands; one that was idle has saved up nothing."""
        return max(self.tags.get(namespace, 0.0), self.clock)

    def serve(self, namespace: str, cost: float) -> None:
        """Note that a run of a namespace starts, at that cost."""
        self.clock = self.tag(namespace)
        self.tags[namespace] = self.clock + cost
        self.tags = {name: tag for name, tag in self.tags.items() if tag > self.clock}


@dataclass(slots=True)
class Choice:
    """What was decided.

    Attributes:
        chosen: the runs that start now, in order.
        hopeless: those that are larger than the whole region.
        blocked: the first of each namespace and priority that found no room.
        is_thirsty: a job whose runs have not all been read came to the end of those that have.
    """

    chosen: list[Candidate] = field(default_factory=list)
    hopeless: list[Candidate] = field(default_factory=list)
    blocked: dict[tuple[str, int], Candidate] = field(default_factory=dict)
    is_thirsty: bool = False


def head(lane: Lane, now: datetime, start: int = 0) -> int | None:
    """The index of the next run of a job that may start by its back-off, from `start` on; None if none may.

    A job whose runs go one after the other waits for the back-off of the first.
    """
    for index in range(start, len(lane.waiting)):
        one = lane.waiting[index]
        if one.not_before is None or one.not_before <= now:
            return index
        if one.is_alone:
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
        lanes: what waits there, by job.
        room: what there is; what is chosen is taken from it.
        turns: of the region; brought up to date.
        policy_of: what a namespace is allowed.
        now: the present (UTC).
        most: how many to choose at most.
    """
    return _Decision(lanes, room, turns, policy_of, now).make(most)


class _Decision:
    """The lines in front of a region, one for each priority and namespace, while one decision is made."""

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
        # By priority, then by namespace: (run's age, its id, its job, its index in the lane), the first first.
        self._lines: dict[int, dict[str, list[tuple[datetime, str, int, int]]]] = {}
        for job_id in lanes:
            self._enter(job_id, 0)

    def _enter(self, job_id: int, start: int) -> None:
        """Put the next run of a job in line, unless it is over a limit."""
        lane = self._lanes[job_id]
        if start and self._room.is_over_job_limit(lane.waiting[start - 1], lane.max_running):
            return
        index = head(lane, self._now, start)
        if index is None:
            if start and not lane.is_complete:
                self._choice.is_thirsty = True
            return
        one = lane.waiting[index]
        if self._room.is_over_job_limit(one, lane.max_running):
            return
        line = self._lines.setdefault(one.priority, {}).setdefault(one.namespace, [])
        heapq.heappush(line, (one.created_at, one.id, job_id, index))

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
        """Forget how often runs were overtaken that wait no more."""
        if self._turns.overtaken:
            first = {lane.waiting[0].id for lane in self._lanes.values() if lane.waiting}
            self._turns.overtaken = {
                key: count for key, count in self._turns.overtaken.items() if key in first
            }

    def _is_in_turn(self, holder: Candidate) -> bool:
        """Whether the run that holds the region still waits for nothing but room."""
        line = self._lines.get(holder.priority, {}).get(holder.namespace, [])
        return any(entry[1] == holder.id for entry in line) and not self._room.is_over_namespace_limit(
            holder.namespace, self._policy_of(holder.namespace)
        )

    def _best(self) -> tuple[int, str] | None:
        """The line that is served next: its priority and namespace."""
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
        # Rounded, so that shares which differ in the last bit alone are equal.
        share = round(self._room.share(name) / self._policy_of(name).weight, 9)
        return share, self._turns.tag(name), first[0], first[1]

    def _take_up(self, priority: int, name: str) -> None:
        """Start the first run of a line, or find that it cannot."""
        line = self._lines[priority][name]
        holder = self._turns.holder
        entry = line[0]
        if holder is not None and holder.namespace == name and holder.priority == priority:
            entry = next((one for one in line if one[1] == holder.id), entry)
        _, _, job_id, index = entry
        one = self._lanes[job_id].waiting[index]
        if not self._room.fits_at_all(one):
            self._choice.hopeless.append(one)
        elif not self._room.fits(one):
            self._choice.blocked[name, priority] = one
            del self._lines[priority][name]
            return
        elif not self._room.is_over_job_limit(one, self._lanes[job_id].max_running):
            self._start(one)
        line.remove(entry)
        heapq.heapify(line)
        self._enter(job_id, index + 1)

    def _start(self, one: Candidate) -> None:
        turns = self._turns
        self._room.take(one)
        self._choice.chosen.append(one)
        cost = self._room.part(one.cpus, one.memory_bytes)
        turns.serve(one.namespace, cost / self._policy_of(one.namespace).weight)
        turns.overtaken.pop(one.id, None)
        if turns.holder is not None and turns.holder.id == one.id:
            turns.holder = None

    def _count_overtaking(self) -> None:
        """Note which runs were in turn, found no room, and saw others of no higher priority start."""
        turns, blocked = self._turns, self._choice.blocked.values()
        for other in blocked:
            count = sum(one.priority <= other.priority for one in self._choice.chosen)
            turns.overtaken[other.id] = turns.overtaken.get(other.id, 0) + count
        if turns.holder is None and blocked:
            most = max(blocked, key=lambda one: (one.priority, turns.overtaken[one.id]))
            if turns.overtaken[most.id] >= MOST_OVERTAKING:
                turns.holder = most
