"""Explains what a waiting run is waiting for. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.admission.choosing import MOST_OVERTAKING, FairShares
from scheduler.admission.facts import EPSILON, Candidate, NamespacePolicy, RegionCapacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A waiting run's position in its region, for the explanation.

    Attributes:
        is_first: whether it is the first waiting run of its job.
        blocked: the first run of its namespace and priority, if that did not fit.
        ahead: number of runs of higher priority that could start if there were capacity.
        is_exact: whether `ahead` is exact, rather than a lower bound.
    """

    is_first: bool
    blocked: Candidate | None
    ahead: int
    is_exact: bool


def explain(
    run: Candidate,
    room: RegionCapacity,
    around: Standing,
    *,
    max_running: int | None,
    policy: NamespacePolicy,
    turns: FairShares,
) -> str:
    """What a waiting run is waiting for, as a phrase for people that begins with 'waits'."""
    return _limit(run, room, around, max_running, policy) or _order(run, room, around, turns)


def _limit(
    run: Candidate, room: RegionCapacity, around: Standing, max_running: int | None, policy: NamespacePolicy
) -> str | None:
    """The limit that it is waiting for; None if there is none."""
    if run.is_alone and (room.of_job[run.job_id] or not around.is_first):
        return "waits for an earlier run of this job to end"
    if room.is_over_job_limit(run, max_running):
        return f"waits for a run of this job to end: max_running is {max_running}"
    if room.is_over_namespace_limit(run.namespace, policy):
        return f"waits for namespace {run.namespace} to have fewer than {policy.max_running} runs"
    return None


def _order(run: Candidate, room: RegionCapacity, around: Standing, turns: FairShares) -> str:
    """The capacity or turn that it is waiting for."""
    runs = "run" if around.ahead == 1 else "runs"
    number = f"{'' if around.is_exact else 'at least '}{around.ahead}"
    behind = f"behind {number} {runs} of higher priority" if around.ahead else ""
    if shortage := shortage_of(run, room):
        return f"waits for {shortage}" + (f", {behind}" if behind else "")
    if behind:
        return f"waits {behind}"
    holder, blocked = turns.holder, around.blocked
    if holder is not None and holder.id != run.id and holder.priority >= run.priority:
        return f"waits for run {holder.id} to get capacity: {MOST_OVERTAKING} others have started before it"
    if blocked is not None and blocked.id != run.id and blocked.key < run.key:
        return f"waits for run {blocked.id}, which is older, to get capacity"
    return "waits for its turn"


def shortage_of(run: Candidate, room: RegionCapacity) -> str:
    """What a run needs beyond a region's free capacity; empty if it fits."""
    cpus, memory = room.cpus - room.cpus_held, room.memory_bytes - room.memory_held
    parts = []
    if run.cpus > cpus + EPSILON:
        parts.append(f"{run.cpus:g} CPU ({max(cpus, 0):.2f} of {room.cpus:g} free)")
    if run.memory_bytes > memory:
        parts.append(f"{run.memory_bytes >> 20} MiB of memory ({max(memory, 0) >> 20} MiB free)")
    return " and ".join(parts)
