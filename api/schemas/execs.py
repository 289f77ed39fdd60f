"""Execs on the wire: what a trigger may carry, and a run as users receive it."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field

from api.schemas.common import Input, Moment, Output
from api.schemas.containers import ContainerOut, container_values
from api.schemas.fields import CommandIn, Labels, Priority, Tag, Text, Variables
from api.schemas.jobs import _JobOut, job_values
from scheduler.domain.drafting import Overrides
from scheduler.domain.execution import ExecStatus, FailReason, TriggerMode
from scheduler.domain.views import ExecView, JobView


class ExecCreate(Input):
    """The body of `POST /v1/jobs/{id}/execs`: what this run does otherwise than its job."""

    command: CommandIn = None
    runtime_vars: Variables | None = None
    labels: Labels | None = None
    docker_image_tag: Tag | None = None
    resource_size: Text | None = None
    priority: Priority | None = None

    def overrides(self) -> Overrides:
        """As the service takes them."""
        return Overrides(
            names=frozenset(self.model_fields_set),
            command=self.command,
            runtime_vars=self.runtime_vars,
            labels=self.labels,
            docker_image_tag=self.docker_image_tag,
            resource_size=self.resource_size,
            priority=self.priority,
        )


class ExecStop(Input):
    """The body of `POST /v1/jobs/{id}/execs/{id}/stop`; there is nothing to say yet."""


class DurationOut(Output):
    """How long a run took, in whole hours, minutes and seconds."""

    hours: int = Field(ge=0)
    minutes: int = Field(ge=0, le=59)
    seconds: int = Field(ge=0, le=59)


class _Standing(Output):
    """What is shown first: which run, and how it stands."""

    id: str
    status: ExecStatus
    trigger_mode: TriggerMode


class _ExecOut(ContainerOut, _Standing):
    docker_image_repo: str
    docker_image_tag: str
    command: str | list[str] | None
    runtime_vars: dict[str, str | dict[str, str]]
    resource_size: str
    region_name: str
    labels: dict[str, str]
    priority: int
    created_by: str
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    duration: DurationOut | None
    exit_code: int | None
    fail_reason: FailReason | None
    error: str | None
    stop_reason: str | None
    scheduled_for: Moment | None
    attempt: int
    retry_of: str | None
    replay_of: str | None
    image_digest: str | None
    node: str | None
    waiting_for: str | None


class ExecOut(_ExecOut):
    """A run in lists and on creation: its job is the job's id."""

    job: int

    @classmethod
    def of(cls, view: ExecView) -> Self:
        """The shape of a run."""
        return cls(**exec_values(view), job=view.exec.job_id)


class JobInExecOut(_JobOut):
    """The job inside a run's detail; its variables are a JSON string there, as the seed shows."""

    runtime_vars: str


class ExecDetailOut(_ExecOut):
    """A run in detail: its job is the whole job as it is now."""

    job: JobInExecOut

    @classmethod
    def of_both(cls, view: ExecView, job: JobView) -> Self:
        """The shape of a run with its job."""
        variables = json.dumps(dict(job.job.definition.runtime_vars), ensure_ascii=False)
        return cls(**exec_values(view), job=JobInExecOut(**job_values(job), runtime_vars=variables))


def exec_values(view: ExecView) -> dict[str, Any]:
    """The values of a run's fields on the wire, all but its job."""
    one = view.exec
    own = ("id", "status", "trigger_mode", "created_by", "created_at", "started_at", "ended_at", "exit_code")
    more = (
        "fail_reason",
        "error",
        "stop_reason",
        "scheduled_for",
        "attempt",
        "retry_of",
        "replay_of",
        "image_digest",
        "node",
    )
    spec = ("docker_image_repo", "docker_image_tag", "command", "resource_size", "region_name", "priority")
    duration = None
    if one.started_at is not None and one.ended_at is not None:
        minutes, seconds = divmod(int((one.ended_at - one.started_at).total_seconds()), 60)
        duration = DurationOut(hours=minutes // 60, minutes=minutes % 60, seconds=seconds)
    return {
        **{name: getattr(one, name) for name in own + more},
        **{name: getattr(one.spec, name) for name in spec},
        **container_values(one.spec),
        "runtime_vars": dict(one.spec.runtime_vars),
        "labels": dict(one.spec.labels),
        "duration": duration,
        "waiting_for": view.waiting_for,
    }
