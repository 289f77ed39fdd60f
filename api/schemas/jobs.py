"""Jobs on the wire: what users send to define one, and what they receive."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field

from api.schemas.common import Input, Moment, Output, Whole, shown_as
from api.schemas.containers import (
    Capabilities,
    ContainerOut,
    Digest,
    Mounts,
    Network,
    SecretFiles,
    User,
    container_values,
)
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

#: A year; longer times are mistakes of unit.
LONGEST_SECONDS: Final = 366 * 24 * 3600


class _JobFields(Input):
    """The fields of a job that have a default; the daemon's settings give those of size and region."""

    namespace: Namespace = ""
    docker_image_tag: Tag = "latest"
    command: CommandIn = None
    resource_size: Text = ""
    region_name: Text = ""
    runtime_vars: JobVariables = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    email_enabled: bool = False
    is_schedule_active: bool = False
    schedule_mode: Annotated[Text, shown_as(maxLength=1_000, format="schedule")] | None = None
    schedule_timezone: Annotated[Text, shown_as(maxLength=1_000, format="timezone")] | None = None
    misfire_policy: MisfirePolicy = MisfirePolicy.LATEST
    misfire_grace_seconds: Whole = Field(default=1, ge=0, le=LONGEST_SECONDS)
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    timeout_seconds: Whole | None = Field(default=None, ge=1, le=LONGEST_SECONDS)
    stop_grace_seconds: Whole = Field(default=10, ge=0, le=3600)
    max_retries: Whole = Field(default=0, ge=0, le=100)
    retry_backoff_seconds: Whole = Field(default=10, ge=0, le=24 * 3600)
    retry_on: RetryOn = RETRYABLE
    priority: Priority = 0
    max_running: Whole | None = Field(default=None, ge=1, le=1_000_000)
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    log_limit_bytes: Whole | None = Field(default=None, ge=LEAST_LOG_BYTES, le=MOST_LOG_BYTES)
    retention_days: Whole | None = Field(default=None, ge=0, le=36_500)
    retention_count: Whole | None = Field(default=None, ge=0, le=10**9)
    retention_log_bytes: Whole | None = Field(default=None, ge=0, le=2**62)
    capabilities: Capabilities = ()
    mounts: Mounts = Field(default_factory=list)
    secret_files: SecretFiles = Field(default_factory=dict)
    user: User | None = None
    read_only_root: bool = False
    network: Network | None = None
    pin_digest: bool = False
    docker_image_digest: Digest | None = None

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as `JobDefinition` takes them."""
        found = {name: getattr(self, name) for name in self.model_fields_set}
        if "mounts" in found:
            found["mounts"] = tuple(mount.as_mount() for mount in self.mounts)
        return found


class JobCreate(_JobFields):
    """The body of `POST /v1/jobs`."""

    model_config = ConfigDict(
        json_schema_extra={
            # There has to be a schedule to be switched on.
            "if": {"properties": {"is_schedule_active": {"const": True}}, "required": ["is_schedule_active"]},
            "then": {"properties": {"schedule_mode": {"type": "string"}}, "required": ["schedule_mode"]},
        }
    )

    name: Name
    docker_image_repo: Repository


class JobChange(_JobFields):
    """The body of `PUT` and `PATCH /v1/jobs/{id}`: what it names changes, the rest stays."""

    name: Name = ""
    docker_image_repo: Repository = ""


class LastExecOut(Output):
    """A job's newest run, in short."""

    id: str
    status: ExecStatus
    trigger_mode: TriggerMode
    created_at: Moment
    scheduled_for: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    exit_code: int | None
    fail_reason: FailReason | None


class _Named(Output):
    """What is shown first."""

    id: int
    name: str
    namespace: str


class _JobOut(ContainerOut, _Named):
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
    created_by: str
    created_at: Moment
    updated_at: Moment
    next_run_at: Moment | None
    schedule_state: ScheduleState
    last_exec: LastExecOut | None


class JobOut(_JobOut):
    """A job, as users receive it."""

    runtime_vars: dict[str, str | dict[str, str]]

    @classmethod
    def of(cls, view: JobView) -> Self:
        """The shape of a job."""
        return cls(**job_values(view), runtime_vars=dict(view.job.definition.runtime_vars))


def job_values(view: JobView) -> dict[str, Any]:
    """The values of a job's fields on the wire, all but its variables."""
    job, last = view.job, view.last_exec
    definition = job.definition
    return {
        **{
            name: getattr(definition, name)
            for name in _JobFields.model_fields
            if name not in {"runtime_vars", "labels", "retry_on", *ContainerOut.model_fields}
        },
        **container_values(definition),
        "retry_on": list(definition.retry_on),
        "name": definition.name,
        "docker_image_repo": definition.docker_image_repo,
        "labels": dict(definition.labels),
        "id": job.id,
        "created_by": job.created_by,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "next_run_at": job.cursor.next_due_at,
        "schedule_state": job.schedule_state,
        "last_exec": None
        if last is None
        else LastExecOut(**{name: getattr(last, name) for name in LastExecOut.model_fields}),
    }


#: Fields that only answers have.
READ_ONLY: Final = tuple(sorted(set(JobOut.model_fields) - set(JobCreate.model_fields)))
