"""Runs: triggering, replaying, reading, stopping and deleting them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy.engine import Connection

from scheduler.access.audit import record_exec
from scheduler.access.callers import Caller, Role, demand, visible_exec, visible_job
from scheduler.domain.drafting import NO_OVERRIDES, Overrides, draft_exec, draft_replay
from scheduler.domain.errors import ConflictError, How, InvalidInputError
from scheduler.domain.execution import Exec, ExecStatus, TriggerMode, replaced_by, requested_by
from scheduler.domain.job import ConcurrencyPolicy, Job
from scheduler.domain.views import ExecView, JobView, Page
from scheduler.policy import job_rules
from scheduler.process.faults import Point, point
from scheduler.store import execs, jobs
from scheduler.usecases.parts import Parts


class ExecUseCases:
    """What callers do with runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def trigger(
        self, caller: Caller, job_id: str, overrides: Overrides = NO_OVERRIDES, *, force: bool = False
    ) -> ExecView:
        """Trigger a run.

        Args:
            caller: an operator of the job's namespace.
            job_id: the job.
            overrides: how this run differs from its job.
            force: run even if the job forbids overlapping runs.

        Raises:
            NotFoundError: the job does not exist or is not visible to the caller.
            ConflictError: the job forbids overlapping runs, and one has not ended.
            InvalidInputError: an override is invalid.
            ForbiddenError: the caller may not trigger runs there.
        """
        now = self._parts.clock.now()
        self._check(overrides)

        def draft(connection: Connection) -> tuple[Job, Exec]:
            job = visible_job(connection, caller, job_id)
            demand(caller, Role.OPERATOR, job.definition.namespace)
            if overrides.resource_size is None and job.definition.resource_size not in self._parts.sizes:
                raise ConflictError(
                    f"The job's resource_size '{job.definition.resource_size}' is no longer configured. "
                    f"Change the job, or trigger it with one of {', '.join(self._parts.sizes)}."
                )
            return job, draft_exec(
                job,
                self._parts.sizes,
                trigger_mode=TriggerMode.MANUAL,
                created_by=caller.user,
                now=now,
                overrides=overrides,
            )

        return await self._create(caller, draft, "exec.trigger", now=now, force=force)

    async def replay(
        self,
        caller: Caller,
        job_id: str,
        exec_id: str,
        overrides: Overrides = NO_OVERRIDES,
        *,
        force: bool = False,
    ) -> ExecView:
        """Trigger a run that repeats an earlier one: its image, command, variables, size and options.

        Args:
            caller: an operator of the job's namespace.
            job_id: the job.
            exec_id: the run to repeat.
            overrides: how this run differs from the earlier one.
            force: run even if the job forbids overlapping runs.

        Raises:
            NotFoundError: the run does not exist or is not visible to the caller.
            ConflictError: it has not started; or the job forbids overlapping runs, and one has not ended.
            InvalidInputError: an override is invalid.
            ForbiddenError: the caller may not trigger runs there.
        """
        now = self._parts.clock.now()
        self._check(overrides)

        def draft(connection: Connection) -> tuple[Job, Exec]:
            job, earlier = visible_exec(connection, caller, job_id, exec_id)
            demand(caller, Role.OPERATOR, job.definition.namespace)
            if earlier.status is ExecStatus.WAITING:
                raise ConflictError(
                    f"Run {earlier.id} has not started, so it cannot be replayed. Wait until it starts, or trigger "
                    "another run of the job."
                )
            return job, draft_replay(
                earlier, job, self._parts.sizes, created_by=caller.user, now=now, overrides=overrides
            )

        return await self._create(caller, draft, "exec.replay", now=now, force=force)

    def _check(self, overrides: Overrides) -> None:
        wrong = job_rules.check_command(overrides.command)
        if overrides.resource_size is not None:
            wrong += job_rules.check_size(overrides.resource_size, self._parts.sizes)
        if wrong:
            raise InvalidInputError(*wrong)

    async def _create(
        self,
        caller: Caller,
        draft: Callable[[Connection], tuple[Job, Exec]],
        action: str,
        *,
        now: datetime,
        force: bool,
    ) -> ExecView:
        """Store a new run under the job's concurrency policy, and offer it to the dispatcher."""

        def work(connection: Connection) -> tuple[Exec, list[Exec]]:
            job, new = draft(connection)
            policy = job.definition.concurrency_policy
            if policy is not ConcurrencyPolicy.ALLOW:
                # Against another daemon that creates a run of this job at the same time.
                jobs.lock_many(connection, [job.id])
            earlier: list[Exec] = []
            if policy is ConcurrencyPolicy.FORBID and not force:
                if going := execs.open_of_job(connection, job.id):
                    raise ConflictError(
                        f"The job's concurrency_policy is 'forbid' and its run {going[0].id} has not ended. "
                        f"Stop that run, wait for its end, or use {How.FORCE} to run both."
                    )
            elif policy is ConcurrencyPolicy.REPLACE:
                earlier = execs.open_of_job(connection, job.id)
            for run in earlier:
                execs.stop(connection, run, now=now, reason=replaced_by(new.id))
            execs.insert(connection, [new])
            record_exec(connection, caller, action, new, now=now)
            return new, earlier

        new, earlier = await self._parts.database.write(work)
        point(Point.TRIGGERED)
        self._parts.tell_stopped((run.id for run in earlier), replaced_by(new.id))
        self._parts.dispatcher.offer([new])
        return self._parts.view(new)

    async def list(
        self, caller: Caller, job_id: str, *, page: Page, statuses: Collection[ExecStatus] = ()
    ) -> tuple[int, list[ExecView]]:
        """The number of runs of the job with these statuses (all by default), and one page of them, the latest first.

        Raises:
            NotFoundError: the job does not exist or is not visible to the caller.
        """

        def work(connection: Connection) -> tuple[int, list[Exec]]:
            job = visible_job(connection, caller, job_id)
            return execs.page(
                connection, job_id=job.id, offset=page.offset, limit=page.size, statuses=statuses
            )

        count, found = await self._parts.database.read(work)
        return count, [self._parts.view(run) for run in found]

    async def get(self, caller: Caller, job_id: str, exec_id: str) -> tuple[ExecView, JobView]:
        """A run, with its job as it is now.

        Raises:
            NotFoundError: the run does not exist or is not visible to the caller.
        """

        def work(connection: Connection) -> tuple[Exec, JobView]:
            job, run = visible_exec(connection, caller, job_id, exec_id)
            return run, JobView(job, execs.latest_of(connection, [job.id]).get(job.id))

        run, job = await self._parts.database.read(work)
        return self._parts.view(run), job

    async def stop(self, caller: Caller, job_id: str, exec_id: str) -> ExecView:
        """Request the stop of a run; a waiting run ends immediately.

        Raises:
            NotFoundError: the run does not exist or is not visible to the caller.
            ConflictError: it has ended.
            ForbiddenError: the caller may not stop runs there.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> Exec:
            job, run = visible_exec(connection, caller, job_id, exec_id)
            demand(caller, Role.OPERATOR, job.definition.namespace)
            if run.ended_at is not None:
                raise ConflictError(f"Run {run.id} has already ended (status {run.status.value}).")
            execs.stop(connection, run, now=now, reason=requested_by(caller.user))
            record_exec(connection, caller, "exec.stop", run, now=now)
            return execs.get(connection, run.id) or run

        run = await self._parts.database.write(work)
        point(Point.STOP_REQUESTED)
        self._parts.tell_stopped([run.id], run.stop_reason)
        return self._parts.view(run)

    async def delete(self, caller: Caller, job_id: str, exec_id: str, *, force: bool) -> None:
        """Delete a run and its log.

        Args:
            caller: an editor of the job's namespace.
            job_id: the job.
            exec_id: the run.
            force: stop the run first if it has not ended.

        Raises:
            NotFoundError: the run does not exist or is not visible to the caller.
            ConflictError: it has not ended, and `force` is not set.
            ForbiddenError: the caller may not delete runs there.
        """
        now = self._parts.clock.now()

        def check(connection: Connection) -> Exec:
            job, run = visible_exec(connection, caller, job_id, exec_id)
            demand(caller, Role.EDITOR, job.definition.namespace)
            if run.ended_at is None:
                if not force:
                    raise ConflictError(
                        f"Run {run.id} has not ended (status {run.status.value}). "
                        f"Stop it first, or use {How.FORCE} to stop and delete it."
                    )
                execs.stop(connection, run, now=now, reason=requested_by(caller.user))
            record_exec(connection, caller, "exec.delete", run, now=now)
            return run

        run = await self._parts.database.write(check)
        if run.ended_at is None:
            await self._parts.discard([run.id])
        await self._parts.database.write(lambda connection: execs.delete(connection, run.id))
        self._parts.cleaner.wake()
