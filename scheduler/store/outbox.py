"""The outbox: notifications, written in the transaction of the change that they report.

If nobody subscribes, an event costs one lookup in two indexes and writes nothing. Every function takes a connection
inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain import chance
from scheduler.domain.execution import Exec
from scheduler.domain.hook import (
    MAILED,
    DeliveryKind,
    DeliveryStatus,
    HookEvent,
    NotRun,
    SubjectType,
    exec_data,
    hook_body,
    mail_body,
    retry_data,
)
from scheduler.store.tables import deliveries, execs, hooks, jobs

#: Key in a connection's `info`: whether the transaction wrote deliveries; read and reset by `Database`.
WRITTEN: Final = "outbox_written"
#: The claim of deliveries that are attempted on request, and its duration in case the attempt never happens.
BY_HAND: Final = "by hand"
BY_HAND_LEASE: Final = timedelta(minutes=3)


class Receiver(NamedTuple):
    """A recipient: a webhook, or the owner of a job by email (then `hook_id` is None)."""

    hook_id: int | None
    job_id: int | None
    namespace: str | None
    events: str

    def wants(self, event: HookEvent) -> bool:
        """Whether it subscribes to this event."""
        return event in MAILED if self.hook_id is None else event.value in self.events.split()

    @property
    def subject(self) -> tuple[SubjectType, int | str]:
        """What a webhook watches."""
        if self.job_id is None:
            return SubjectType.NAMESPACE, self.namespace or ""
        return SubjectType.JOB, self.job_id


def _columns(*, of_hook: bool) -> list[Any]:
    if of_hook:
        return [hooks.c.id.label("hook_id"), hooks.c.job_id, hooks.c.namespace, hooks.c.events]
    none = [sa.cast(sa.null(), sa.Integer).label("hook_id"), jobs.c.id.label("job_id")]
    return [*none, sa.cast(sa.null(), sa.Text).label("namespace"), sa.literal("", sa.Text).label("events")]


_exec = execs.c.id == sa.bindparam("exec_id")
_OF_EXEC: Final = sa.union_all(
    sa.select(*_columns(of_hook=True))
    .select_from(execs.join(hooks, hooks.c.job_id == execs.c.job_id))
    .where(_exec, hooks.c.is_active),
    sa.select(*_columns(of_hook=True))
    .select_from(execs.join(hooks, hooks.c.namespace == execs.c.namespace))
    .where(_exec, hooks.c.is_active),
    sa.select(*_columns(of_hook=False))
    .select_from(execs.join(jobs, jobs.c.id == execs.c.job_id))
    .where(_exec, jobs.c.email_enabled),
)
#: Maximum number of jobs per query.
_JOBS_PER_LOOK: Final = 200


def receivers_of(connection: Connection, exec_id: str, event: HookEvent) -> list[Receiver]:
    """The recipients that subscribe to an event of a run."""
    rows = connection.execute(_OF_EXEC, {"exec_id": exec_id})
    return [receiver for receiver in (Receiver(*row) for row in rows) if receiver.wants(event)]


def named(connection: Connection, job_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """The id, name and namespace of jobs, by id, for notifications."""
    ids = sorted(job_ids)
    query = sa.select(jobs.c.id, jobs.c.name, jobs.c.namespace)
    return {
        row["id"]: dict(row)
        for start in range(0, len(ids), _JOBS_PER_LOOK)
        for row in connection.execute(
            query.where(jobs.c.id.in_(ids[start : start + _JOBS_PER_LOOK]))
        ).mappings()
    }


def put_exec(
    connection: Connection, receivers: Sequence[Receiver], event: HookEvent, run: Exec, retry: Exec | None
) -> None:
    """Write the notifications of a run that has started or ended.

    Args:
        connection: inside the transaction that changed its status.
        receivers: the recipients.
        event: what happened.
        run: the run after the change.
        retry: the next attempt; the owner only gets an email about the last attempt.
    """
    at = run.ended_at or run.started_at or run.created_at
    data, rows = exec_data(run), []
    hooked = any(receiver.hook_id is not None for receiver in receivers)
    job = named(connection, [run.job_id]).get(run.job_id) if hooked else None
    for receiver in receivers:
        if receiver.hook_id is not None:
            subject_type, subject = receiver.subject
            body = hook_body(
                hook_id=receiver.hook_id,
                subject_type=subject_type,
                subject=subject,
                job=job,
                data=data,
                username=run.created_by,
                retry=retry_data(retry),
            )
            rows.append(_row(receiver.hook_id, None, event.value, at, body))
        elif retry is None:
            columns = (jobs.c.id, jobs.c.name, jobs.c.namespace, jobs.c.created_by)
            owned = connection.execute(sa.select(*columns).where(jobs.c.id == run.job_id)).mappings().one()
            rows.append(_row(None, run.job_id, event.value, at, mail_body(job=dict(owned), data=data)))
    _insert(connection, rows)


def put_not_run(connection: Connection, entries: Sequence[NotRun]) -> None:
    """Write the notifications of due times that did not run: one event per entry and webhook."""
    if not entries or connection.execute(sa.select(hooks.c.id).limit(1)).first() is None:
        return
    by_job: dict[int, list[Receiver]] = {}
    by_namespace: dict[str, list[Receiver]] = {}
    query = sa.select(*_columns(of_hook=True)).where(hooks.c.is_active)
    ids = sorted({entry.job_id for entry in entries})
    names = sorted({entry.namespace for entry in entries})
    for start in range(0, len(ids), _JOBS_PER_LOOK):
        for row in connection.execute(query.where(hooks.c.job_id.in_(ids[start : start + _JOBS_PER_LOOK]))):
            by_job.setdefault(row.job_id, []).append(Receiver(*row))
    for start in range(0, len(names), _JOBS_PER_LOOK):
        for row in connection.execute(
            query.where(hooks.c.namespace.in_(names[start : start + _JOBS_PER_LOOK]))
        ):
            by_namespace.setdefault(row.namespace, []).append(Receiver(*row))
    watched = [entry.job_id for entry in entries if entry.job_id in by_job or entry.namespace in by_namespace]
    names_of, rows = named(connection, set(watched)), []
    for entry in entries:
        for receiver in by_job.get(entry.job_id, []) + by_namespace.get(entry.namespace, []):
            if receiver.hook_id is not None and receiver.wants(HookEvent.MISS):
                subject_type, subject = receiver.subject
                body = hook_body(
                    hook_id=receiver.hook_id,
                    subject_type=subject_type,
                    subject=subject,
                    job=names_of.get(entry.job_id),
                    data=entry.data(),
                    username=entry.created_by,
                )
                rows.append(_row(receiver.hook_id, None, HookEvent.MISS.value, entry.decided_at, body))
    _insert(connection, rows)


def put_test(connection: Connection, *, hook_id: int, event: str, at: datetime, body: str) -> str:
    """Write a delivery that the caller attempts at once; returns its id.

    It is already claimed, so that the deliverer does not attempt it first.
    """
    row = _row(hook_id, None, event, at, body)
    claim = {"claimed_by": BY_HAND, "claimed_until": at + BY_HAND_LEASE}
    connection.execute(deliveries.insert(), [row | claim])
    return str(row["id"])


def _row(hook_id: int | None, job_id: int | None, event: str, at: datetime, body: str) -> dict[str, Any]:
    return {
        "id": f"msg_{chance.new_hex()}",
        "kind": DeliveryKind.MAIL.value if hook_id is None else DeliveryKind.HOOK.value,
        "hook_id": hook_id,
        "job_id": job_id,
        "event": event,
        "event_at": at,
        "body": body,
        "status": DeliveryStatus.PENDING.value,
        "tries": 0,
        "attempts": [],
    }


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(deliveries.insert(), rows)
        connection.info[WRITTEN] = True
