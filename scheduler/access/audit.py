"""The audit log: who did what, and from where.

Every use case that changes something writes an entry in its own transaction. Entries never
contain secrets, request bodies or queries.
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
#: Longest text from a client that is stored.
LONGEST: Final = 300


def record(
    connection: Connection, caller: Caller, action: str, thing: str, *, now: datetime, namespace: str | None
) -> None:
    """Add an entry to the audit log, in the transaction of the change.

    Args:
        connection: the transaction that makes the change.
        caller: who makes it.
        action: the kind of object and the verb of its use case, such as ``job.create``.
        thing: the object, such as ``job 12``; never anything secret.
        now: the current time.
        namespace: the object's namespace, whose administrators can read the entry; None if it has none.
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


def record_exec(connection: Connection, caller: Caller, action: str, run: Exec, *, now: datetime) -> None:
    """Add an entry about a run; the arguments are those of `record`."""
    thing = f"exec {run.id} of job {run.job_id}"
    record(connection, caller, action, thing, now=now, namespace=run.namespace)


def record_refusal(
    connection: Connection, origin: Origin, caller: Caller | None, outcome: str, *, route: str, now: datetime
) -> None:
    """Add an entry about a request that was refused.

    Args:
        connection: inside a transaction.
        origin: where the request came from.
        caller: who sent it, if known.
        outcome: ``unauthorized``, ``forbidden`` or ``throttled``.
        route: the requested route, such as ``DELETE /v1/jobs/{job_id}``.
        now: the current time.
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
        # PostgreSQL cannot store NUL characters, and neither database can store lone surrogates.
        path=None
        if origin.path is None
        else origin.path.encode("ascii", "backslashreplace").decode()[:LONGEST].replace("\x00", "\\x00"),
    )
