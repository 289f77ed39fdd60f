"""Filters and sort orders for lists of runs and jobs.

Pure data: the API reads it from a query, the store translates it into conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum

from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.job import ScheduleState


class Order(StrEnum):
    """The sort order of a list of runs; `-` means newest first."""

    CREATED = "created_at"
    CREATED_DESCENDING = "-created_at"
    STARTED = "started_at"
    STARTED_DESCENDING = "-started_at"

    @property
    def is_descending(self) -> bool:
        """Whether the newest comes first."""
        return self.value.startswith("-")

    @property
    def by_start(self) -> bool:
        """Whether the list is sorted by start time, and so leaves out runs that have not started."""
        return self.value.endswith("started_at")


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a sorted list of runs: the next page begins after it.

    Attributes:
        at: the time of the last run seen, by which the list is sorted.
        exec_id: the id of that run, which distinguishes runs with the same time.
    """

    at: datetime
    exec_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecFilter:
    """Conditions for runs, all of which must match; None or empty means any.

    Attributes:
        namespace: the run's namespace.
        job_id: the job's id.
        job_name: the job's exact name.
        statuses: one of these statuses.
        trigger_modes: one of these trigger modes.
        created_from: created at or after this time (UTC).
        created_to: created at or before this time.
        started_from: started at or after this time; excludes runs that have not started.
        started_to: started at or before this time; excludes runs that have not started.
        labels: all of these labels, as the job had them when the run was created.
    """

    namespace: str | None = None
    job_id: int | None = None
    job_name: str | None = None
    statuses: frozenset[ExecStatus] = frozenset()
    trigger_modes: frozenset[TriggerMode] = frozenset()
    created_from: datetime | None = None
    created_to: datetime | None = None
    started_from: datetime | None = None
    started_to: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def asks_for_start(self) -> bool:
        """Whether a condition concerns the start time."""
        return self.started_from is not None or self.started_to is not None

    @property
    def is_empty(self) -> bool:
        """Whether every run matches."""
        return not any(getattr(self, condition.name) for condition in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Conditions for jobs, all of which must match; None or empty means any.

    Attributes:
        namespace: the job's namespace.
        name: the exact name.
        schedule_state: the state of the job's schedule.
        labels: all of these labels.
    """

    namespace: str | None = None
    name: str | None = None
    schedule_state: ScheduleState | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
