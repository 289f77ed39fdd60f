"""Webhooks, the events that they can subscribe to, and the deliveries that events create.

Pure data, and the wire format of an event. The body is fixed when the event happens, in the transaction that changes
the state, so the format is defined here, where the store can use it; a test compares it with the API's responses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from scheduler.domain.execution import Exec, ExecStatus, Outcome


class HookEvent(StrEnum):
    """An event that a webhook can subscribe to."""

    START = "job:start"  # a run's container was started
    SUCCEED = "job:succeed"  # a run ended with exit code 0
    FAIL = "job:fail"  # a run failed; each attempt is a run of its own
    CANCEL = "job:cancel"  # a run was stopped or replaced
    MISS = "job:miss"  # due times did not run: missed, skipped or expired


#: Sent on request, to test whether a receiver answers; webhooks need not subscribe to it.
TEST_EVENT: Final = "hook:test"
EVENT_OF_STATUS: Final[Mapping[ExecStatus, HookEvent]] = MappingProxyType(
    {
        ExecStatus.RUNNING: HookEvent.START,
        ExecStatus.SUCCEEDED: HookEvent.SUCCEED,
        ExecStatus.FAILED: HookEvent.FAIL,
        ExecStatus.CANCELLED: HookEvent.CANCEL,
    }
)
#: Events that a job's owner can be notified of by mail.
MAILED: Final = frozenset({HookEvent.SUCCEED, HookEvent.FAIL, HookEvent.CANCEL})


class SubjectType(StrEnum):
    """The kind of object that a webhook watches."""

    JOB = "job"  # one job, by its id
    NAMESPACE = "namespace"  # all jobs of a namespace, by its name


class DeliveryStatus(StrEnum):
    """The status of a delivery."""

    PENDING = "pending"  # not attempted yet, or to be retried
    DELIVERED = "delivered"  # the receiver answered with 2xx, or the mail server accepted the message
    FAILED = "failed"  # given up; `reason` says why


class DeliveryKind(StrEnum):
    """How a notification is sent."""

    HOOK = "hook"  # a POST request to a webhook's URL
    MAIL = "mail"  # mail to the job's owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A stored webhook. All times are aware UTC.

    Attributes:
        sealed_secret: the signing secret, sealed by `scheduler.secrets.vault`; None if deliveries are not signed.
        job_id: the job that it watches; None if it watches a namespace.
        namespace: the namespace that it watches; None if it watches a job.
        is_active: whether new events are sent.
    """

    id: int
    name: str
    url: str
    sealed_secret: str | None
    job_id: int | None
    namespace: str | None
    events: tuple[HookEvent, ...]
    is_active: bool
    created_by: str
    created_at: datetime
    updated_at: datetime

    @property
    def subject_type(self) -> SubjectType:
        """The kind of object that it watches."""
        return SubjectType.NAMESPACE if self.job_id is None else SubjectType.JOB

    @property
    def subject(self) -> int | str:
        """The job's id, or the namespace's name."""
        return (self.namespace or "") if self.job_id is None else self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a delivery.

    Attributes:
        at: when it began (UTC).
        duration: how long it took, in seconds.
        status_code: the HTTP status, or the mail server's reply code; None without an answer.
        error: what went wrong, for people; None on success.
    """

    at: datetime
    duration: float
    status_code: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one receiver, as stored. All times are aware UTC.

    Attributes:
        number: its position in the order of events.
        id: the message's id, the same in every attempt.
        hook_id: the webhook that it is sent to; None for mail.
        job_id: the job that the email is about; None for webhooks.
        event: a `HookEvent`, or `TEST_EVENT`.
        event_at: when the event happened.
        body: the message's body; None if it was not loaded.
        tries: number of attempts since the delivery last became pending.
        first_tried_at: when the first of these attempts began.
        attempts: all attempts that are still stored, oldest first.
        next_attempt_at: when the next attempt is due; None if not pending, or if it is due now.
        ended_at: when it was delivered or given up.
        reason: why it was given up, for people.
    """

    number: int
    id: str
    kind: DeliveryKind
    hook_id: int | None
    job_id: int | None
    event: str
    event_at: datetime
    body: str | None
    status: DeliveryStatus
    tries: int = 0
    first_tried_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None


