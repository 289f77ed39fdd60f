"""Makes new execs: a snapshot of a job's definition with what the trigger changes.

Pure but for the random id.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime

from scheduler.errors import FieldError, InvalidInputError
from scheduler.execution import Exec, ExecSpec, ExecStatus, TriggerMode
from scheduler.job import Command, ContainerOptions, Job, Size


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
    size_name = overrides.resource_size or definition.resource_size
    size = sizes.get(size_name)
    if size is None:
        raise InvalidInputError(
            FieldError(
                "resource_size", size_name, "is not a configured size", f"use one of {', '.join(sizes)}"
            )
        )
    options = {field.name: getattr(definition, field.name) for field in fields(ContainerOptions)}
    if overrides.docker_image_tag not in (None, definition.docker_image_tag):
        options["docker_image_digest"] = None  # the digest is that of the job's own tag
    spec = ExecSpec(
        docker_image_repo=definition.docker_image_repo,
        docker_image_tag=overrides.docker_image_tag or definition.docker_image_tag,
        command=overrides.command if "command" in overrides.names else definition.command,
        runtime_vars={**definition.runtime_vars, **(overrides.runtime_vars or {})},
        resource_size=size_name,
        cpus=size.cpus,
        memory_bytes=size.memory_bytes,
        region_name=definition.region_name,
        pull_policy=definition.pull_policy,
        concurrency_policy=definition.concurrency_policy,
        timeout_seconds=definition.timeout_seconds,
        stop_grace_seconds=definition.stop_grace_seconds,
        max_retries=definition.max_retries,
        retry_backoff_seconds=definition.retry_backoff_seconds,
        retry_on=definition.retry_on,
        priority=definition.priority if overrides.priority is None else overrides.priority,
        log_limit_bytes=definition.log_limit_bytes,
        labels={**definition.labels, **(overrides.labels or {})},
        **options,
    )
    return Exec(
        id=str(uuid.uuid4()),
        job_id=job.id,
        namespace=definition.namespace,
        spec=spec,
        status=ExecStatus.WAITING,
        trigger_mode=trigger_mode,
        created_by=created_by,
        created_at=now,
        scheduled_for=scheduled_for,
    )


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
        image_digest=None,
        node=None,
        number=0,
    )
