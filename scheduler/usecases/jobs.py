"""Jobs: creating, reading, changing and deleting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import Caller, Role, demand, visible_job
from scheduler.domain.execution import JOB_DELETED
from scheduler.domain.filters import JobFilter
from scheduler.domain.job import Job, JobDefinition
from scheduler.domain.views import JobView, Page
from scheduler.planning.abandon import abandon
from scheduler.policy import job_rules
from scheduler.process.faults import Point, point
from scheduler.store import execs, jobs
from scheduler.usecases.parts import Parts


class JobUseCases:
    """What callers do with jobs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> JobView:
        """Store a new job.

        Args:
            caller: an editor of its namespace.
            fields: of `JobDefinition`; `name` and `docker_image_repo` at least.

        Raises:
            InvalidInputError: a field cannot be accepted.
            ConflictError: the namespace has a job of that name.
            ForbiddenError: the caller may not define jobs there.
        """
        definition = JobDefinition(**{"namespace": caller.home, **self._parts.defaults, **fields})
        demand(caller, Role.EDITOR, definition.namespace)
        job_rules.check_definition(
            definition,
            sizes=self._parts.sizes,
            regions=self._parts.regions,
            policy=self._parts.policy_of(definition.namespace),
        )
        now = self._parts.clock.now()
        definition, cursor = job_rules.with_schedule(definition, None, now)

        def work(connection: Connection) -> Job:
            job = jobs.insert(connection, definition, cursor, created_by=caller.user, now=now)
            record(connection, caller, "job.create", f"job {job.id}", now=now, namespace=definition.namespace)
            return job

        job = await self._parts.database.write(work)
        self._parts.planner.job_changed(job)
        return JobView(job, None)

    async def list(self, caller: Caller, wanted: JobFilter, *, page: Page) -> tuple[int, list[JobView]]:
        """The number of matching jobs that the caller can see, and one page of them, the oldest first."""
        if caller.namespace is not None:
            if wanted.namespace not in (None, caller.namespace):
                return 0, []
            wanted = replace(wanted, namespace=caller.namespace)

        def work(connection: Connection) -> tuple[int, list[JobView]]:
            count, found = jobs.page(connection, wanted, offset=page.offset, limit=page.size)
            latest = execs.latest_of(connection, [job.id for job in found])
            return count, [JobView(job, latest.get(job.id)) for job in found]

        return await self._parts.database.read(work)

    async def get(self, caller: Caller, job_id: str) -> JobView:
        """A job.

        Raises:
            NotFoundError: there is none of that id that the caller may see.
        """

        def work(connection: Connection) -> JobView:
            job = visible_job(connection, caller, job_id)
            return JobView(job, execs.latest_of(connection, [job.id]).get(job.id))

        return await self._parts.database.read(work)

    async def update(self, caller: Caller, job_id: str, fields: Mapping[str, Any]) -> JobView:
        """Change the given fields, and keep the others.

        Raises:
            NotFoundError: there is no such job for the caller.
            InvalidInputError: a field cannot be accepted; nothing is changed.
            ConflictError: the namespace has another job of that name.
            ForbiddenError: the caller may not define jobs there.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> JobView:
            seen = visible_job(connection, caller, job_id)
            before = jobs.lock_many(connection, [seen.id])[seen.id]  # a claim may have advanced its schedule
            demand(caller, Role.EDITOR, before.definition.namespace)
            definition = job_rules.with_image(replace(before.definition, **fields), before.definition, fields)
            demand(caller, Role.EDITOR, definition.namespace)
            job_rules.check_definition(
                definition,
                sizes=self._parts.sizes,
                regions=self._parts.regions,
                policy=self._parts.policy_of(definition.namespace),
                changes=fields,
            )
            definition, cursor = job_rules.with_schedule(definition, before, now)
            if cursor.revision != before.cursor.revision:
                abandon(connection, before, now=now)
            jobs.update(connection, before.id, definition, cursor, now=now)
            for namespace in {before.definition.namespace, definition.namespace}:
                record(connection, caller, "job.update", f"job {before.id}", now=now, namespace=namespace)
            job = replace(before, definition=definition, cursor=cursor, updated_at=now)
            return JobView(job, execs.latest_of(connection, [job.id]).get(job.id))

        view = await self._parts.database.write(work)
        self._parts.planner.job_changed(view.job)
        self._parts.dispatcher.job_changed(view.job.id)
        return view

    async def delete(self, caller: Caller, job_id: str) -> None:
        """Delete a job with its runs and logs; runs in progress are stopped and their containers removed.

        Raises:
            NotFoundError: there is no such job for the caller.
            ForbiddenError: the caller may not delete jobs there.
        """
        now = self._parts.clock.now()
        reason = f"{JOB_DELETED} by {caller.user}"

        def hide(connection: Connection) -> tuple[Job, list[str]]:
            job = visible_job(connection, caller, job_id)
            demand(caller, Role.EDITOR, job.definition.namespace)
            off = replace(job.definition, is_schedule_active=False)
            off, cursor = job_rules.with_schedule(off, job, now)
            jobs.update(connection, job.id, off, cursor, now=now)
            # Recorded with the first change, so that it is known who began it, whatever happens next.
            record(connection, caller, "job.delete", f"job {job.id}", now=now, namespace=off.namespace)
            jobs.hide(connection, job.id, now=now)
            return job, stop_all(connection, job.id, now, reason)

        def forget(connection: Connection) -> None:
            for run in execs.open_of_job(connection, job.id):
                execs.delete(connection, run.id)

        # From this commit on, the job is invisible. It takes the same time for any number of runs: they are deleted
        # in batches, by a later daemon if this one stops.
        job, stopped = await self._parts.database.write(hide)
        point(Point.DELETING)
        self._parts.planner.job_deleted(job.id)
        await self._parts.discard(stopped)
        if stopped:
            await self._parts.database.write(forget)
        self._parts.cleaner.wake()


def stop_all(connection: Connection, job_id: int, now: datetime, reason: str) -> list[str]:
    """Request the stop of all open runs of a job; returns their ids."""
    going = execs.open_of_job(connection, job_id)
    for run in going:
        execs.stop(connection, run, now=now, reason=reason)
    return [run.id for run in going]
