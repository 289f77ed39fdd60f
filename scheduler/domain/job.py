"""What users define: jobs, their sizes and their policies.

Pure data without I/O: rows of the store and shapes of the API are converted to and from these types, and nothing
here knows about either.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

#: The region that exists without configuration, and the default for jobs.
LOCAL_REGION: Final = "LOCAL"
DEFAULT_TAG: Final = "latest"
DEFAULT_SIZE: Final = "XXS"
#: The smallest and the largest `log_limit_bytes`: 1 KiB and 1 TiB.
LEAST_LOG_BYTES: Final = 1024
MOST_LOG_BYTES: Final = 1024**4


class MisfirePolicy(StrEnum):
    """What happens to due times that passed while the daemon was down."""

    LATEST = "latest"  # the latest one runs, the others are recorded as missed
    SKIP = "skip"  # none runs, all are recorded as missed
    ALL = "all"  # all of them run, as fast as capacity allows


class ConcurrencyPolicy(StrEnum):
    """What happens when a run is due while an earlier run of the same job has not ended."""

    ALLOW = "allow"  # both run
    FORBID = "forbid"  # the new one is recorded as skipped
    QUEUE = "queue"  # the new one waits until the earlier one ends
    REPLACE = "replace"  # the earlier one is stopped, then the new one runs


#: With these policies, the runs of a job start one after another.
ONE_AT_A_TIME: Final = frozenset({ConcurrencyPolicy.QUEUE, ConcurrencyPolicy.REPLACE})


class PullPolicy(StrEnum):
    """When the image is pulled before a run."""

    ALWAYS = "always"  # before every run
    IF_NOT_PRESENT = "if_not_present"  # only if the engine does not have it
    NEVER = "never"  # never; the run fails if the engine does not have it


class FailReason(StrEnum):
    """Why a run failed, as a code; the run's `error` explains it. A job lists the reasons that are retried."""

    EXIT_CODE = "exit_code"  # the command exited with a code other than 0
    TIMEOUT = "timeout"  # it was stopped after timeout_seconds
    OOM_KILLED = "oom_killed"  # it used more memory than its size allows
    IMAGE_PULL_FAILED = "image_pull_failed"  # the image could not be pulled
    START_FAILED = "start_failed"  # the engine refused to create or start the container
    ENGINE_LOST = "engine_lost"  # its container disappeared, so its result is unknown
    NO_CAPACITY = "no_capacity"  # its size is larger than the whole engine
    POLICY_DENIED = "policy_denied"  # the container policy does not allow it
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a secret it refers to does not exist or cannot be decrypted


#: The reasons that are retried unless the job lists its own. A run that was stopped is never retried.
RETRYABLE: Final = tuple(
    reason
    for reason in FailReason
    if reason not in {FailReason.NO_CAPACITY, FailReason.POLICY_DENIED, FailReason.SECRET_MISSING}
)
#: Priorities range from -HIGHEST_PRIORITY to HIGHEST_PRIORITY.
HIGHEST_PRIORITY: Final = 100


class ScheduleState(StrEnum):
    """The state of a job's schedule, as shown to users."""

    NONE = "none"  # the job has no schedule
    INACTIVE = "inactive"  # the schedule is switched off
    ACTIVE = "active"  # it is switched on and has a next run
    FINISHED = "finished"  # it is switched on, but no runs are left


@dataclass(frozen=True, slots=True)
class Size:
    """The resources of a run: a hard limit, and a reservation on its engine.

    Attributes:
        cpus: processors, as a decimal number (0.25 is a quarter of one).
        memory_mib: memory in MiB; the container has no swap beyond it.
    """

    cpus: float
    memory_mib: int

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return self.memory_mib * 1024 * 1024


#: XXS and XS come from the API that Timeball is compatible with; the larger sizes are its own.
STANDARD_SIZES: Final[Mapping[str, Size]] = MappingProxyType(
    {
        "XXS": Size(0.15, 64),
        "XS": Size(0.25, 128),
        "S": Size(0.5, 256),
        "M": Size(1, 512),
        "L": Size(2, 1024),
        "XL": Size(4, 2048),
    }
)

