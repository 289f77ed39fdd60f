"""Decides which container a run needs, what the container's end means for the run, and whether to retry it.

Pure: facts in, decisions out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

from scheduler.domain import chance
from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.domain.job import ContainerOptions, command_words
from scheduler.domain.secret_files import directories_of
from scheduler.engine.types import LaunchSpec, RunStatus
from scheduler.policy.container_policy import BRIDGE, ContainerPolicy, violations

#: The container options of a run that a launch has under the same name.
_OPTIONS: Final = {option.name for option in fields(ContainerOptions)} & {
    field.name for field in fields(LaunchSpec)
}
#: The longest pause before a retry.
LONGEST_BACKOFF: Final = timedelta(hours=24)
#: Exit codes of a stopped container: 128 + SIGTERM, 128 + SIGKILL.
STOPPED_BY_SIGNAL: Final = frozenset({143, 137})
#: The exit code that a Docker Engine records if containerd does not know the process after a restart.
ENGINE_KNOWS_NO_CODE: Final = 255
#: Used if the reason of a stop was not stored.
UNTOLD: Final = "requested by a user"


class StopCause(Enum):
    """Why Timeball stopped a container."""

    REQUEST = auto()  # a stop was requested, or a newer run replaces it
    TIMEOUT = auto()  # it ran longer than timeout_seconds


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, as it is recorded."""

    status: ExecStatus
    exit_code: int | None = None
    fail_reason: FailReason | None = None
    error: str | None = None


def end_of(run: Exec, status: RunStatus, cause: StopCause | None, reason: str | None = None) -> End:
    """The end of a run whose container has ended.

    Args:
        run: the run.
        status: the status of its container, which has ended.
        cause: why Timeball stopped it; None if it ended by itself.
        reason: who or what requested the stop, if it was requested.
    """
    code = status.exit_code
    if cause is StopCause.REQUEST:
        return End(ExecStatus.CANCELLED, code, error=f"The run was stopped: {reason or UNTOLD}.")
    if cause is StopCause.TIMEOUT:
        return End(
            ExecStatus.FAILED,
            code,
            FailReason.TIMEOUT,
            f"The run was stopped because it exceeded timeout_seconds = {run.spec.timeout_seconds}.",
        )
    if code in STOPPED_BY_SIGNAL and _outlasted(run, status):
        # An earlier daemon asked the engine to stop it, and died before the container ended.
        return End(
            ExecStatus.FAILED,
            code,
            FailReason.TIMEOUT,
            f"The run was stopped because it exceeded timeout_seconds = {run.spec.timeout_seconds}.",
        )
    if code == 0:
        return End(ExecStatus.SUCCEEDED, 0)
    if status.oom_killed:
        return End(
            ExecStatus.FAILED,
            code,
            FailReason.OOM_KILLED,
            f"The run was killed because it used more than the {run.spec.memory_bytes >> 20} MiB of memory "
            f"of its size {run.spec.resource_size}; a larger resource_size may help.",
        )
    words = f"The command ended with exit code {code}."
    if code == ENGINE_KNOWS_NO_CODE:
        words += " An engine that was killed reports this code, too, if it does not know how a command ended."
    if status.error:
        words = f"{words} {status.error}"
    return End(ExecStatus.FAILED, code, FailReason.EXIT_CODE, words)


def _outlasted(run: Exec, status: RunStatus) -> bool:
    """Whether the container ran longer than the run's timeout."""
    limit = run.spec.timeout_seconds
    if limit is None or status.started_at is None or status.finished_at is None or status.oom_killed:
        return False
    return status.finished_at - status.started_at >= timedelta(seconds=limit)


def cancelled_before_start(reason: str | None = None) -> End:
    """The end of a run that was stopped before its container ran."""
    return End(
        ExecStatus.CANCELLED, error=f"The run was stopped before its container started: {reason or UNTOLD}."
    )


def stopped_after(end: End, reason: str | None = None) -> End:
    """The end of a run that would have been retried, but was stopped in the meantime."""
    return End(ExecStatus.CANCELLED, end.exit_code, error=f"The run was stopped: {reason or UNTOLD}.")


