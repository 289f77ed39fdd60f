"""Makes new execs: a snapshot of a job's definition with what the trigger changes.

Pure but for the random id.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.execution import Exec, ExecSpec, ExecStatus, TriggerMode
from scheduler.domain.job import Command, ContainerOptions, Job, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one trigger changes for its run alone.

    Attributes:
        names: the fields that the trigger named; a command of None counts only if it is named.
        runtime_vars: added to the job's own, which they replace by name.
        labels: likewise.
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
    """A new exec that waits.

    Args:
        job: what it is a run of.
        sizes: all sizes by name.
        trigger_mode: what makes it happen.
        created_by: the user, or the job's owner for scheduled runs.
        now: its time of creation (UTC).
        scheduled_for: the due time it serves (UTC), if any.
        overrides: what it does otherwise than its job.

    Raises:
        InvalidInputError: its size is not configured (any more).
    """
    definition = job.definition
    spec = ExecSpec(
        docker_image_repo=definition.docker_image_repo,
        docker_image_tag=definition.docker_image_tag,
        command=definition.command,
        runtime_vars=definition.runtime_vars,
        **_reservation(overrides.resource_size or definition.resource_size, sizes),
        region_name=definition.region_name,
        pull_policy=definition.pull_policy,
        concurrency_policy=definition.concurrency_policy,
        timeout_seconds=definition.timeout_seconds,
        stop_grace_seconds=definition.stop_grace_seconds,
        max_retries=definition.max_retries,
        retry_backoff_seconds=definition.retry_backoff_seconds,
        retry_on=definition.retry_on,
        priority=definition.priority,
        log_limit_bytes=definition.log_limit_bytes,
        labels=definition.labels,
        **{field.name: getattr(definition, field.name) for field in fields(ContainerOptions)},
    )
    if overrides.docker_image_tag not in (None, definition.docker_image_tag):
        spec = replace(spec, docker_image_digest=None)  # the digest is that of the job's own tag
    return Exec(
        id=str(uuid.uuid4()),
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
    """A new exec that does again what an earlier one did, whatever has become of its job since.

    What it does is the earlier run's: image, command, variables, size and options, and secrets by their names. How
    it gets along with other runs of the job (`concurrency_policy`), and where it belongs, is the job's of now.
    The image is the one that the earlier run was seen to run; a trigger that names a tag means what the tag means
    by then.

    Args:
        earlier: the run that is done again.
        job: its job, as it is now.
        sizes: all sizes by name; asked only for one that the trigger names.
        created_by: the user.
        now: its time of creation (UTC).
        overrides: what it does otherwise than the earlier run.

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
        id=str(uuid.uuid4()),
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
    """A run's spec with what its trigger changes, but for the size and the digest of its image."""
    return replace(
        spec,
        docker_image_tag=overrides.docker_image_tag or spec.docker_image_tag,
        command=overrides.command if "command" in overrides.names else spec.command,
        runtime_vars={**spec.runtime_vars, **(overrides.runtime_vars or {})},
        priority=spec.priority if overrides.priority is None else overrides.priority,
        labels={**spec.labels, **(overrides.labels or {})},
    )


def _reservation(name: str, sizes: Mapping[str, Size]) -> dict[str, Any]:
    """What a run of that size has reserved for it, as fields of its spec.

    Raises:
        InvalidInputError: the size is not configured (any more).
    """
    size = sizes.get(name)
    if size is None:
        raise InvalidInputError(
            FieldError("resource_size", name, "is not a configured size", f"use one of {', '.join(sizes)}")
        )
    return {"resource_size": name, "cpus": size.cpus, "memory_bytes": size.memory_bytes}


def draft_retry(ended: Exec, *, now: datetime, not_before: datetime) -> Exec:
    """The next attempt at a run that failed: an exec of its own, linked to the first."""
    spec = ended.spec
    if spec.pin_digest and spec.docker_image_digest is None:
        spec = replace(spec, docker_image_digest=ended.image_digest)
    return replace(
        ended,
        spec=spec,
        id=str(uuid.uuid4()),
        status=ExecStatus.WAITING,
        trigger_mode=TriggerMode.RETRY,
        created_at=now,
        attempt=ended.attempt + 1,
        retry_of=ended.retry_of or ended.id,
        not_before=not_before,
        owner=None,
        dispatched_at=None,
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