Command = str | list[str] | None
#: The value of a variable: text, or `{"secret": name}` for the value of a secret.
Variable = str | Mapping[str, str]


def command_words(command: Command) -> tuple[str, ...] | None:
    """The words that a container is started with; None runs the image's own command.

    A string is split into words like in a POSIX shell, but no shell runs. A list is used as it is.

    Raises:
        ValueError: a quotation mark in the string is not closed, or the string ends with a backslash.
    """
    if command is None:
        return None
    words = shlex.split(command) if isinstance(command, str) else command
    return tuple(words) or None


class Mount(NamedTuple):
    """A directory or file of the engine's host that is mounted into a container."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """Container settings that the container policy must allow.

    Attributes:
        capabilities: Linux capabilities in addition to those that the policy grants every container.
        mounts: directories and files of the engine's host.
        secret_files: secrets as files in memory: the secret's name by the file's path.
        user: the user that processes run as, in the engine's notation; None for the image's user.
        read_only_root: whether only mounts are writable.
        network: a network of the engine, or `none`; None for the policy's default.
        pin_digest: whether all later runs use the same image as the first one.
        docker_image_digest: the digest of the image, if it was given or pinned; the tag is then only a name.
    """

    capabilities: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    secret_files: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    read_only_root: bool = False
    network: str | None = None
    pin_digest: bool = False
    docker_image_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions(ContainerOptions):
    """Everything that a job's definition hands to each of its runs; the run keeps a copy.

    A field that is added here is stored with jobs and runs (`scheduler.store.tables.runs`), copied to new runs and
    compared between runs without any further code.

    Attributes:
        command: what the container runs; see `command_words`.
        runtime_vars: environment variables, whose values may refer to secrets.
        log_limit_bytes: how much output is kept; None for the daemon's setting.
    """

    docker_image_repo: str
    docker_image_tag: str = DEFAULT_TAG
    command: Command = None
    resource_size: str = DEFAULT_SIZE
    region_name: str = LOCAL_REGION
    runtime_vars: Mapping[str, Variable] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    timeout_seconds: int | None = None
    stop_grace_seconds: int = 10
    max_retries: int = 0
    retry_backoff_seconds: int = 10
    retry_on: tuple[FailReason, ...] = RETRYABLE
    priority: int = 0
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    log_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefinition(RunOptions):
    """Everything that a user may set of a job; only its name, namespace and image have no default.

    Attributes:
        retention_days: days that ended runs are kept; None for the daemon's setting, 0 for no limit.
        retention_count: number of ended runs that are kept; likewise.
        retention_log_bytes: bytes of output of ended runs that are kept; likewise.
    """

    name: str
    namespace: str
    email_enabled: bool = False
    is_schedule_active: bool = False
    schedule_mode: str | None = None
    schedule_timezone: str | None = None
    misfire_policy: MisfirePolicy = MisfirePolicy.LATEST
    misfire_grace_seconds: int = 1
    max_running: int | None = None
    retention_days: int | None = None
    retention_count: int | None = None
    retention_log_bytes: int | None = None

    @property
    def misfire_grace(self) -> timedelta:
        """How late a run may start without counting as a misfire."""
        return timedelta(seconds=self.misfire_grace_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCursor:
    """How far a job's schedule has been processed.

    Attributes:
        revision: incremented with every change of the schedule, so that claims for the old one fail.
        active_since: when it was switched on (UTC); earlier due times do not count. None while it is off.
        next_due_at: the first due time without a ledger entry (UTC); None if no due time is left.
    """

    revision: int = 0
    active_since: datetime | None = None
    next_due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stored job: its definition, the progress of its schedule, and who created it when (UTC)."""

    id: int
    definition: JobDefinition
    cursor: ScheduleCursor
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def schedule_state(self) -> ScheduleState:
        """The state of its schedule."""
        if self.definition.schedule_mode is None:
            return ScheduleState.NONE
        if not self.definition.is_schedule_active:
            return ScheduleState.INACTIVE
        return ScheduleState.FINISHED if self.cursor.next_due_at is None else ScheduleState.ACTIVE
