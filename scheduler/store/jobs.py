"""Jobs as rows: creating, finding, changing and deleting them, and finding those that are due soon.

Every function takes a connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from scheduler.domain.errors import ConflictError
from scheduler.domain.filters import JobFilter
from scheduler.domain.job import Job, JobDefinition, ScheduleCursor, ScheduleState
from scheduler.domain.secret import secrets_of
from scheduler.store.rows import reader, values_of
from scheduler.store.tables import (
    Moment,
    deliveries,
    hooks,
    job_labels,
    jobs,
    secret_uses,
)

#: Number of ids in one statement, well below the limits of all databases.
IDS_PER_STATEMENT = 500

#: A deleted job is invisible; its row is kept until the last of its runs is deleted.
_there = jobs.c.deleted_at.is_(None)


#: The job in a row.
from_row = reader(Job)


def insert(
    connection: Connection,
    definition: JobDefinition,
    cursor: ScheduleCursor,
    *,
    created_by: str,
    now: datetime,
) -> Job:
    """Store a new job; returns it with its id.

    Raises:
        ConflictError: the namespace already has a job with that name.
    """
    values = values_of(definition) | values_of(cursor)
    statement = jobs.insert().values(**values, created_by=created_by, created_at=now, updated_at=now)
    try:
        with connection.begin_nested():
            job_id = connection.execute(statement.returning(jobs.c.id)).scalar_one()
    except IntegrityError as error:
        raise _name_taken(definition) from error
    _store_labels(connection, job_id, definition)
    _store_uses(connection, job_id, definition)
    return Job(
        id=job_id, definition=definition, cursor=cursor, created_by=created_by, created_at=now, updated_at=now
    )


def get(connection: Connection, job_id: int) -> Job | None:
    """The job with that id, or None."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id, _there)).mappings().first()
    return None if row is None else from_row(row)


def page(connection: Connection, wanted: JobFilter, *, offset: int, limit: int) -> tuple[int, list[Job]]:
    """The number of matching jobs, and `limit` of them from `offset` on, the oldest first."""
    hidden = deleted_ids(connection)
    # Only if there are any: without this condition, counting needs only an index.
    conditions: list[sa.ColumnElement[bool]] = [jobs.c.id.not_in(hidden)] if hidden else [sa.true()]
    if wanted.namespace is not None:
        conditions.append(jobs.c.namespace == wanted.namespace)
    if wanted.name is not None:
        conditions.append(jobs.c.name == wanted.name)
    if wanted.schedule_state is not None:
        conditions.append(_is_in(wanted.schedule_state))
    for name, value in sorted(wanted.labels.items()):
        some = sa.select(job_labels.c.job_id).where(job_labels.c.name == name, job_labels.c.value == value)
        conditions.append(jobs.c.id.in_(some))
    count = connection.execute(sa.select(sa.func.count()).select_from(jobs).where(*conditions)).scalar_one()
    rows = connection.execute(
        sa.select(jobs).where(*conditions).order_by(jobs.c.id).offset(offset).limit(limit)
    )
    return count, [from_row(row) for row in rows.mappings()]


def _is_in(state: ScheduleState) -> sa.ColumnElement[bool]:
    """The condition for a state of the schedule; equivalent to `Job.schedule_state`."""
    if state is ScheduleState.NONE:
        return jobs.c.schedule_mode.is_(None)
    if state is ScheduleState.ACTIVE:
        return jobs.c.next_due_at.is_not(None)
    has_one = jobs.c.schedule_mode.is_not(None)
    if state is ScheduleState.INACTIVE:
        return sa.and_(has_one, jobs.c.is_schedule_active.is_(False))
    return sa.and_(has_one, jobs.c.is_schedule_active.is_(True), jobs.c.next_due_at.is_(None))


def update(
    connection: Connection, job_id: int, definition: JobDefinition, cursor: ScheduleCursor, *, now: datetime
) -> None:
    """Replace the definition of a job and the cursor of its schedule.

    Raises:
        ConflictError: the namespace has another job with that name.
    """
    values = values_of(definition) | values_of(cursor)
    try:
        with connection.begin_nested():
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(**values, updated_at=now))
    except IntegrityError as error:
        raise _name_taken(definition) from error
    connection.execute(job_labels.delete().where(job_labels.c.job_id == job_id))
    _store_labels(connection, job_id, definition)
    connection.execute(secret_uses.delete().where(secret_uses.c.job_id == job_id))
    _store_uses(connection, job_id, definition)


