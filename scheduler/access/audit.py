"""The audit: who did what, from where. Each use case that changes something records it in its own transaction.

Secrets, bodies and queries are never in it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.access.callers import Caller, Origin
from scheduler.domain.account import AuditEntry
from scheduler.domain.execution import Exec
from scheduler.store import audit

DONE: Final = "done"
#: Of what a client sends, so much is kept.
LONGEST: Final = 300


def record(
    connection: Connection, caller: Caller, action: str, thing: str, *, now: datetime, namespace: str | None
) -> None:
    """Note in the transaction of a change who made it.

    Args:
        connection: of the transaction that changes something.
        caller: who does it.
        action: what, such as ``job.create``: the kind of thing and the verb of its use case.
        thing: with which, such as ``job 12``; never anything secret.
        now: the moment.
        namespace: where it lies; None if it belongs to none. Its administrators can read the entry.
    """
    entry = _entry(now, action, DONE, caller.origin)
    audit.add(
        connection,
        replace(
            entry,
            username=caller.user,
            token_prefix=caller.token_prefix,
            namespace=namespace,
            object=thing[:LONGEST],
        ),
    )


def record_exec(connection: Connection, caller: Caller, action: str, one: Exec, *, now: datetime) -> None:
    """Note what was done with a run; the arguments are those of `record`."""
    thing = f"exec {one.id} of job {one.job_id}"
    record(connection, caller, action, thing, now=now, namespace=one.namespace)


def record_refusal(
    connection: Connection, origin: Origin, caller: Caller | None, outcome: str, *, route: str, now: datetime
) -> None:
    """Note what was not let through.

    Args:
        connection: inside a transaction.
        origin: where it came from.
        caller: who it was, if that is known.
        outcome: ``unauthorized``, ``forbidden`` or ``throttled``.
        route: what was asked for, such as ``DELETE /v1/jobs/{job_id}``.
        now: the moment.
    """
    entry = _entry(now, route, outcome, origin)
    if caller is not None:
        entry = replace(
            entry, username=caller.user, token_prefix=caller.token_prefix, namespace=caller.namespace
        )
    audit.add(connection, entry)


def _entry(now: datetime, action: str, outcome: str, origin: Origin) -> AuditEntry:
    return AuditEntry(
        at=now,
        action=action,
        outcome=outcome,
        remote=origin.remote or None,
        request_id=origin.request_id,
        method=origin.method,
        # PostgreSQL stores no NUL, and neither database a lone surrogate.
        path=None
        if origin.path is None
        else origin.path.encode("ascii", "backslashreplace").decode()[:LONGEST].replace("\x00", "\\x00"),
    )
