"""Many runs on the wire: lists across jobs, statistics, comparisons, and results of bulk changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field

from api.schemas.common import Moment, Output
from api.schemas.execs import ExecOut, duration_of, exec_sources
from scheduler.domain.comparing import Change, Difference
from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.views import BulkResult, Durations, JobStats, ListedExec, Stats


class ListedExecOut(ExecOut):
    """A run in a list across jobs, with its namespace and the name of its job."""

    namespace: str = Field(description="The namespace of the run.")
    job_name: str = Field(description="The job's name.")

    @classmethod
    def of_listed(cls, listed: ListedExec) -> Self:
        """The shape of a run in such a list."""
        run = listed.view.exec
        return cls.of(listed, *exec_sources(listed.view), job=run.job_id, duration=duration_of(run))


class ExecListOut(Output):
    """One page of a list of runs.

    Where counting all matches would take long, counting stops early: `count` is then a lower bound, and
    `count_is_estimate` is true. `next_cursor` continues after this page at the same cost for every page.
    """

    count: int = Field(description="Number of runs that match; see `count_is_estimate`.")
    count_is_estimate: bool = Field(
        description="Whether `count` is a lower bound, because counting stopped there."
    )
    previous: str | None = Field(description="URL of the previous page; null on the first page.")
    next: str | None = Field(description="URL of the next page; null on the last page.")
    next_cursor: str | None = Field(
        description="The `cursor` of the next page, which costs the same for every page; null at the end."
    )
    results: list[ListedExecOut] = Field(description="The runs of this page.")


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


Seconds = Annotated[float, BeforeValidator(_seconds)]


class DurationsOut(Output):
    """Durations of ended runs, in seconds."""

    count: int = Field(description="Number of runs that were measured.")
    p50: Seconds = Field(description="The median, in seconds.")
    p90: Seconds = Field(description="The 90th percentile, in seconds.")
    p99: Seconds = Field(description="The 99th percentile, in seconds.")
    mean: Seconds = Field(description="The mean, in seconds.")
    max: Seconds = Field(description="The maximum, in seconds.")

    @classmethod
    def of_durations(cls, durations: Durations) -> Self:
        """The shape of durations."""
        return cls.of(durations, max=durations.longest)


class JobStatsOut(Output):
    """Statistics of a job."""

    job: int = Field(description="The job's id.")
    name: str = Field(description="The job's name.")
    namespace: str = Field(description="The job's namespace.")
    total: int = Field(description="Number of runs.")
    counts: dict[ExecStatus, int] = Field(description="Number of runs by status.")
    success_rate: float | None = Field(
        description="Share of ended runs that succeeded, from 0 to 1; null if none has ended."
    )
    durations: DurationsOut | None = Field(description="Durations of ended runs; null if none has ended.")

    @classmethod
    def of_job(cls, stats: JobStats) -> Self:
        """The statistics of a job."""
        durations = None if stats.durations is None else DurationsOut.of_durations(stats.durations)
        return cls.of(stats, job=stats.job_id, durations=durations, **_sums(stats.counts))


class StatsOut(Output):
    """Statistics of the runs that were created in a window."""

    model_config = ConfigDict(serialize_by_alias=True)

    start: Moment = Field(alias="from", serialization_alias="from", description="Start of the window (UTC).")
    end: Moment = Field(alias="to", serialization_alias="to", description="End of the window (UTC).")
    total: int = Field(description="Number of runs.")
    counts: dict[ExecStatus, int] = Field(description="Number of runs by status.")
    success_rate: float | None = Field(
        description="Share of ended runs that succeeded, from 0 to 1; null if none has ended."
    )
    jobs: list[JobStatsOut] = Field(description="Statistics by job.")

    @classmethod
    def of_window(cls, stats: Stats) -> Self:
        """The statistics of a window."""
        window = {"from": stats.start, "to": stats.end}
        return cls.of(**window, **_sums(stats.counts), jobs=[JobStatsOut.of_job(job) for job in stats.jobs])


class ComparedExecOut(Output):
    """A run that was compared."""

    described_like = (ListedExecOut,)

    id: str = Field(description="The run's id.")
    job: int = Field(description="The job's id.")
    job_name: str
    namespace: str
    status: ExecStatus = Field(description="The status of the run.")
    trigger_mode: TriggerMode = Field(description="What triggered the run.")
    replay_of: str | None = Field(description="For replays, the id of the run that is repeated; else null.")
    created_at: Moment = Field(description="When the run was created (UTC).")

    @classmethod
    def of_listed(cls, listed: ListedExec) -> Self:
        """The shape of a run that was compared."""
        return cls.of(listed, listed.view.exec, job=listed.view.exec.job_id)


class DifferenceOut(Output):
    """A field in which two runs differ. Entries of variables, secret files and labels are listed one by one.

    A `duration` is in whole seconds.
    """

    field: str = Field(description="The field that differs.")
    name: str | None = Field(
        description="For variables, secret files and labels, the name of the entry; else null."
    )
    change: Change = Field(description="How the two runs differ.")
    a: Any = Field(description="The value in the first run; null if it has none.")
    b: Any = Field(description="The value in the second run; null if it has none.")


class ExecDiffOut(Output):
    """The differences of two runs: first their options, then their results."""

    a: ComparedExecOut = Field(description="The first run.")
    b: ComparedExecOut = Field(description="The second run.")
    is_same: bool = Field(description="Whether there are no differences.")
    differences: list[DifferenceOut] = Field(description="The differences.")

    @classmethod
    def of_runs(cls, first: ListedExec, second: ListedExec, differences: Sequence[Difference]) -> Self:
        """The shape of a comparison."""
        return cls(
            a=ComparedExecOut.of_listed(first),
            b=ComparedExecOut.of_listed(second),
            is_same=not differences,
            differences=[
                DifferenceOut.of(difference, a=difference.first, b=difference.second)
                for difference in differences
            ],
        )


class BulkOut(Output):
    """The result of a bulk change of runs, or its preview."""

    dry_run: bool = Field(description="Whether nothing was changed because only a preview was requested.")
    matched: int = Field(description="Number of runs that were changed, or would be with `dry_run`.")
    has_more: bool = Field(description="Whether more runs match; repeat the request to change those.")
    execs: list[str] = Field(description="The ids of these runs, the oldest first.")

    @classmethod
    def of_result(cls, result: BulkResult, *, dry_run: bool) -> Self:
        """The shape of such a result."""
        return cls.of(result, dry_run=dry_run, execs=result.exec_ids)


def _sums(counts: Mapping[ExecStatus, int]) -> dict[str, Any]:
    """The fields that follow from the number of runs by status."""
    return {
        "total": sum(counts.values()),
        "counts": {status: counts.get(status, 0) for status in ExecStatus},
        "success_rate": _success_rate(counts),
    }


def _success_rate(counts: Mapping[ExecStatus, int]) -> float | None:
    """The share of successes. Stopped runs do not count, because they say nothing about the job."""
    succeeded, failed = counts.get(ExecStatus.SUCCEEDED, 0), counts.get(ExecStatus.FAILED, 0)
    return round(succeeded / (succeeded + failed), 6) if succeeded + failed else None