def hide(connection: Connection, job_id: int, *, now: datetime) -> None:
    """Make a deleted job invisible: its name is free, and its runs and ledger are no longer accessible.

    The rest is deleted in batches; see `scheduler.store.clearing`.
    """
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(deleted_at=now))
    connection.execute(secret_uses.delete().where(secret_uses.c.job_id == job_id))
    # There are no more notifications about it.
    connection.execute(hooks.delete().where(hooks.c.job_id == job_id))
    connection.execute(deliveries.delete().where(deliveries.c.job_id == job_id))


def deleted_ids(connection: Connection) -> list[int]:
    """The ids of deleted jobs that still have rows to delete."""
    query = sa.select(jobs.c.id).where(jobs.c.deleted_at.is_not(None)).order_by(jobs.c.id)
    return list(connection.execute(query).scalars())


def delete(connection: Connection, job_id: int) -> None:
    """Delete the row of a job; runs and ledger entries would be deleted with it by their foreign keys."""
    connection.execute(jobs.delete().where(jobs.c.id == job_id))


def due_until(
    connection: Connection, until: datetime, *, limit: int, after: tuple[datetime, int] | None = None
) -> list[tuple[datetime, int]]:
    """(next_due_at, id) of active jobs whose next due time is not after `until`, the earliest first.

    Args:
        connection: inside a transaction.
        until: the end of the horizon, inclusive.
        limit: maximum number of entries.
        after: the last entry of the previous page, to continue after it.
    """
    query = sa.select(jobs.c.next_due_at, jobs.c.id).where(jobs.c.next_due_at <= until)
    if after is not None:
        seen = sa.tuple_(sa.literal(after[0], Moment), sa.literal(after[1], sa.Integer))
        query = query.where(sa.tuple_(jobs.c.next_due_at, jobs.c.id) > seen)
    rows = connection.execute(query.order_by(jobs.c.next_due_at, jobs.c.id).limit(limit))
    return [(row[0], row[1]) for row in rows]


def get_many(connection: Connection, job_ids: Collection[int]) -> list[Job]:
    """The existing jobs out of at most `IDS_PER_STATEMENT` ids."""
    return [
        from_row(row)
        for row in connection.execute(sa.select(jobs).where(jobs.c.id.in_(job_ids), _there)).mappings()
    ]


def lock_many(connection: Connection, job_ids: Collection[int]) -> dict[int, Job]:
    """The existing jobs by id, locked against other daemons until the transaction ends."""
    found: dict[int, Job] = {}
    ids = sorted(set(job_ids))
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        some = ids[start : start + IDS_PER_STATEMENT]
        # SQLite ignores FOR UPDATE: its writer's BEGIN IMMEDIATE has locked everything already.
        rows = connection.execute(
            sa.select(jobs).where(jobs.c.id.in_(some), _there).order_by(jobs.c.id).with_for_update()
        )
        found.update((row["id"], from_row(row)) for row in rows.mappings())
    return found


def advance(connection: Connection, moves: Iterable[tuple[int, datetime | None]]) -> None:
    """Set the next due time of each job, or None: (job id, due time)."""
    parameters = [{"job": job_id, "due": due} for job_id, due in moves]
    if parameters:
        connection.execute(
            jobs.update().where(jobs.c.id == sa.bindparam("job")).values(next_due_at=sa.bindparam("due")),
            parameters,
        )


def _store_labels(connection: Connection, job_id: int, definition: JobDefinition) -> None:
    rows = [{"job_id": job_id, "name": name, "value": value} for name, value in definition.labels.items()]
    if rows:
        connection.execute(job_labels.insert(), rows)


def _store_uses(connection: Connection, job_id: int, definition: JobDefinition) -> None:
    rows = [
        {"namespace": definition.namespace, "name": name, "job_id": job_id}
        for name in sorted(secrets_of(definition.runtime_vars, definition.secret_files))
    ]
    if rows:
        connection.execute(secret_uses.insert(), rows)


def _name_taken(definition: JobDefinition) -> ConflictError:
    return ConflictError(
        f"The namespace '{definition.namespace}' already has a job named '{definition.name}'. "
        "Choose another name, or update that job."
    )


def pin(connection: Connection, job_id: int, *, repository: str, tag: str, digest: str) -> None:
    """Store an image's digest with its job, if the job still pins its image, has no digest, and names that image."""
    connection.execute(
        jobs.update()
        .where(
            jobs.c.id == job_id,
            jobs.c.pin_digest,
            jobs.c.docker_image_digest.is_(None),
            jobs.c.docker_image_repo == repository,
            jobs.c.docker_image_tag == tag,
        )
        .values(docker_image_digest=digest)
    )
