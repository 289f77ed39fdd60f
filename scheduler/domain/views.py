"""What the use cases answer beside plain jobs and runs: things put together for whoever asked.

Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.domain.execution import Exec, ExecStatus
from scheduler.domain.job import Job


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its newest run, as users see it."""

    job: Job
    last_exec: Exec | None


@dataclass(frozen=True, slots=True)
class ExecView:
    """A run with what it waits for, if it does."""

    exec: Exec
    waiting_for: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many entries come before it."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class ListedExec:
    """A run in a list across jobs, with its job's name."""

    view: ExecView
    job_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecList:
    """Part of a list of runs.

    Attributes:
        found: the runs, in order.
        has_more: whether others follow.
        count: how many match in all.
        is_estimate: whether `count` is only as far as was counted; there may be more.
    """

    found: list[ListedExec]
    has_more: bool
    count: int
    is_estimate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long ended runs took, from start to end; percentiles by nearest rank."""

    count: int
    p50: timedelta
    p90: timedelta
    p99: timedelta
    mean: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """A job's figures over a window; `durations` is None when none of its runs has ended after starting."""

    job_id: int
    name: str
    namespace: str
    counts: Mapping[ExecStatus, int]
    durations: Durations | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Figures over the runs made from `start` to `end` (UTC), the end not included."""

    start: datetime
    end: datetime
    counts: Mapping[ExecStatus, int]
    jobs: list[JobStats]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """What was done to many runs at once, or would be.

    Attributes:
        matched: how many were found, up to the limit of one request.
        exec_ids: which they are, the oldest first.
        has_more: whether others match that were left for another request.
    """

    matched: int
    exec_ids: list[str]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Which daemon answers; times are aware UTC.

    Attributes:
        instance: this data directory's daemon, the same after every start.
        installation: the id that its containers carry.
        clock_jumped_seconds: by how much its clock has been set since its start.
        default_size: of jobs that name none.
        default_region: likewise.
    """

    version: str
    instance: str
    installation: str
    database: str
    started_at: datetime
    now: datetime
    clock_jumped_seconds: float
    default_size: str
    default_region: str
