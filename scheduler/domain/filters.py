"""Which runs and which jobs a list is asked for, and in what order.

Pure data: the API reads it from a query, the store turns it into conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum

from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.job import ScheduleState


class Order(StrEnum):
    """By which of its moments a run is put in order; `-` is newest first."""

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
        """Whether runs that have not started have no place in it."""
        return self.value.endswith("started_at")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an ordered list of runs: what comes after it is what follows the last run seen.

    Attributes:
        at: that run's moment, the one the list is ordered by.
        exec_id: its id, which tells runs of the same moment apart.
    """

    at: datetime
    exec_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecFilter:
    """Runs that fulfil all of it; what is None or empty asks for nothing.

    Attributes:
        namespace: of the run.
        job_id: of which job.
        job_name: of jobs with exactly that name.
        statuses: in one of these.
        trigger_modes: made by one of these.
        created_from: made then or later (UTC).
        created_to: made then or earlier.
        started_from: started then or later; what has not started is not among them.
        started_to: started then or earlier; likewise.
        labels: that have all of these, as the job had them when the run was made.
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
        """Whether it is about when runs started."""
        return self.started_from is not None or self.started_to is not None

    @property
    def is_empty(self) -> bool:
        """Whether every run fulfils it."""
        return not any(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Jobs that fulfil all of it; what is None or empty asks for nothing.

    Attributes:
        namespace: of the job.
        name: exactly that.
        schedule_state: where its schedule stands.
        labels: that have all of these.
    """

    namespace: str | None = None
    name: str | None = None
    schedule_state: ScheduleState | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
