"""Webhooks as rows: creating, finding, changing and deleting them.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scheduler.domain.hook import Hook, HookEvent
from scheduler.store.tables import hooks, jobs

_JSON_FREE: Final = tuple(field.name for field in fields(Hook) if field.name != "events")


def from_row(row: RowMapping) -> Hook:
    """The webhook in a row."""
    return Hook(**{name: row[name] for name in _JSON_FREE}, events=events_of(row["events"]))


def events_of(text: str) -> tuple[HookEvent, ...]:
    """The events in a row; unknown events of a later version are ignored."""
    known = {event.value: event for event in HookEvent}
    return tuple(known[name] for name in text.split() if name in known)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    if "events" in values:
        values["events"] = " ".join(event.value for event in values["events"])
    return values


def insert(connection: Connection, *, now: datetime, created_by: str, **values: Any) -> Hook:
    """Store a new webhook and return it with its id; `values` are the other fields of `Hook`."""
    values = {**values, "created_by": created_by, "created_at": now, "updated_at": now}
    statement = hooks.insert().values(**_row(dict(values))).returning(hooks.c.id)
    return Hook(id=connection.execute(statement).scalar_one(), **values)


def get(connection: Connection, hook_id: int) -> Hook | None:
    """The webhook with this id, or None."""
    row = connection.execute(sa.select(hooks).where(hooks.c.id == hook_id)).mappings().first()
    return None if row is None else from_row(row)


def update(connection: Connection, hook_id: int, *, now: datetime, **values: Any) -> None:
    """Change fields of a webhook."""
    connection.execute(hooks.update().where(hooks.c.id == hook_id).values(**_row(values), updated_at=now))


def delete(connection: Connection, hook_id: int) -> None:
    """Delete a webhook; its deliveries are deleted with it by their foreign key."""
    connection.execute(hooks.delete().where(hooks.c.id == hook_id))


def count(connection: Connection, *, job_id: int | None, namespace: str | None) -> int:
    """The number of webhooks of a job, or of a namespace."""
    watched = hooks.c.namespace == namespace if job_id is None else hooks.c.job_id == job_id
    return connection.execute(sa.select(sa.func.count()).select_from(hooks).where(watched)).scalar_one()


def page(
    connection: Connection,
    *,
    visible_in: str | None,
    job_id: int | None,
    namespace: str | None,
    kind: str | None,
    offset: int,
    limit: int,
) -> list[Hook]:
    """Webhooks in the order of creation.

    Args:
        connection: inside a transaction.
        visible_in: only those of this namespace and its jobs; None for all.
        job_id: only those that watch this job.
        namespace: only those that watch this namespace.
        kind: only those that watch a ``job`` or a ``namespace``.
        offset: number of webhooks to skip.
        limit: maximum number of webhooks.
    """
    query = sa.select(hooks).outerjoin(jobs, jobs.c.id == hooks.c.job_id)
    if visible_in is not None:
        query = query.where(sa.func.coalesce(hooks.c.namespace, jobs.c.namespace) == visible_in)
    if job_id is not None:
        query = query.where(hooks.c.job_id == job_id)
    if namespace is not None:
        query = query.where(hooks.c.namespace == namespace)
    if kind is not None:
        query = query.where(hooks.c.job_id.is_not(None) if kind == "job" else hooks.c.job_id.is_(None))
    rows = connection.execute(query.order_by(hooks.c.id).offset(offset).limit(limit))
    return [from_row(row) for row in rows.mappings()]


def all_sealed(connection: Connection) -> list[tuple[int, str]]:
    """The id and the sealed secret of every webhook that signs its deliveries."""
    rows = connection.execute(
        sa.select(hooks.c.id, hooks.c.sealed_secret).where(hooks.c.sealed_secret.is_not(None))
    )
    return [(row.id, row.sealed_secret) for row in rows]


def reseal(connection: Connection, hook_id: int, before: str, after: str) -> None:
    """Replace a sealed secret, unless it has changed since."""
    unchanged = sa.and_(hooks.c.id == hook_id, hooks.c.sealed_secret == before)
    connection.execute(hooks.update().where(unchanged).values(sealed_secret=after))
