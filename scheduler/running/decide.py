"""What container a run needs, what the end of one means for its exec, and whether the run is tried again.

Pure: facts in, decisions out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.domain.job import command_words
from scheduler.domain.secret_files import directories_of
from scheduler.engine.protocol import LaunchSpec, RunStatus
from scheduler.policy.container_policy import BRIDGE, ContainerPolicy, violations, words_of

#: The longest pause before a retry.
LONGEST_BACKOFF: Final = timedelta(hours=24)
#: Exit codes of a container that was stopped: 128 + SIGTERM, 128 + SIGKILL.
STOPPED_BY_SIGNAL: Final = frozenset({143, 137})
#: What a Docker Engine notes when it comes back and containerd does not know the process any more.
ENGINE_KNOWS_NO_CODE: Final = 255
#: The reason of a stop whose reason was not stored.
UNTOLD: Final = "on request"


class StopCause(Enum):
    """Why Timeball itself ended a container."""

    REQUEST = auto()  # somebody asked, or a newer run replaces it
    TIMEOUT = auto()  # it ran longer than timeout_seconds


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, as it is recorded."""

    status: ExecStatus
    exit_code: int | None = None
    fail_reason: FailReason | None = None
    error: str | None = None


def end_of(one: Exec, status: RunStatus, cause: StopCause | None, reason: str | None = None) -> End:
    """What the end of its container means.

    Args:
        one: the exec.
        status: of its container, which has ended.
        cause: why Timeball stopped it; None when it ended by itself.
        reason: who asked for that, or what, if it was asked for.
    """
    code = status.exit_code
    if cause is StopCause.REQUEST:
        return End(ExecStatus.CANCELLED, code, error=f"It was stopped: {reason or UNTOLD}.")
    if cause is StopCause.TIMEOUT:
        return End(
            ExecStatus.FAILED,
            code,
            FailReason.TIMEOUT,
            f"It was stopped after timeout_seconds = {one.spec.timeout_seconds}.",
        )
    if code in STOPPED_BY_SIGNAL and _outlasted(one, status):
        # An earlier daemon asked the engine to stop it, and did not live to see that.
        return End(
            ExecStatus.FAILED,
            code,
            FailReason.TIMEOUT,
            f"It was stopped for running longer than timeout_seconds = {one.spec.timeout_seconds}.",
        )
    if code == 0:
        return End(ExecStatus.SUCCEEDED, 0)
    if status.oom_killed:
        return End(
            ExecStatus.FAILED,
            code,
            FailReason.OOM_KILLED,
            f"It was killed for using more than the {one.spec.memory_bytes >> 20} MiB of memory "
            f"of its size {one.spec.resource_size}; a larger resource_size may help.",
        )
    words = f"The command ended with exit code {code}."
    if code == ENGINE_KNOWS_NO_CODE:
        words += " An engine that was killed says so too where it does not know how a command ended."
    if status.error:
        words = f"{words} {status.error}"
    return End(ExecStatus.FAILED, code, FailReason.EXIT_CODE, words)


def _outlasted(one: Exec, status: RunStatus) -> bool:
    """Whether the container lived longer than its run may take."""
    limit = one.spec.timeout_seconds
    if limit is None or status.started_at is None or status.finished_at is None or status.oom_killed:
        return False
    return status.finished_at - status.started_at >= timedelta(seconds=limit)


def cancelled_before_start(reason: str | None = None) -> End:
    """What it means that a run was stopped while its container did not run yet."""
    return End(
        ExecStatus.CANCELLED, error=f"It was stopped before its container started: {reason or UNTOLD}."
    )


def stopped_after(end: End, reason: str | None = None) -> End:
    """What the end of a run that would be tried again is, when somebody has asked for its stop meanwhile."""
    return End(ExecStatus.CANCELLED, end.exit_code, error=f"It was stopped: {reason or UNTOLD}.")


def lost(cause: StopCause | None, reason: str | None = None) -> End:
    """What it means that a run's container is gone and its end unknown.

    Args:
        cause: why Timeball meant to stop it; None when it did not.
        reason: who asked for that, or what, if it was asked for.
    """
    if cause is StopCause.REQUEST:
        return End(ExecStatus.CANCELLED, error=f"It was stopped: {reason or UNTOLD}; its container is gone.")
    return End(
        ExecStatus.FAILED,
        None,
        FailReason.ENGINE_LOST,
        "Its container is gone from the engine without Timeball having removed it, so its end is unknown.",
    )


def region_missing(one: Exec) -> End:
    """What it means that a run's region is not configured (any more)."""
    region = one.spec.region_name
    if one.dispatched_at is None:
        reason = FailReason.START_FAILED
        words = f"Its region {region} is not configured; name another, or configure it."
    else:
        reason = FailReason.ENGINE_LOST
        words = (
            f"Its region {region} is not configured any more, so its end is unknown; "
            "a container of it is removed when the region is configured again."
        )
    return End(ExecStatus.FAILED, None, reason, words)


def stop_words(one: Exec, cause: StopCause | None, reason: str | None = None) -> str:
    """What the log says when the engine is asked to stop the container."""
    if cause is StopCause.TIMEOUT:
        return f"Stopping: it has run for timeout_seconds = {one.spec.timeout_seconds}"
    return f"Stopping: {reason or UNTOLD}"


def retry_at(one: Exec, end: End, now: datetime, *, jitter: float | None = None) -> datetime | None:
    """When the run is to be tried again, or None if it is not.

    Only the ends that its `retry_on` names are tried again. The pause doubles with every attempt, from
    retry_backoff_seconds on, with up to a tenth more at random so that runs that failed together do not come back
    together; before that tenth it is never longer than `LONGEST_BACKOFF`.

    Args:
        one: the exec that ended.
        end: how.
        now: the present (UTC).
        jitter: between 0 and 1, instead of a random number.
    """
    if end.fail_reason not in one.spec.retry_on or one.attempt > one.spec.max_retries:
        return None
    exponent = min(one.attempt - 1, 32)
    pause = min(timedelta(seconds=one.spec.retry_backoff_seconds * 2.0**exponent), LONGEST_BACKOFF)
    share = random.random() if jitter is None else jitter  # noqa: S311 - it spreads load, it guards nothing
    return now + pause * (1 + share / 10)


def denial(one: Exec, policy: ContainerPolicy) -> str | None:
    """Why the policy of its namespace does not let a run start, for people; None if it does."""
    beyond = violations(policy, one.spec.docker_image_repo, one.spec)
    return f"The run is denied: {words_of(beyond)}" if beyond else None


def launch_spec(
    one: Exec, policy: ContainerPolicy, environment: Mapping[str, str], *, image: str
) -> LaunchSpec:
    """The container that a run needs, with what the policy gives it.

    Args:
        one: the exec.
        policy: of its namespace.
        environment: its variables, with the values of secrets in them.
        image: what the engine knows its image by.
    """
    network = policy.network_of(one.spec)
    return LaunchSpec(
        exec_id=one.id,
        job_id=one.job_id,
        image=image,
        command=command_words(one.spec.command),
        environment=environment,
        cpus=one.spec.cpus,
        memory_bytes=one.spec.memory_bytes,
        pids_limit=policy.pids_limit,
        nofile_limit=policy.nofile_limit,
        capabilities=policy.capabilities_of(one.spec),
        no_new_privileges=policy.no_new_privileges,
        mounts=one.spec.mounts,
        secret_directories=directories_of(one.spec.secret_files),
        user=one.spec.user,
        read_only_root=one.spec.read_only_root,
        network=None if network == BRIDGE else network,
    )
