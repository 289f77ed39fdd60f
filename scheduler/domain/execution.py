"""One run of a job: its snapshot, its status, and the only transitions between statuses.

Pure data and one pure function. The store writes a status only through `store.execs.change_status`, which calls
`check_transition` and compares and sets in the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from scheduler.domain.job import FailReason as FailReason  # noqa: PLC0414 - exported: it belongs to a run as much as to a job
from scheduler.domain.job import RunOptions


class ExecStatus(StrEnum):
    """The status of a run."""

    WAITING = "W"  # stored; its container has not started
    RUNNING = "R"  # its container has started
    SUCCEEDED = "S"  # its container exited with 0
    FAILED = "F"  # it ended with an error, or could not start
    CANCELLED = "C"  # it was stopped, or replaced by a newer run


#: Every transition that is allowed. A status at the end never changes again.
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
    """Check that the table allows a transition.

    Raises:
        ValueError: it does not; that is a bug in the caller.
    """
    if after not in TRANSITIONS[before]:
        msg = f"a run cannot change from {before.name} to {after.name}"
        raise ValueError(msg)


class TriggerMode(StrEnum):
    """What triggered a run."""

    MANUAL = "M"  # a user or a client
    SCHEDULE = "S"  # its schedule
    RETRY = "R"  # the failure of an earlier attempt
    DEPENDENCY = "D"  # the end of another job


class Outcome(StrEnum):
    """The outcome of a due time; the ledger has exactly one for each."""

    RAN = "ran"  # a run was created for it
    SKIPPED = "skipped"  # an earlier run had not ended, and the job forbids overlap
    MISSED = "missed"  # the daemon was down, and the misfire policy does not catch up on it
    EXPIRED = "expired"  # no run was created, for another reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One due time and its outcome.

    Attributes:
        job_id: the job whose schedule it belongs to.
        due_at: the due time (UTC).
        outcome: its final outcome.
        exec_id: the run that was created for it; None unless it ran.
        reason: why it did not run, in words; None if it ran.
        decided_at: when this entry was written (UTC).
    """

    job_id: int
    due_at: datetime
    outcome: Outcome
    exec_id: str | None
    reason: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec(RunOptions):
    """What a run does: a copy of its job's options when it was created, with the trigger's overrides.

    Attributes:
        cpus: processors reserved, from the definition of the size at that time.
        memory_bytes: memory reserved, from the same definition.
    """

    cpus: float
    memory_bytes: int

    @property
    def image(self) -> str:
        """The image in the notation of the engine."""
        if self.docker_image_digest is not None:
            return f"{self.docker_image_repo}@{self.docker_image_digest}"
        return f"{self.docker_image_repo}:{self.docker_image_tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec:
    """One run, as stored. All times are aware UTC.

    Attributes:
        id: a UUID in text form.
        number: its position among all runs in the order they were stored; 0 until it is stored.
        scheduled_for: the due time that it was created for; None if it was triggered manually.
        attempt: 1 for the first attempt, incremented with each retry.
        retry_of: for retries, the id of the first attempt.
        replay_of: for replays and their retries, the id of the run that is repeated.
        not_before: the earliest start (the back-off of a retry); None if it may start immediately.
        owner: the instance of the daemon that manages it; None if no daemon does.
        dispatched_at: when its capacity was reserved and its launch began; None before that.
        start_requested_at: when its engine was about to be asked to start its container; None before that. It is
            asked only once: whether the process of a container that seems not to have started did run is unknown.
        stop_requested_at: when its stop was requested; None if it was not.
        stop_reason: who or what requested the stop, in words: 'requested by ada', 'replaced by run …'.
        image_digest: identifies the image of the run: the registry's digest, or the engine's id of an image without
            one; None until it is known. Replays have it from the start.
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
    start_requested_at: datetime | None = None
    stop_requested_at: datetime | None = None
    stop_reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    fail_reason: FailReason | None = None
    error: str | None = None
    image_digest: str | None = None
    node: str | None = None
    number: int = field(default=0, compare=False)  # assigned when it is stored

    @property
    def repeats_image(self) -> bool:
        """Whether it must run exactly the image that an earlier run used.

        A digest given by a user is only looked up in its repository; the image of an earlier run may also be looked
        up by the engine's own id.
        """
        digest = self.spec.docker_image_digest
        return self.replay_of is not None and digest is not None and self.image_digest == digest


#: The stop reason of runs whose job was deleted.
JOB_DELETED: Final = "its job was deleted"


def requested_by(user: str) -> str:
    """The stop reason of a run that a user stopped."""
    return f"requested by {user}"


def replaced_by(exec_id: str) -> str:
    """The stop reason of a run that a newer run of its job replaces."""
    return f"replaced by run {exec_id}"
