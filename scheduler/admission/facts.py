"""What admission decides from: what waits, what holds capacity, and what is allowed. Pure data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Sums of sizes such as 0.15 are not exact in binary; a millionth of a processor decides nothing.
EPSILON: Final = 1e-6

Key = tuple[int, datetime, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A waiting run, as far as admission needs it.

    Attributes:
        is_alone: its concurrency policy lets it start only when no other run of its job is going.
        not_before: it does not start earlier; None when it may start at once.
    """

    id: str
    job_id: int
    namespace: str
    priority: int
    created_at: datetime
    cpus: float
    memory_bytes: int
    is_alone: bool
    not_before: datetime | None

    @property
    def key(self) -> Key:
        """Its place among the runs of its job."""
        return (-self.priority, self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class Lane:
    """The waiting runs of one job in one region, as far as they have been read.

    Attributes:
        max_running: how many of the job's runs may be going at a time; None for no limit.
        waiting: by priority, then by age.
        is_complete: whether no more wait than these.
    """

    max_running: int | None
    waiting: Sequence[Candidate]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A run that holds capacity."""

    job_id: int
    namespace: str
    region: str
    cpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class NamespacePolicy:
    """What the operator allows a namespace.

    Attributes:
        max_running: how many of its runs may be going at a time, over all regions; None for no limit.
        weight: how much of a contended region it gets, compared with others.
    """

    max_running: int | None = None
    weight: float = 1.0


PolicyOf = Callable[[str], NamespacePolicy]


class RegionCapacity:
    """What a region has, what of it is held, and how many runs of each job and namespace are going anywhere.

    Args:
        region: whose capacity is counted.
        cpus: processors that it has.
        memory_bytes: memory likewise.
        holdings: all runs that hold capacity, of whatever region.
    """

    def __init__(self, region: str, cpus: float, memory_bytes: int, holdings: Iterable[Holding]) -> None:
        self.cpus, self.memory_bytes = cpus, memory_bytes
        self.cpus_held, self.memory_held = 0.0, 0
        self.of_job: Counter[int] = Counter()
        self.of_namespace: Counter[str] = Counter()
        self._shares: dict[str, tuple[float, int]] = {}
        for one in holdings:
            self.of_job[one.job_id] += 1
            self.of_namespace[one.namespace] += 1
            if one.region == region:
                self._hold(one.namespace, one.cpus, one.memory_bytes)

    def _hold(self, namespace: str, cpus: float, memory_bytes: int) -> None:
        self.cpus_held += cpus
        self.memory_held += memory_bytes
        before = self._shares.get(namespace, (0.0, 0))
        self._shares[namespace] = (before[0] + cpus, before[1] + memory_bytes)

    def take(self, one: Candidate) -> None:
        """Hold capacity for a run that is to start."""
        self.of_job[one.job_id] += 1
        self.of_namespace[one.namespace] += 1
        self._hold(one.namespace, one.cpus, one.memory_bytes)

    def fits_at_all(self, one: Candidate) -> bool:
        """Whether it could start if nothing else ran."""
        return one.cpus <= self.cpus + EPSILON and one.memory_bytes <= self.memory_bytes

    def fits(self, one: Candidate) -> bool:
        """Whether there is room for it now."""
        return (
            self.cpus_held + one.cpus <= self.cpus + EPSILON
            and self.memory_held + one.memory_bytes <= self.memory_bytes
        )

    def is_over_job_limit(self, one: Candidate, max_running: int | None) -> bool:
        """Whether a run of its job has to end first."""
        going = self.of_job[one.job_id]
        return going > 0 if one.is_alone else max_running is not None and going >= max_running

    def is_over_namespace_limit(self, namespace: str, policy: NamespacePolicy) -> bool:
        """Whether a run of its namespace has to end first."""
        return policy.max_running is not None and self.of_namespace[namespace] >= policy.max_running

    def share(self, namespace: str) -> float:
        """The larger of the parts of processors and of memory that a namespace holds, from 0 to 1."""
        return self.part(*self._shares.get(namespace, (0.0, 0)))

    def part(self, cpus: float, memory_bytes: int) -> float:
        """The larger of the parts that these are of all there is."""
        return max(cpus / max(self.cpus, EPSILON), memory_bytes / max(self.memory_bytes, 1))