def lost(
    container: str | None, *, had_started: bool, cause: StopCause | None, reason: str | None = None
) -> End:
    """The end of a run whose result the engine does not know.

    Args:
        container: the engine's id of the container, if it appears as never started; None if it has disappeared.
        had_started: whether the start was recorded; otherwise, it was only requested.
        cause: why Timeball was stopping it; None if it was not.
        reason: who or what requested the stop, if it was requested.
    """
    if cause is StopCause.REQUEST:
        what = (
            "its container no longer exists"
            if had_started
            else "the engine did not answer whether it had started"
        )
        return End(ExecStatus.CANCELLED, error=f"The run was stopped: {reason or UNTOLD}; {what}.")
    if container is not None:
        now = (
            f"container {container[:12]} appears as never started; if its process did start, it may still run on the "
            "engine's host, out of the engine's control"
        )
    else:
        now = "the container disappeared from the engine and was not removed by Timeball"
    if had_started:
        words = f"The engine lost the run, so its result is unknown: {now}."
    else:
        words = (
            "The engine was asked to start the container and broke off before it answered. Whether the command ran "
            f"is unknown, so it was not started again: {now}."
        )
    return End(ExecStatus.FAILED, None, FailReason.ENGINE_LOST, words)


def region_missing(run: Exec) -> End:
    """The end of a run whose region is not configured (any more)."""
    region = run.spec.region_name
    if run.dispatched_at is None:
        reason = FailReason.START_FAILED
        words = f"Region {region} is not configured; configure it, or use another region."
    else:
        reason = FailReason.ENGINE_LOST
        words = (
            f"Region {region} is not configured any more, so the run's result is unknown; "
            "its container, if there is one, is removed when the region is configured again."
        )
    return End(ExecStatus.FAILED, None, reason, words)


def stop_words(run: Exec, cause: StopCause | None, reason: str | None = None) -> str:
    """The line in the log when the engine is asked to stop the container."""
    if cause is StopCause.TIMEOUT:
        return f"Stopping: the run exceeded timeout_seconds = {run.spec.timeout_seconds}"
    return f"Stopping: {reason or UNTOLD}"


def retry_at(run: Exec, end: End, now: datetime, *, jitter: float | None = None) -> datetime | None:
    """When the run is retried, or None if it is not.

    Only failures whose reason is in its `retry_on` are retried. The pause starts at retry_backoff_seconds and
    doubles with every attempt, up to `LONGEST_BACKOFF`. A random extra of up to a tenth is added, so that runs that
    failed together are not retried together.

    Args:
        run: the run that ended.
        end: how it ended.
        now: the current time (UTC).
        jitter: between 0 and 1, instead of a random number.
    """
    if end.fail_reason not in run.spec.retry_on or run.attempt > run.spec.max_retries:
        return None
    exponent = min(run.attempt - 1, 32)
    pause = min(timedelta(seconds=run.spec.retry_backoff_seconds * 2.0**exponent), LONGEST_BACKOFF)
    share = chance.fraction() if jitter is None else jitter
    return now + pause * (1 + share / 10)


def denial(run: Exec, policy: ContainerPolicy) -> str | None:
    """Why the policy of its namespace does not allow a run to start, for people; None if it does."""
    denied = violations(policy, run.spec.docker_image_repo, run.spec)
    return f"The container policy does not allow this run: {' '.join(map(str, denied))}" if denied else None


def launch_spec(
    run: Exec, policy: ContainerPolicy, environment: Mapping[str, str], *, image: str
) -> LaunchSpec:
    """The container that a run needs, under the policy.

    Args:
        run: the run.
        policy: the policy of its namespace.
        environment: its variables, including the values of secrets.
        image: the name by which the engine knows its image.
    """
    network = policy.network_of(run.spec)
    options: dict[str, Any] = {name: getattr(run.spec, name) for name in _OPTIONS}
    options |= {
        "capabilities": policy.capabilities_of(run.spec),
        "network": None if network == BRIDGE else network,
    }
    return LaunchSpec(
        exec_id=run.id,
        job_id=run.job_id,
        image=image,
        command=command_words(run.spec.command),
        environment=environment,
        cpus=run.spec.cpus,
        memory_bytes=run.spec.memory_bytes,
        pids_limit=policy.pids_limit,
        nofile_limit=policy.nofile_limit,
        no_new_privileges=policy.no_new_privileges,
        secret_directories=directories_of(run.spec.secret_files),
        **options,
    )