def moment_text(moment: datetime) -> str:
    """A time as the API writes it: RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)


def exec_data(run: Exec) -> dict[str, Any]:
    """A run as the API shows it in lists."""
    spec, duration = run.spec, None
    if run.started_at is not None and run.ended_at is not None:
        minutes, seconds = divmod(int((run.ended_at - run.started_at).total_seconds()), 60)
        duration = {"hours": minutes // 60, "minutes": minutes % 60, "seconds": seconds}
    return {
        "id": run.id,
        "docker_image_repo": spec.docker_image_repo,
        "docker_image_tag": spec.docker_image_tag,
        "command": spec.command,
        "runtime_vars": dict(spec.runtime_vars),
        "labels": dict(spec.labels),
        "capabilities": list(spec.capabilities),
        "mounts": [mount._asdict() for mount in spec.mounts],
        "user": spec.user,
        "read_only_root": spec.read_only_root,
        "network": spec.network,
        "pin_digest": spec.pin_digest,
        "docker_image_digest": spec.docker_image_digest,
        "secret_files": dict(spec.secret_files),
        "resource_size": spec.resource_size,
        "region_name": spec.region_name,
        "priority": spec.priority,
        "status": run.status.value,
        "trigger_mode": run.trigger_mode.value,
        "created_by": run.created_by,
        "created_at": moment_text(run.created_at),
        "started_at": _optional(run.started_at),
        "ended_at": _optional(run.ended_at),
        "duration": duration,
        "exit_code": run.exit_code,
        "fail_reason": None if run.fail_reason is None else run.fail_reason.value,
        "error": run.error,
        "stop_reason": run.stop_reason,
        "scheduled_for": _optional(run.scheduled_for),
        "attempt": run.attempt,
        "retry_of": run.retry_of,
        "replay_of": run.replay_of,
        "image_digest": run.image_digest,
        "node": run.node,
        "waiting_for": None,
        "job": run.job_id,
    }


def retry_data(retry: Exec | None) -> dict[str, Any] | None:
    """The attempt that follows a failed one; None if there is none."""
    if retry is None:
        return None
    return {"exec": retry.id, "attempt": retry.attempt, "not_before": _optional(retry.not_before)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """Due times of one job that one transaction decided not to run, for one reason.

    Attributes:
        first: the earliest of them (UTC).
        last: the latest.
        count: how many there are.
        reason: the reason for the first one, for people.
    """

    job_id: int
    namespace: str
    created_by: str
    outcome: Outcome
    first: datetime
    last: datetime
    count: int
    reason: str | None
    decided_at: datetime

    def data(self) -> dict[str, Any]:
        """The ledger's entry of the first due time, with their number and the last one."""
        return {
            "job": self.job_id,
            "due_at": moment_text(self.first),
            "outcome": self.outcome.value,
            "exec": None,
            "reason": self.reason,
            "decided_at": moment_text(self.decided_at),
            "count": self.count,
            "last_due_at": moment_text(self.last),
        }


def hook_body(
    *,
    hook_id: int,
    subject_type: SubjectType,
    subject: int | str,
    job: Mapping[str, Any] | None,
    data: Any,
    username: str,
    retry: Any = None,
) -> str:
    """The body of a webhook delivery, as JSON; `job` has the id, name and namespace of the job it is about."""
    body = {
        "hook": {"id": hook_id, "subject_type": subject_type.value, "subject": subject},
        "job": None if job is None else dict(job),
        "data": data,
        "sender": {"username": username},
        "retry": retry,
    }
    return json.dumps(body, ensure_ascii=False)


def mail_body(*, job: Mapping[str, Any], data: Any) -> str:
    """The data of an event that is stored until its email is written, as JSON."""
    return json.dumps({"job": dict(job), "exec": data}, ensure_ascii=False)
