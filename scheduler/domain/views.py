"""Results of use cases that combine several objects.

Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.domain.execution import Exec, ExecStatus
from scheduler.domain.job import Job


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its latest run."""

    job: Job
    last_exec: Exec | None


@dataclass(frozen=True, slots=True)
class ExecView:
    """A run, and what it is waiting for."""

    exec: Exec
    waiting_for: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """Number of entries before this page."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class ListedExec:
    """A run in a list across jobs, with its job's name."""

    view: ExecView
    job_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecList:
    """A part of a list of runs.

    Attributes:
        found: the runs, in order.
        has_more: whether more runs follow.
        count: total number of matching runs.
        is_estimate: whether counting stopped at `count`, so that there may be more.
    """

    found: list[ListedExec]
    has_more: bool
    count: int
    is_estimate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Durations of ended runs, from start to end; percentiles use the nearest rank."""

    count: int
    p50: timedelta
    p90: timedelta
    p99: timedelta
    mean: timedelta
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """A job's figures for a period; `durations` is None if none of its started runs has ended."""

    job_id: int
    name: str
    namespace: str
    counts: Mapping[ExecStatus, int]
    durations: Durations | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Figures for runs created between `start` and `end` (UTC), excluding `end`."""

    start: datetime
    end: datetime
    counts: Mapping[ExecStatus, int]
    jobs: list[JobStats]


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkResult:
    """The result of an action on many runs, or of its dry run.

    Attributes:
        matched: number of matching runs, up to the limit of one request.
        exec_ids: their ids, oldest first.
        has_more: whether more runs match than one request processes.
    """

    matched: int
    exec_ids: list[str]
    has_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """The engine of a region, as it was when it last answered.

    Attributes:
        region: the region's name.
        is_up: whether it answers now.
        product: the software, such as 'Docker Engine'; like what follows None if it has not answered yet, or if the
            caller may not see it.
        version: its version.
        api_version: the newest version of the Docker API that it supports.
        image_store: where it keeps images.
        log_driver: the driver that keeps the output of runs.
        cgroup_version: 1 or 2.
        is_rootless: whether it runs without root's rights.
        has_userns_remap: whether it maps the users of containers to others of its host.
        has_live_restore: whether containers continue while it is not running.
        missing_limits: limits that it cannot enforce.
        refuses_runs: whether no run can be started on it.
        warnings: known troubles, each with what to do, for people.
    """

    region: str
    is_up: bool
    product: str | None = None
    version: str | None = None
    api_version: str | None = None
    image_store: str | None = None
    log_driver: str | None = None
    cgroup_version: int | None = None
    is_rootless: bool | None = None
    has_userns_remap: bool | None = None
    has_live_restore: bool | None = None
    missing_limits: Sequence[str] | None = None
    refuses_runs: bool | None = None
    warnings: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Information about the daemon; times are aware UTC.

    Attributes:
        instance: the id of this data directory's daemon, the same after every start.
        installation: the id in the labels of its containers.
        clock_jumped_seconds: by how much the clock was set since the daemon started.
        default_size: size of jobs that specify none.
        default_region: region of jobs that specify none.
        engines: the engines of all regions.
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
    engines: Sequence[EngineView]
