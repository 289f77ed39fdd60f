"""Runs on the wire: the body of a trigger, and a run as users receive it."""

from __future__ import annotations

import json
from typing import Self

from pydantic import Field

from api.schemas.common import Input, Moment, Output
from api.schemas.containers import ContainerOut
from api.schemas.fields import CommandIn, Labels, Priority, Tag, Text, Variables
from api.schemas.jobs import JobCreate, _JobOut, job_sources, job_values
from scheduler.domain.drafting import Overrides
from scheduler.domain.execution import Exec, ExecStatus, FailReason, TriggerMode
from scheduler.domain.views import ExecView, JobView


class ExecCreate(Input):
    """The body of `POST /v1/jobs/{id}/execs`: how this run differs from its job."""

    described_like = (JobCreate,)

    command: CommandIn = None
    runtime_vars: Variables | None = None
    labels: Labels | None = None
    docker_image_tag: Tag | None = None
    resource_size: Text | None = None
    priority: Priority | None = None

    def overrides(self) -> Overrides:
        """The overrides as the service accepts them."""
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
    """The body of `POST /v1/jobs/{id}/execs/{id}/stop`; it has no fields."""


class DurationOut(Output):
    """The duration of a run, in whole hours, minutes and seconds."""

    hours: int = Field(ge=0, description="Hours.")
    minutes: int = Field(ge=0, le=59, description="Minutes, 0 to 59.")
    seconds: int = Field(ge=0, le=59, description="Seconds, 0 to 59.")


class _Standing(Output):
    """The first fields of a run."""

    id: str = Field(description="The run's id.")
    status: ExecStatus = Field(description="The status of the run.")
    trigger_mode: TriggerMode = Field(description="What triggered the run.")


class _ExecOut(ContainerOut, _Standing):
    described_like = (JobCreate,)

    docker_image_repo: str
    docker_image_tag: str
    command: str | list[str] | None
    runtime_vars: dict[str, str | dict[str, str]]
    resource_size: str
    region_name: str
    labels: dict[str, str]
    priority: int
    created_by: str = Field(
        description="The user that triggered the run; the job's owner for scheduled runs."
    )
    created_at: Moment = Field(description="When the run was created (UTC).")
    started_at: Moment | None = Field(description="When the container started (UTC); null before that.")
    ended_at: Moment | None = Field(description="When the run ended (UTC); null before that.")
    duration: DurationOut | None = Field(description="Time from start to end.")
    exit_code: int | None = Field(
        description="Exit code of the container's process; null if it has not ended or never started."
    )
    fail_reason: FailReason | None = Field(description="Why the run failed; null if it did not fail.")
    error: str | None = Field(description="What went wrong, in words; null if nothing did.")
    stop_reason: str | None = Field(description="Who or what stopped the run; null if it was not stopped.")
    scheduled_for: Moment | None = Field(
        description="The due time that the run was created for (UTC); null if it was triggered manually."
    )
    attempt: int = Field(description="1 for the first attempt, incremented with each retry.")
    retry_of: str | None = Field(description="For retries, the id of the first attempt.")
    replay_of: str | None = Field(description="For replays, the id of the run that is repeated.")
    image_digest: str | None = Field(description="Digest of the image that was used; null until it is known.")
    node: str | None = Field(description="The machine that the run was on; null if unknown.")
    waiting_for: str | None = Field(
        description="What a waiting run is waiting for, in words; null if it is not waiting."
    )


class ExecOut(_ExecOut):
    """A run in lists and when it is created, with the id of its job."""

    job: int = Field(description="The job's id.")

    @classmethod
    def of_view(cls, view: ExecView) -> Self:
        """The shape of a run."""
        return cls.of(*exec_sources(view), job=view.exec.job_id, duration=duration_of(view.exec))


class JobInExecOut(_JobOut):
    """The job in a run's details. Its variables are a JSON string."""

    runtime_vars: str = Field(description="The job's environment variables, as a JSON string.")


class ExecDetailOut(_ExecOut):
    """A run in detail, with its job as it is now."""

    job: JobInExecOut = Field(description="The job as it is now.")

    @classmethod
    def of_both(cls, view: ExecView, job: JobView) -> Self:
        """The shape of a run with its job."""
        variables = json.dumps(dict(job.job.definition.runtime_vars), ensure_ascii=False)
        return cls.of(
            *exec_sources(view),
            job=JobInExecOut.of(*job_sources(job), **job_values(job), runtime_vars=variables),
            duration=duration_of(view.exec),
        )


def exec_sources(view: ExecView) -> tuple[object, ...]:
    """The objects that a run's fields come from."""
    return view, view.exec, view.exec.spec


def duration_of(run: Exec) -> DurationOut | None:
    """The duration of a run; None if it has not ended or never started."""
    if run.started_at is None or run.ended_at is None:
        return None
    minutes, seconds = divmod(int((run.ended_at - run.started_at).total_seconds()), 60)
    return DurationOut(hours=minutes // 60, minutes=minutes % 60, seconds=seconds)
