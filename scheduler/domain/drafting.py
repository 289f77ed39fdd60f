"""Creates new runs: a snapshot of the job's options with the overrides of the trigger.

Pure, except for the random id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from scheduler.domain import chance
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.execution import Exec, ExecSpec, ExecStatus, TriggerMode
from scheduler.domain.job import Command, Job, RunOptions, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a trigger changes for its own run.

    Attributes:
        names: the fields that the trigger named; a command of None only counts if it is named.
        runtime_vars: added to the job's variables; variables of the same name are replaced.
        labels: added in the same way.
    """

    names: frozenset[str] = frozenset()
    command: Command = None
    runtime_vars: Mapping[str, str] | None = None
    docker_image_tag: str | None = None
    resource_size: str | None = None
    labels: Mapping[str, str] | None = None
    priority: int | None = None


NO_OVERRIDES = Overrides()


def draft_exec(
    job: Job,
    sizes: Mapping[str, Size],
    *,
    trigger_mode: TriggerMode,
    created_by: str,
    now: datetime,
    scheduled_for: datetime | None = None,
    overrides: Overrides = NO_OVERRIDES,
) -> Exec:
    """A new run, waiting.

    Args:
        job: the job.
        sizes: all configured sizes by name.
        trigger_mode: what triggered it.
        created_by: the user; the job's owner for scheduled runs.
        now: its creation time (UTC).
        scheduled_for: the due time it was created for (UTC), if any.
        overrides: how it differs from its job.

    Raises:
        InvalidInputError: its size is not configured.
    """
    definition = job.definition
    options = {option.name: getattr(definition, option.name) for option in fields(RunOptions)}
    size = overrides.resource_size or definition.resource_size
    spec = ExecSpec(**options | _reservation(size, sizes))
    if overrides.docker_image_tag not in (None, definition.docker_image_tag):
        spec = replace(spec, docker_image_digest=None)  # the digest belongs to the job's own tag
    return Exec(
        id=chance.new_id(),
        job_id=job.id,
        namespace=definition.namespace,
        spec=_changed(spec, overrides),
        status=ExecStatus.WAITING,
        trigger_mode=trigger_mode,
        created_by=created_by,
        created_at=now,
        scheduled_for=scheduled_for,
    )


def draft_replay(
    earlier: Exec,
    job: Job,
    sizes: Mapping[str, Size],
    *,
    created_by: str,
    now: datetime,
    overrides: Overrides = NO_OVERRIDES,
) -> Exec:
    """A new run that repeats an earlier one, even if the job has changed since.

    Image, command, variables, size, options and the names of secrets are those of the earlier run. Its
    `concurrency_policy` and its namespace are those of the job as it is now. The image is the one that the earlier
    run used, unless the trigger names a tag.

    Args:
        earlier: the run to repeat.
        job: its job as it is now.
        sizes: all configured sizes by name; only used for a size that the trigger names.
        created_by: the user.
        now: its creation time (UTC).
        overrides: how it differs from the earlier run.

    Raises:
        InvalidInputError: the size that the trigger names is not configured.
    """
    same_image = overrides.docker_image_tag is None
    seen = earlier.image_digest if same_image else None
    spec = replace(
        _changed(earlier.spec, overrides),
        concurrency_policy=job.definition.concurrency_policy,
        docker_image_digest=(seen or earlier.spec.docker_image_digest) if same_image else None,
        **(_reservation(overrides.resource_size, sizes) if overrides.resource_size is not None else {}),
    )
    return Exec(
        id=chance.new_id(),
        job_id=job.id,
        namespace=job.definition.namespace,
        spec=spec,
        status=ExecStatus.WAITING,
        trigger_mode=TriggerMode.MANUAL,
        created_by=created_by,
        created_at=now,
        replay_of=earlier.id,
        image_digest=seen,
    )


def _changed(spec: ExecSpec, overrides: Overrides) -> ExecSpec:
    """The spec with the overrides of the trigger, except for the size and the digest of the image."""
    return replace(
        spec,
        docker_image_tag=overrides.docker_image_tag or spec.docker_image_tag,
        command=overrides.command if "command" in overrides.names else spec.command,
        runtime_vars={**spec.runtime_vars, **(overrides.runtime_vars or {})},
        priority=spec.priority if overrides.priority is None else overrides.priority,
        labels={**spec.labels, **(overrides.labels or {})},
    )


def _reservation(name: str, sizes: Mapping[str, Size]) -> dict[str, Any]:
    """What is reserved for a run of that size, as fields of its spec.

    Raises:
        InvalidInputError: the size is not configured.
    """
    size = sizes.get(name)
    if size is None:
        raise InvalidInputError(
            FieldError("resource_size", name, "is not a configured size", f"use one of {', '.join(sizes)}")
        )
    return {"resource_size": name, "cpus": size.cpus, "memory_bytes": size.memory_bytes}


def draft_retry(ended: Exec, *, now: datetime, not_before: datetime) -> Exec:
    """The next attempt of a run that failed: a run of its own, linked to the first attempt."""
    spec = ended.spec
    if spec.pin_digest and spec.docker_image_digest is None:
        spec = replace(spec, docker_image_digest=ended.image_digest)
    return replace(
        ended,
        spec=spec,
        id=chance.new_id(),
        status=ExecStatus.WAITING,
        trigger_mode=TriggerMode.RETRY,
        created_at=now,
        attempt=ended.attempt + 1,
        retry_of=ended.retry_of or ended.id,
        not_before=not_before,
        owner=None,
        dispatched_at=None,
        start_requested_at=None,
        stop_requested_at=None,
        stop_reason=None,
        started_at=None,
        ended_at=None,
        exit_code=None,
        fail_reason=None,
        error=None,
        image_digest=ended.image_digest if ended.repeats_image else None,
        node=None,
        number=0,
    )
