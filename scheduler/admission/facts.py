"""The input of admission: waiting runs, runs that use capacity, and limits. Pure data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Sums of sizes such as 0.15 are not exact in binary; differences of a millionth of a processor are ignored.
EPSILON: Final = 1e-6

Key = tuple[int, datetime, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A waiting run, with what admission needs of it.

    Attributes:
        is_alone: whether it may only start when no other run of its job is in progress.
        not_before: it does not start earlier; None if it may start at once.
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
        """Its position among the runs of its job."""
        return (-self.priority, self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class Lane:
    """The waiting runs of one job in one region, as far as they were loaded.

    Attributes:
        max_running: maximum number of concurrent runs of the job; None for no limit.
        waiting: the runs, by priority, then by age.
        is_complete: whether these are all waiting runs.
    """

    max_running: int | None
    waiting: Sequence[Candidate]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A run that uses capacity."""

    job_id: int
    namespace: str
    region: str
    cpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class NamespacePolicy:
    """The limits of a namespace.

    Attributes:
        max_running: maximum number of its concurrent runs over all regions; None for no limit.
        weight: its share of a busy region, relative to other namespaces.
    """

    max_running: int | None = None
    weight: float = 1.0


PolicyOf = Callable[[str], NamespacePolicy]


class RegionCapacity:
    """The capacity of a region, its use, and the number of active runs per job and namespace in all regions.

    Args:
        region: the region's name.
        cpus: processors of the region.
        memory_bytes: memory of the region.
        holdings: all runs that use capacity, in any region.
    """

    def __init__(self, region: str, cpus: float, memory_bytes: int, holdings: Iterable[Holding]) -> None:
        self.cpus, self.memory_bytes = cpus, memory_bytes
        self.cpus_held, self.memory_held = 0.0, 0
        self.of_job: Counter[int] = Counter()
        self.of_namespace: Counter[str] = Counter()
        self._shares: dict[str, tuple[float, int]] = {}
        for holding in holdings:
            self.of_job[holding.job_id] += 1
            self.of_namespace[holding.namespace] += 1
            if holding.region == region:
                self._hold(holding.namespace, holding.cpus, holding.memory_bytes)

    def _hold(self, namespace: str, cpus: float, memory_bytes: int) -> None:
        self.cpus_held += cpus
        self.memory_held += memory_bytes
        before = self._shares.get(namespace, (0.0, 0))
        self._shares[namespace] = (before[0] + cpus, before[1] + memory_bytes)

    def take(self, run: Candidate) -> None:
        """Reserve capacity for a run that is about to start."""
        self.of_job[run.job_id] += 1
        self.of_namespace[run.namespace] += 1
        self._hold(run.namespace, run.cpus, run.memory_bytes)

    def fits_at_all(self, run: Candidate) -> bool:
        """Whether it could start if nothing else were running."""
        return run.cpus <= self.cpus + EPSILON and run.memory_bytes <= self.memory_bytes

    def fits(self, run: Candidate) -> bool:
        """Whether it fits into the free capacity."""
        return (
            self.cpus_held + run.cpus <= self.cpus + EPSILON
            and self.memory_held + run.memory_bytes <= self.memory_bytes
        )

    def is_over_job_limit(self, run: Candidate, max_running: int | None) -> bool:
        """Whether a run of its job must end first."""
        going = self.of_job[run.job_id]
        return going > 0 if run.is_alone else max_running is not None and going >= max_running

    def is_over_namespace_limit(self, namespace: str, policy: NamespacePolicy) -> bool:
        """Whether a run of its namespace must end first."""
        return policy.max_running is not None and self.of_namespace[namespace] >= policy.max_running

    def share(self, namespace: str) -> float:
        """The larger of the namespace's shares of processors and memory, from 0 to 1."""
        return self.part(*self._shares.get(namespace, (0.0, 0)))

    def part(self, cpus: float, memory_bytes: int) -> float:
        """The larger of the shares of all processors and memory that these amounts are."""
        return max(cpus / max(self.cpus, EPSILON), memory_bytes / max(self.memory_bytes, 1))
