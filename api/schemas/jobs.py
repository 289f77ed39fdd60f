"""Jobs on the wire: what users send to define one, and what they receive."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field

from api.schemas.common import Moment, Output, Whole, shown_as
from api.schemas.containers import ContainerIn, ContainerOut
from api.schemas.fields import (
    CommandIn,
    JobVariables,
    Labels,
    Name,
    Namespace,
    Priority,
    Repository,
    RetryOn,
    Tag,
    Text,
)
from scheduler.domain.execution import ExecStatus, FailReason, TriggerMode
from scheduler.domain.job import (
    LEAST_LOG_BYTES,
    MOST_LOG_BYTES,
    RETRYABLE,
    ConcurrencyPolicy,
    MisfirePolicy,
    PullPolicy,
    ScheduleState,
)
from scheduler.domain.views import JobView

#: A year. Longer times are probably in another unit.
LONGEST_SECONDS: Final = 366 * 24 * 3600


class _JobFields(ContainerIn):
    """The fields of a job that have a default; those of size and region come from the daemon's settings."""

    namespace: Namespace = Field(default="", description="The job's namespace; the caller's own by default.")
    docker_image_tag: Tag = Field(default="latest", description="The image's tag.")
    command: CommandIn = Field(
        default=None,
        description="The command that the container runs. A string is split into words like in a shell (no shell "
        "runs); a list is used as it is; null, an empty string and an empty list run the image's own command.",
    )
    resource_size: Text = Field(
        default="",
        description="The CPU and memory limit: `XXS` (0.15 CPUs, 64 MiB) to `XL`, or a size from the daemon's "
        "settings.",
    )
    region_name: Text = Field(default="", description="The region, which is one of the daemon's engines.")
    runtime_vars: JobVariables = Field(
        default_factory=dict,
        description='Environment variables. A value can refer to a secret: `{"secret": "name"}`.',
    )
    labels: Labels = Field(
        default_factory=dict, description="Names and values of your own, to find jobs and runs by."
    )
    email_enabled: bool = Field(
        default=False, description="Whether the job's owner gets emails about its runs."
    )
    is_schedule_active: bool = Field(default=False, description="Whether the schedule is switched on.")
    schedule_mode: Annotated[Text, shown_as(maxLength=1_000, format="schedule")] | None = Field(
        default=None,
        description="The schedule: an ISO 8601 repeating interval such as `R5/2026-01-31T00:00:00Z/P1M`, or a cron "
        "expression with five fields; null for manual runs only.",
    )
    schedule_timezone: Annotated[Text, shown_as(maxLength=1_000, format="timezone")] | None = Field(
        default=None, description="The IANA time zone of the schedule; null for UTC."
    )
    misfire_policy: MisfirePolicy = Field(
        default=MisfirePolicy.LATEST,
        description="Which of the due times that passed while the daemon was down are run.",
    )
    misfire_grace_seconds: Whole = Field(
        default=1,
        ge=0,
        le=LONGEST_SECONDS,
        description="How late a run can start without counting as a misfire, in seconds.",
    )
    concurrency_policy: ConcurrencyPolicy = Field(
        default=ConcurrencyPolicy.ALLOW,
        description="What happens when a run is due while an earlier run of the job has not ended.",
    )
    timeout_seconds: Whole | None = Field(
        default=None,
        ge=1,
        le=LONGEST_SECONDS,
        description="Seconds after which the run is stopped and fails; null for no limit.",
    )
    stop_grace_seconds: Whole = Field(
        default=10, ge=0, le=3600, description="Seconds between SIGTERM and SIGKILL when a run is stopped."
    )
    max_retries: Whole = Field(
        default=0, ge=0, le=100, description="Maximum number of retries of a failed run."
    )
    retry_backoff_seconds: Whole = Field(
        default=10,
        ge=0,
        le=24 * 3600,
        description="Seconds before the first retry. The delay doubles with each further retry.",
    )
    retry_on: RetryOn = Field(default=RETRYABLE, description="The reasons for failure that are retried.")
    priority: Priority = Field(default=0, description="Waiting runs with a higher priority start first.")
    max_running: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Maximum number of the job's runs at the same time; null for no limit.",
    )
    pull_policy: PullPolicy = Field(
        default=PullPolicy.IF_NOT_PRESENT, description="When the image is pulled."
    )
    log_limit_bytes: Whole | None = Field(
        default=None,
        ge=LEAST_LOG_BYTES,
        le=MOST_LOG_BYTES,
        description="How much of a run's output is kept, in bytes; null for the daemon's setting.",
    )
    retention_days: Whole | None = Field(
        default=None,
        ge=0,
        le=36_500,
        description="Days that ended runs are kept; 0 for no limit, null for the daemon's setting.",
    )
    retention_count: Whole | None = Field(
        default=None,
        ge=0,
        le=10**9,
        description="Number of ended runs that are kept; 0 for no limit, null for the daemon's setting.",
    )
    retention_log_bytes: Whole | None = Field(
        default=None,
        ge=0,
        le=2**62,
        description="Bytes of output of ended runs that are kept; 0 for no limit, null for the daemon's setting.",
    )

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as `JobDefinition` takes them."""
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        if "mounts" in fields:
            fields["mounts"] = tuple(mount.as_mount() for mount in self.mounts)
        return fields


class JobCreate(_JobFields):
    """The body of `POST /v1/jobs`."""

    model_config = ConfigDict(
        json_schema_extra={
            # Only an existing schedule can be switched on.
            "if": {"properties": {"is_schedule_active": {"const": True}}, "required": ["is_schedule_active"]},
            "then": {"properties": {"schedule_mode": {"type": "string"}}, "required": ["schedule_mode"]},
        }
    )

    name: Name = Field(description="The job's name, unique in its namespace.")
    docker_image_repo: Repository = Field(
        description="The image without its tag: `busybox`, `registry.example.com:5000/team/image`."
    )


class JobChange(_JobFields):
    """The body of `PUT` and `PATCH /v1/jobs/{id}`: fields that are left out stay as they are."""

    described_like = (JobCreate,)

    name: Name = ""
    docker_image_repo: Repository = ""


class LastExecOut(Output):
    """A job's latest run, in short."""

    id: str = Field(description="The run's id.")
    status: ExecStatus = Field(description="The status of the run.")
    trigger_mode: TriggerMode = Field(description="What triggered the run.")
    created_at: Moment = Field(description="When the run was created (UTC).")
    scheduled_for: Moment | None = Field(
        description="The due time that the run was created for (UTC); null if it was triggered manually."
    )
    started_at: Moment | None = Field(description="When the container started (UTC); null before that.")
    ended_at: Moment | None = Field(description="When the run ended (UTC); null before that.")
    exit_code: int | None = Field(
        description="Exit code of the container's process; null if it has not ended or never started."
    )
    fail_reason: FailReason | None = Field(description="Why the run failed; null if it did not fail.")


