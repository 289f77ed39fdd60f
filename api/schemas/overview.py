"""Many runs on the wire: lists across jobs, figures, and what was done to many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self

from pydantic import ConfigDict, Field

from api.schemas.common import Moment, Output
from api.schemas.execs import ExecOut, exec_values
from scheduler.domain.comparing import Change, Difference
from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.views import BulkResult, Durations, JobStats, ListedExec, Stats


class ListedExecOut(ExecOut):
    """A run in a list across jobs: with its namespace and its job's name."""

    namespace: str
    job_name: str

    @classmethod
    def of_listed(cls, listed: ListedExec) -> Self:
        """The shape of a run in such a list."""
        one = listed.view.exec
        return cls(
            **exec_values(listed.view), job=one.job_id, namespace=one.namespace, job_name=listed.job_name
        )


class ExecListOut(Output):
    """Part of a list of runs.

    `count` is how many match. Where finding out would take long, they are counted in part: `count_is_estimate` is
    then true, and there are at least so many. `next_cursor` goes on where this part ends, however far that is.
    """

    count: int
    count_is_estimate: bool
    previous: str | None
    next: str | None
    next_cursor: str | None
    results: list[ListedExecOut]


class DurationsOut(Output):
    """How long ended runs took, in seconds."""

    count: int
    p50: float
    p90: float
    p99: float
    mean: float
    max: float

    @classmethod
    def of(cls, durations: Durations) -> Self:
        """The shape of durations."""
        return cls(
            count=durations.count,
            p50=_seconds(durations.p50),
            p90=_seconds(durations.p90),
            p99=_seconds(durations.p99),
            mean=_seconds(durations.mean),
            max=_seconds(durations.longest),
        )


class JobStatsOut(Output):
    """A job's figures; `success_rate` is the share of ended runs that succeeded, null when none has ended."""

    job: int
    name: str
    namespace: str
    total: int
    counts: dict[ExecStatus, int]
    success_rate: float | None
    durations: DurationsOut | None

    @classmethod
    def of(cls, stats: JobStats) -> Self:
        """The shape of a job's figures."""
        return cls(
            job=stats.job_id,
            name=stats.name,
            namespace=stats.namespace,
            total=sum(stats.counts.values()),
            counts=_all_counts(stats.counts),
            success_rate=_success_rate(stats.counts),
            durations=None if stats.durations is None else DurationsOut.of(stats.durations),
        )


class StatsOut(Output):
    """Figures over the runs made in a window."""

    model_config = ConfigDict(serialize_by_alias=True)

    start: Moment = Field(alias="from", serialization_alias="from")
    end: Moment = Field(alias="to", serialization_alias="to")
    total: int
    counts: dict[ExecStatus, int]
    success_rate: float | None
    jobs: list[JobStatsOut]

    @classmethod
    def of(cls, stats: Stats) -> Self:
        """The shape of figures."""
        return cls(
            **{"from": stats.start, "to": stats.end},
            total=sum(stats.counts.values()),
            counts=_all_counts(stats.counts),
            success_rate=_success_rate(stats.counts),
            jobs=[JobStatsOut.of(one) for one in stats.jobs],
        )


class ComparedExecOut(Output):
    """Which run was compared."""

    id: str
    job: int
    job_name: str
    namespace: str
    status: ExecStatus
    trigger_mode: TriggerMode
    replay_of: str | None
    created_at: Moment

    @classmethod
    def of(cls, listed: ListedExec) -> Self:
        """The shape of a run that was compared."""
        one = listed.view.exec
        own = ("id", "namespace", "status", "trigger_mode", "replay_of", "created_at")
        return cls(**{name: getattr(one, name) for name in own}, job=one.job_id, job_name=listed.job_name)


class DifferenceOut(Output):
    """One field in which two runs differ; of variables and labels one entry, whose name is `name`.

    `a` and `b` are the values in either run, null where it has none; `duration` is in whole seconds.
    """

    field: str
    name: str | None
    change: Change
    a: Any
    b: Any


class ExecDiffOut(Output):
    """In what two runs differ: what they were to do first, what came of them last."""

    a: ComparedExecOut
    b: ComparedExecOut
    is_same: bool
    differences: list[DifferenceOut]

    @classmethod
    def of(cls, first: ListedExec, second: ListedExec, found: Sequence[Difference]) -> Self:
        """The shape of a comparison."""
        return cls(
            a=ComparedExecOut.of(first),
            b=ComparedExecOut.of(second),
            is_same=not found,
            differences=[
                DifferenceOut(field=one.field, name=one.name, change=one.change, a=one.first, b=one.second)
                for one in found
            ],
        )


class BulkOut(Output):
    """What was done to many runs at once, or would be: their ids, the oldest first.

    `has_more` says that others match; the same request again takes those.
    """

    dry_run: bool
    matched: int
    has_more: bool
    execs: list[str]

    @classmethod
    def of(cls, result: BulkResult, *, dry_run: bool) -> Self:
        """The shape of such a result."""
        return cls(dry_run=dry_run, matched=result.matched, has_more=result.has_more, execs=result.exec_ids)


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


def _all_counts(counts: Mapping[ExecStatus, int]) -> dict[ExecStatus, int]:
    return {status: counts.get(status, 0) for status in ExecStatus}


def _success_rate(counts: Mapping[ExecStatus, int]) -> float | None:
    """Of those that ended by themselves; what somebody stopped says nothing of the job."""
    succeeded, failed = counts.get(ExecStatus.SUCCEEDED, 0), counts.get(ExecStatus.FAILED, 0)
    return round(succeeded / (succeeded + failed), 6) if succeeded + failed else None
