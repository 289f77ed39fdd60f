"""What a waiting run waits for, told to people. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.admission.choosing import MOST_OVERTAKING, FairShares
from scheduler.admission.facts import EPSILON, Candidate, NamespacePolicy, RegionCapacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands in front of a waiting run of a region, to tell people.

    Attributes:
        is_first: whether it is the first of its job's waiting runs.
        blocked: the first run of its namespace and priority, if that found no room.
        ahead: how many runs of higher priority could start if there were room.
        is_exact: whether that many are all.
    """

    is_first: bool
    blocked: Candidate | None
    ahead: int
    is_exact: bool


def explain(
    one: Candidate,
    room: RegionCapacity,
    around: Standing,
    *,
    max_running: int | None,
    policy: NamespacePolicy,
    turns: FairShares,
) -> str:
    """What a waiting run waits for, as a phrase for people that begins with 'waits'."""
    return _limit(one, room, around, max_running, policy) or _order(one, room, around, turns)


def _limit(
    one: Candidate, room: RegionCapacity, around: Standing, max_running: int | None, policy: NamespacePolicy
) -> str | None:
    """Which limit it waits for; None if for none."""
    if one.is_alone and (room.of_job[one.job_id] or not around.is_first):
        return "waits for the job's earlier run to end"
    if room.is_over_job_limit(one, max_running):
        return f"waits for a run of this job to end: max_running is {max_running}"
    if room.is_over_namespace_limit(one.namespace, policy):
        return f"waits for namespace {one.namespace} to have fewer than {policy.max_running} runs"
    return None


def _order(one: Candidate, room: RegionCapacity, around: Standing, turns: FairShares) -> str:
    """What room, or whose turn, it waits for."""
    runs = "run" if around.ahead == 1 else "runs"
    number = f"{'' if around.is_exact else 'at least '}{around.ahead}"
    behind = f"behind {number} {runs} of higher priority" if around.ahead else ""
    if shortage := shortage_of(one, room):
        return f"waits for {shortage}" + (f", {behind}" if behind else "")
    if behind:
        return f"waits {behind}"
    holder, blocked = turns.holder, around.blocked
    if holder is not None and holder.id != one.id and holder.priority >= one.priority:
        return f"waits for exec {holder.id} to find room: {MOST_OVERTAKING} others have started before it"
    if blocked is not None and blocked.id != one.id and blocked.key < one.key:
        return f"waits for exec {blocked.id}, which came earlier, to find room"
    return "waits for its turn"


def shortage_of(one: Candidate, room: RegionCapacity) -> str:
    """What of a region's capacity is lacking for a run; empty if nothing is."""
    cpus, memory = room.cpus - room.cpus_held, room.memory_bytes - room.memory_held
    parts = []
    if one.cpus > cpus + EPSILON:
        parts.append(f"{one.cpus:g} CPU ({max(cpus, 0):.2f} of {room.cpus:g} free)")
    if one.memory_bytes > memory:
        parts.append(f"{one.memory_bytes >> 20} MiB of memory ({max(memory, 0) >> 20} MiB free)")
    return " and ".join(parts)