class _Named(Output):
    """The first fields of a job."""

    id: int = Field(description="The job's id.")
    name: str = Field(description="The job's name, unique in its namespace.")
    namespace: str = Field(description="The job's namespace.")


class _JobOut(ContainerOut, _Named):
    described_like = (JobCreate,)

    command: str | list[str] | None
    docker_image_repo: str
    docker_image_tag: str
    resource_size: str
    region_name: str
    is_schedule_active: bool
    schedule_mode: str | None
    schedule_timezone: str | None
    email_enabled: bool
    labels: dict[str, str]
    misfire_policy: MisfirePolicy
    misfire_grace_seconds: int
    concurrency_policy: ConcurrencyPolicy
    timeout_seconds: int | None
    stop_grace_seconds: int
    max_retries: int
    retry_backoff_seconds: int
    retry_on: list[FailReason]
    priority: int
    max_running: int | None
    pull_policy: PullPolicy
    log_limit_bytes: int | None
    retention_days: int | None
    retention_count: int | None
    retention_log_bytes: int | None
    created_by: str = Field(description="The user that created the job.")
    created_at: Moment = Field(description="When the job was created (UTC).")
    updated_at: Moment = Field(description="When the job was last changed (UTC).")
    next_run_at: Moment | None = Field(
        description="The next due time (UTC); null if there is none or the schedule is off."
    )
    schedule_state: ScheduleState = Field(description="The state of the schedule.")
    last_exec: LastExecOut | None = Field(description="The job's latest run; null if there is none.")


class JobOut(_JobOut):
    """A job, as users receive it."""

    runtime_vars: dict[str, str | dict[str, str]]

    @classmethod
    def of_view(cls, view: JobView) -> Self:
        """The shape of a job with its latest run."""
        return cls.of(*job_sources(view), **job_values(view))


def job_sources(view: JobView) -> tuple[object, ...]:
    """The objects that a job's fields come from."""
    return view.job, view.job.definition


def job_values(view: JobView) -> dict[str, Any]:
    """The fields of a job that have another name in those objects."""
    return {"next_run_at": view.job.cursor.next_due_at, "last_exec": view.last_exec}


#: Fields that only exist in answers.
READ_ONLY: Final = tuple(sorted(set(JobOut.model_fields) - set(JobCreate.model_fields)))
