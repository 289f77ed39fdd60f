"""What a user defines: a job, its sizes and its policies.

Pure data: imports nothing of the project and does no I/O. Rows of the store and shapes of the API are turned
into these and back; nothing here knows of either.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

#: The region that exists without configuration, and the default of every job.
LOCAL_REGION: Final = "LOCAL"
DEFAULT_TAG: Final = "latest"
DEFAULT_SIZE: Final = "XXS"
#: Within these lies how much of a run's output is kept: 1 KiB to 1 TiB.
LEAST_LOG_BYTES: Final = 1024
MOST_LOG_BYTES: Final = 1024**4


class MisfirePolicy(StrEnum):
    """What happens to runs that fell due while the daemon was down."""

    LATEST = "latest"  # the newest one runs, the others are recorded as missed
    SKIP = "skip"  # none runs, all are recorded as missed
    ALL = "all"  # every one runs, paced by the engine's capacity


class ConcurrencyPolicy(StrEnum):
    """What happens when a run falls due while an earlier one of the same job is still going."""

    ALLOW = "allow"  # both run
    FORBID = "forbid"  # the new one is recorded as skipped
    QUEUE = "queue"  # the new one waits until the earlier one has ended
    REPLACE = "replace"  # the earlier one is stopped, then the new one runs


#: Runs of a job with one of these start one after the other.
ONE_AT_A_TIME: Final = frozenset({ConcurrencyPolicy.QUEUE, ConcurrencyPolicy.REPLACE})


class PullPolicy(StrEnum):
    """When the image is fetched from its registry before a run."""

    ALWAYS = "always"  # before every run
    IF_NOT_PRESENT = "if_not_present"  # only when the engine does not have it
    NEVER = "never"  # never; a run without the image fails


class FailReason(StrEnum):
    """Why a run failed, for programs; the exec's `error` says it for people. A job names those it tries again."""

    EXIT_CODE = "exit_code"  # the command ended with a status other than 0
    TIMEOUT = "timeout"  # it was stopped after timeout_seconds
    OOM_KILLED = "oom_killed"  # it went beyond the memory of its size
    IMAGE_PULL_FAILED = "image_pull_failed"  # the image could not be had
    START_FAILED = "start_failed"  # the engine refused to create or start the container
    ENGINE_LOST = "engine_lost"  # its container vanished, so its end is unknown
    NO_CAPACITY = "no_capacity"  # its size is larger than the whole engine
    POLICY_DENIED = "policy_denied"  # the container policy does not allow it (any more)
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a secret that it names does not exist or cannot be opened


#: Ends that another attempt may turn out better, unless the job says otherwise; a stop is never among them.
RETRYABLE: Final = tuple(
    reason
    for reason in FailReason
    if reason not in {FailReason.NO_CAPACITY, FailReason.POLICY_DENIED, FailReason.SECRET_MISSING}
)
#: Priorities lie between its negative and itself.
HIGHEST_PRIORITY: Final = 100


class ScheduleState(StrEnum):
    """Where a job's schedule stands, as users read it."""

    NONE = "none"  # the job has no schedule
    INACTIVE = "inactive"  # it has one, switched off
    ACTIVE = "active"  # it is on, and a next run is known
    FINISHED = "finished"  # it is on, and no run is left


@dataclass(frozen=True, slots=True)
class Size:
    """What a run may use at most, and what is reserved for it on its engine.

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


#: XXS and XS are the sizes of the API that Timeball answers like; the larger ones are its own.
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
#: A variable's value: a text, or `{"secret": name}` for the value of a secret.
Variable = str | Mapping[str, str]


def command_words(command: Command) -> tuple[str, ...] | None:
    """The words that a container is started with; None runs the image's own command.

    A string is split as a POSIX shell splits words; no shell runs. A list is taken as it is.

    Raises:
        ValueError: a quotation in the string is not closed, or it ends in a lone backslash.
    """
    if command is None:
        return None
    words = shlex.split(command) if isinstance(command, str) else command
    return tuple(words) or None


class Mount(NamedTuple):
    """A directory or file of the engine's machine, as a container sees it."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """What a job asks of its containers beyond running; the container policy says what is allowed.

    Attributes:
        capabilities: Linux capabilities besides those that the policy gives every container.
        mounts: what it sees of the engine's machine.
        secret_files: the names of secrets whose values it finds in files in memory, by the files' paths.
        user: whom its processes run as, as the engine takes it; None for the image's own.
        read_only_root: whether nothing but mounts can be written to.
        network: the engine's network, or `none`; None for the policy's default.
        pin_digest: whether the image that the first run finds is kept for all later ones.
        docker_image_digest: the image's digest, where it is pinned or was given; then the tag is only a name.
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
class JobDefinition(ContainerOptions):
    """All that a user may set of a job; each field but two has a default."""

    name: str
    namespace: str
    docker_image_repo: str
    docker_image_tag: str = DEFAULT_TAG
    command: Command = None
    resource_size: str = DEFAULT_SIZE
    region_name: str = LOCAL_REGION
    runtime_vars: Mapping[str, Variable] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    email_enabled: bool = False
    is_schedule_active: bool = False
    schedule_mode: str | None = None
    schedule_timezone: str | None = None
    misfire_policy: MisfirePolicy = MisfirePolicy.LATEST
    misfire_grace_seconds: int = 1
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    timeout_seconds: int | None = None
    stop_grace_seconds: int = 10
    max_retries: int = 0
    retry_backoff_seconds: int = 10
    retry_on: tuple[FailReason, ...] = RETRYABLE
    priority: int = 0
    max_running: int | None = None
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    log_limit_bytes: int | None = None
    #: How much of its past is kept: None is the settings' default, 0 is no limit.
    retention_days: int | None = None
    retention_count: int | None = None
    retention_log_bytes: int | None = None

    @property
    def misfire_grace(self) -> timedelta:
        """How late a run may be and still simply run."""
        return timedelta(seconds=self.misfire_grace_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCursor:
    """How far a job's schedule has been worked off.

    Attributes:
        revision: grows with every change of the schedule, so that a claim made for the old one fails.
        active_since: when it was switched on (UTC); earlier due times never happened. None while off.
        next_due_at: the first due time without an entry in the ledger (UTC); None when none is left.
    """

    revision: int = 0
    active_since: datetime | None = None
    next_due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stored job: its definition, where its schedule stands, and who made it when (UTC)."""

    id: int
    definition: JobDefinition
    cursor: ScheduleCursor
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def schedule_state(self) -> ScheduleState:
        """Where its schedule stands."""
        if self.definition.schedule_mode is None:
            return ScheduleState.NONE
        if not self.definition.is_schedule_active:
            return ScheduleState.INACTIVE
        return ScheduleState.FINISHED if self.cursor.next_due_at is None else ScheduleState.ACTIVE
