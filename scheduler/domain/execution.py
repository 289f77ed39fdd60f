"""One run of a job: its snapshot, its status, and the only changes of status that exist.

Pure data and one pure function. The store writes a status only through `store.execs.change_status`, which asks
`check_transition` here and compares-and-sets in the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from scheduler.domain.job import Command, ConcurrencyPolicy, ContainerOptions, PullPolicy, Variable
from scheduler.domain.job import FailReason as FailReason  # noqa: PLC0414 - exported: it belongs to a run as much as to a job


class ExecStatus(StrEnum):
    """Where a run stands."""

    WAITING = "W"  # recorded, its container not started yet
    RUNNING = "R"  # its container was started
    SUCCEEDED = "S"  # its container ended with 0
    FAILED = "F"  # it ended otherwise, or could not be started
    CANCELLED = "C"  # somebody stopped it, or a newer run replaced it


#: Every change of status that is allowed; what ends never changes again.
TRANSITIONS: Final[Mapping[ExecStatus, frozenset[ExecStatus]]] = MappingProxyType(
    {
        ExecStatus.WAITING: frozenset({ExecStatus.RUNNING, ExecStatus.FAILED, ExecStatus.CANCELLED}),
        ExecStatus.RUNNING: frozenset({ExecStatus.SUCCEEDED, ExecStatus.FAILED, ExecStatus.CANCELLED}),
        ExecStatus.SUCCEEDED: frozenset(),
        ExecStatus.FAILED: frozenset(),
        ExecStatus.CANCELLED: frozenset(),
    }
)
FINAL_STATUSES: Final = frozenset(status for status, after in TRANSITIONS.items() if not after)
OPEN_STATUSES: Final = frozenset(TRANSITIONS) - FINAL_STATUSES


def check_transition(before: ExecStatus, after: ExecStatus) -> None:
    """Accept a change of status that the table allows.

    Raises:
        ValueError: the table has no such change; that is a defect of the caller.
    """
    if after not in TRANSITIONS[before]:
        msg = f"an exec cannot go from {before.name} to {after.name}"
        raise ValueError(msg)


class TriggerMode(StrEnum):
    """What made a run happen."""

    MANUAL = "M"  # somebody asked for it
    SCHEDULE = "S"  # it fell due
    RETRY = "R"  # an earlier attempt failed
    DEPENDENCY = "D"  # another job ended


class Outcome(StrEnum):
    """What became of a due time; the ledger has exactly one for each."""

    RAN = "ran"  # an exec was made for it
    SKIPPED = "skipped"  # an earlier run was still going, and the job forbids two
    MISSED = "missed"  # the daemon was down, and the misfire policy let it go
    EXPIRED = "expired"  # it could have run, but not in time to be of use


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One due time and what became of it.

    Attributes:
        job_id: whose schedule.
        due_at: the due time (UTC).
        outcome: its one, final outcome.
        exec_id: the run that was made for it; None unless it ran.
        reason: why it did not run, for people; None when it ran.
        decided_at: when this was written (UTC).
    """

    job_id: int
    due_at: datetime
    outcome: Outcome
    exec_id: str | None
    reason: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec(ContainerOptions):
    """What a run is to do: a copy of its job's definition at the time, with the trigger's overrides.

    Attributes:
        cpus: processors reserved, from the size as it was defined then.
        memory_bytes: memory reserved, likewise.
        log_limit_bytes: how much of its output is kept; None for what the daemon's settings say.
    """

    docker_image_repo: str
    docker_image_tag: str
    command: Command
    runtime_vars: Mapping[str, Variable]
    resource_size: str
    cpus: float
    memory_bytes: int
    region_name: str
    pull_policy: PullPolicy
    concurrency_policy: ConcurrencyPolicy
    timeout_seconds: int | None
    stop_grace_seconds: int
    max_retries: int
    retry_backoff_seconds: int
    retry_on: tuple[FailReason, ...]
    priority: int
    log_limit_bytes: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """The image as an engine takes it."""
        if self.docker_image_digest is not None:
            return f"{self.docker_image_repo}@{self.docker_image_digest}"
        return f"{self.docker_image_repo}:{self.docker_image_tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """One run, as stored. All times are aware UTC.

    Attributes:
        id: a UUID in text form.
        number: its place among all runs in the order they were stored; 0 before it is stored.
        scheduled_for: the due time that it serves; None when triggered by hand.
        attempt: 1 for the first, then one more for each retry.
        retry_of: the first attempt's id, on retries.
        replay_of: the id of the run that it does again, on replays and their retries.
        not_before: it does not start earlier (the back-off of a retry); None when it may start at once.
        owner: the instance of the daemon that looks after it; None when none does.
        dispatched_at: when its capacity was reserved and its launch began; None before.
        stop_requested_at: when somebody asked for its end; None when nobody did.
        stop_reason: who that was, or what, for people: 'requested by ada', 'replaced by exec …'.
        image_digest: identifies the image that it ran, or on replays is to run: the registry's digest, or the
            engine's id of an image that no registry has given one; None where that is not known (yet).
    """

    id: str
    job_id: int
    namespace: str
    spec: ExecSpec
    status: ExecStatus
    trigger_mode: TriggerMode
    created_by: str
    created_at: datetime
    scheduled_for: datetime | None = None
    attempt: int = 1
    retry_of: str | None = None
    replay_of: str | None = None
    not_before: datetime | None = None
    owner: str | None = None
    dispatched_at: datetime | None = None
    stop_requested_at: datetime | None = None
    stop_reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    fail_reason: FailReason | None = None
    error: str | None = None
    image_digest: str | None = None
    node: str | None = None
    number: int = field(default=0, compare=False)  # given when it is stored

    @property
    def repeats_image(self) -> bool:
        """Whether it is to run exactly the image that an earlier run was seen to run.

        What users give as a digest is only ever looked for in its repository; what a run was seen to run may be
        looked for by the engine's own id as well.
        """
        digest = self.spec.docker_image_digest
        return self.replay_of is not None and digest is not None and self.image_digest == digest


#: The stop reason of a run whose job was deleted.
JOB_DELETED: Final = "its job was deleted"


def requested_by(user: str) -> str:
    """The stop reason of a run that somebody asked to stop."""
    return f"requested by {user}"


def replaced_by(exec_id: str) -> str:
    """The stop reason of a run that a newer one of its job replaces."""
    return f"replaced by exec {exec_id}"
