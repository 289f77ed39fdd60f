"""The use cases: the one door for the API, each with the caller it serves.

Each one checks what the caller may do and see, does its work in one transaction, and tells the planner, the
dispatcher or the runner afterwards, so that a change takes effect at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection

from scheduler import rules
from scheduler.access import Caller, Role, demand, visible_exec, visible_job
from scheduler.clock import Clock
from scheduler.drafting import NO_OVERRIDES, Overrides, draft_exec
from scheduler.errors import ConflictError, InvalidInputError
from scheduler.execution import Exec, ExecStatus, Occurrence, Outcome, TriggerMode
from scheduler.health import Readiness, readiness
from scheduler.job import ConcurrencyPolicy, Job, JobDefinition, Size
from scheduler.logs.lines import Line
from scheduler.logs.reader import LogQuery, LogReader
from scheduler.planning.abandon import abandon
from scheduler.planning.planner import Planner
from scheduler.running.dispatcher import Dispatcher
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.store import execs, jobs, ledger
from scheduler.store.database import Database
from scheduler.views import ExecView, JobView, Page

DELETE_GRACE: Final = 2  # seconds between SIGTERM and SIGKILL for runs whose exec is being deleted, at most
DELETE_PATIENCE: Final = 20.0  # seconds that a deletion waits for containers to be gone, at most


class Service:
    """All use cases over one database and one set of engines."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        sizes: Mapping[str, Size],
        regions: Mapping[str, Region],
        default_region: str,
        default_size: str,
        planner: Planner,
        dispatcher: Dispatcher,
        runner: Runner,
        logs: LogReader,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sizes = sizes
        self._regions = regions
        self._defaults = {"region_name": default_region, "resource_size": default_size}
        self._planner = planner
        self._dispatcher = dispatcher
        self._runner = runner
        self._logs = logs

    # ---- jobs --------------------------------------------------------------------------------------------

    async def create_job(self, caller: Caller, fields: Mapping[str, Any]) -> JobView:
        """Store a new job.

        Args:
            caller: an editor of its namespace.
            fields: of `JobDefinition`; `name` and `docker_image_repo` at least.

        Raises:
            InvalidInputError: a field cannot be accepted.
            ConflictError: the namespace has a job of that name.
            ForbiddenError: the caller may not define jobs there.
        """
        definition = JobDefinition(**{"namespace": caller.home, **self._defaults, **fields})
        demand(caller, Role.EDITOR, definition.namespace)
        rules.check_definition(definition, sizes=self._sizes, regions=self._regions)
        now = self._clock.now()
        definition, cursor = rules.with_schedule(definition, None, now)
        job = await self._database.write(
            lambda connection: jobs.insert(connection, definition, cursor, created_by=caller.user, now=now)
        )
        self._planner.job_changed(job)
        return JobView(job, None)

    async def list_jobs(
        self, caller: Caller, *, namespace: str | None, page: Page
    ) -> tuple[int, list[JobView]]:
        """How many jobs the caller may see there, and one page of them, oldest first."""
        if caller.namespace is not None:
            if namespace not in (None, caller.namespace):
                return 0, []
            namespace = caller.namespace

        def work(connection: Connection) -> tuple[int, list[JobView]]:
            count, found = jobs.page(connection, namespace=namespace, offset=page.offset, limit=page.size)
            latest = execs.latest_of(connection, [job.id for job in found])
            return count, [JobView(job, latest.get(job.id)) for job in found]

        return await self._database.read(work)

    async def get_job(self, caller: Caller, job_id: str) -> JobView:
        """One job.

        Raises:
            NotFoundError: there is none of that id that the caller may see.
        """

        def work(connection: Connection) -> JobView:
            job = visible_job(connection, caller, job_id)
            return JobView(job, execs.latest_of(connection, [job.id]).get(job.id))

        return await self._database.read(work)

    async def update_job(self, caller: Caller, job_id: str, fields: Mapping[str, Any]) -> JobView:
        """Change the fields that are named, and keep the others.

        Raises:
            NotFoundError: there is no such job for the caller.
            InvalidInputError: a field cannot be accepted; nothing is changed.
            ConflictError: the namespace has another job of that name.
            ForbiddenError: the caller may not define jobs there.
        """
        now = self._clock.now()

        def work(connection: Connection) -> JobView:
            seen = visible_job(connection, caller, job_id)
            before = jobs.lock_many(connection, [seen.id])[seen.id]  # a claim may have moved its schedule on
            demand(caller, Role.EDITOR, before.definition.namespace)
            definition = replace(before.definition, **fields)
            demand(caller, Role.EDITOR, definition.namespace)
            rules.check_definition(definition, sizes=self._sizes, regions=self._regions, changes=fields)
            definition, cursor = rules.with_schedule(definition, before, now)
            if cursor.revision != before.cursor.revision:
                abandon(connection, before, now=now)
            jobs.update(connection, before.id, definition, cursor, now=now)
            job = replace(before, definition=definition, cursor=cursor, updated_at=now)
            return JobView(job, execs.latest_of(connection, [job.id]).get(job.id))

        view = await self._database.write(work)
        self._planner.job_changed(view.job)
        return view

    async def delete_job(self, caller: Caller, job_id: str) -> None:
        """Remove a job with its execs and logs; runs in progress are stopped and their containers removed.

        Raises:
            NotFoundError: there is no such job for the caller.
            ForbiddenError: the caller may not delete jobs there.
        """
        now = self._clock.now()

        def switch_off(connection: Connection) -> tuple[Job, list[str]]:
            job = visible_job(connection, caller, job_id)
            demand(caller, Role.EDITOR, job.definition.namespace)
            off = replace(job.definition, is_schedule_active=False)
            off, cursor = rules.with_schedule(off, job, now)
            jobs.update(connection, job.id, off, cursor, now=now)
            return job, self._stop_all(connection, job.id, now)

        def remove(connection: Connection) -> list[str]:
            open_ids = self._stop_all(connection, job.id, now)
            if set(open_ids) <= set(stopped):
                jobs.delete(connection, job.id)
                return []
            return open_ids

        job, stopped = await self._database.write(switch_off)
        self._planner.job_deleted(job.id)
        await self._discard(stopped)
        # A trigger may have come in between; its run is stopped as well before the rows go.
        while more := await self._database.write(remove):
            stopped = more
            await self._discard(stopped)

    # ---- execs -------------------------------------------------------------------------------------------

    async def trigger(
        self, caller: Caller, job_id: str, overrides: Overrides = NO_OVERRIDES, *, force: bool = False
    ) -> ExecView:
        """Make a run now.

        Args:
            caller: an operator of the job's namespace.
            job_id: whose run.
            overrides: what this run does otherwise than the job.
            force: run although the job forbids two runs at a time.

        Raises:
            NotFoundError: there is no such job for the caller.
            ConflictError: the job forbids two runs at a time, and one is going.
            InvalidInputError: an override cannot be accepted.
            ForbiddenError: the caller may not trigger runs there.
        """
        now = self._clock.now()
        wrong = rules.check_command(overrides.command)
        if overrides.resource_size is not None:
            wrong += rules.check_size(overrides.resource_size, self._sizes)
        if wrong:
            raise InvalidInputError(*wrong)

        def work(connection: Connection) -> tuple[Exec, list[Exec]]:
            job = visible_job(connection, caller, job_id)
            demand(caller, Role.OPERATOR, job.definition.namespace)
            if overrides.resource_size is None and job.definition.resource_size not in self._sizes:
                raise ConflictError(
                    f"resource_size: the job's size '{job.definition.resource_size}' is not configured any more; "
                    f"change the job, or trigger it with one of {', '.join(self._sizes)}"
                )
            policy = job.definition.concurrency_policy
            earlier: list[Exec] = []
            if policy is ConcurrencyPolicy.FORBID and not force:
                if going := execs.open_of_job(connection, job.id):
                    raise ConflictError(
                        f"concurrency_policy is 'forbid' and exec {going[0].id} has not ended; "
                        "stop it, wait for its end, or trigger with ?force=true"
                    )
            elif policy is ConcurrencyPolicy.REPLACE:
                earlier = execs.open_of_job(connection, job.id)
                for one in earlier:
                    execs.stop(connection, one, now=now)
            new = draft_exec(
                job,
                self._sizes,
                trigger_mode=TriggerMode.MANUAL,
                created_by=caller.user,
                now=now,
                overrides=overrides,
            )
            execs.insert(connection, [new])
            return new, earlier

        new, earlier = await self._database.write(work)
        self._tell_stopped(one.id for one in earlier)
        self._dispatcher.offer([new])
        return self._view(new)

    async def list_execs(self, caller: Caller, job_id: str, *, page: Page) -> tuple[int, list[ExecView]]:
        """How many runs the job has, and one page of them, newest first.

        Raises:
            NotFoundError: there is no such job for the caller.
        """

        def work(connection: Connection) -> tuple[int, list[Exec]]:
            job = visible_job(connection, caller, job_id)
            return execs.page(connection, job_id=job.id, offset=page.offset, limit=page.size)

        count, found = await self._database.read(work)
        return count, [self._view(one) for one in found]

    async def get_exec(self, caller: Caller, job_id: str, exec_id: str) -> tuple[ExecView, JobView]:
        """One run, with its job as it is now.

        Raises:
            NotFoundError: there is no such run of that job for the caller.
        """

        def work(connection: Connection) -> tuple[Exec, JobView]:
            job, one = visible_exec(connection, caller, job_id, exec_id)
            return one, JobView(job, execs.latest_of(connection, [job.id]).get(job.id))

        one, job = await self._database.read(work)
        return self._view(one), job

    async def stop_exec(self, caller: Caller, job_id: str, exec_id: str) -> ExecView:
        """Ask for a run's end; one that waits ends at once.

        Raises:
            NotFoundError: there is no such run for the caller.
            ConflictError: it has ended.
            ForbiddenError: the caller may not stop runs there.
        """
        now = self._clock.now()

        def work(connection: Connection) -> Exec:
            job, one = visible_exec(connection, caller, job_id, exec_id)
            demand(caller, Role.OPERATOR, job.definition.namespace)
            if one.ended_at is not None:
                raise ConflictError(f"exec {one.id} has ended already (status {one.status.value})")
            execs.stop(connection, one, now=now)
            return execs.get(connection, one.id) or one

        one = await self._database.write(work)
        self._tell_stopped([one.id])
        return self._view(one)

    async def delete_exec(self, caller: Caller, job_id: str, exec_id: str, *, force: bool) -> None:
        """Remove a run with its logs.

        Args:
            caller: an editor of the job's namespace.
            job_id: whose run.
            exec_id: which.
            force: stop it first if it has not ended.

        Raises:
            NotFoundError: there is no such run for the caller.
            ConflictError: it has not ended, and `force` was not given.
            ForbiddenError: the caller may not delete runs there.
        """
        now = self._clock.now()

        def check(connection: Connection) -> Exec:
            job, one = visible_exec(connection, caller, job_id, exec_id)
            demand(caller, Role.EDITOR, job.definition.namespace)
            if one.ended_at is None:
                if not force:
                    raise ConflictError(
                        f"exec {one.id} has not ended (status {one.status.value}); "
                        "stop it first with POST …/stop, or delete it with ?force=true"
                    )
                execs.stop(connection, one, now=now)
            return one

        one = await self._database.write(check)
        if one.ended_at is None:
            await self._discard([one.id])
        await self._database.write(lambda connection: execs.delete(connection, one.id))

    # ---- logs and the ledger -----------------------------------------------------------------------------

    async def read_logs(
        self, caller: Caller, job_id: str, exec_id: str, query: LogQuery
    ) -> AsyncIterator[list[Line]]:
        """The lines of a run's log that the query asks for, in batches.

        Raises:
            NotFoundError: there is no such run for the caller; before the first batch.
        """
        _, one = await self._database.read(
            lambda connection: visible_exec(connection, caller, job_id, exec_id)
        )
        async for batch in self._logs.read(one.id, query):
            yield batch

    async def list_occurrences(
        self,
        caller: Caller,
        job_id: str,
        *,
        start: datetime | None,
        end: datetime | None,
        outcomes: Sequence[Outcome] | None,
        page: Page,
    ) -> tuple[int, list[Occurrence]]:
        """How many entries of the job's ledger match, and one page of them, newest due time first.

        Raises:
            NotFoundError: there is no such job for the caller.
        """

        def work(connection: Connection) -> tuple[int, list[Occurrence]]:
            job = visible_job(connection, caller, job_id)
            return ledger.page(
                connection,
                job_id=job.id,
                start=start,
                end=end,
                outcomes=outcomes,
                offset=page.offset,
                limit=page.size,
            )

        return await self._database.read(work)

    async def readiness(self) -> Readiness:
        """Whether database and engines answer."""
        return await readiness(self._database, self._regions)

    # ---- shared steps ------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The present by the daemon's clock (UTC)."""
        return self._clock.now()

    def _view(self, one: Exec) -> ExecView:
        waits = one.status is ExecStatus.WAITING
        return ExecView(one, f"waits for {self._dispatcher.reason(one)}" if waits else None)

    def _stop_all(self, connection: Connection, job_id: int, now: datetime) -> list[str]:
        going = execs.open_of_job(connection, job_id)
        for one in going:
            execs.stop(connection, one, now=now)
        return [one.id for one in going]

    def _tell_stopped(self, exec_ids: Any) -> None:
        for exec_id in exec_ids:
            self._dispatcher.withdraw(exec_id)
            self._runner.stop(exec_id)

    async def _discard(self, exec_ids: list[str]) -> None:
        for exec_id in exec_ids:
            self._dispatcher.withdraw(exec_id)
        await self._runner.discard(exec_ids, grace_seconds=DELETE_GRACE, patience=DELETE_PATIENCE)
