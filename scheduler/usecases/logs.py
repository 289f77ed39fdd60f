"""Logs: reading and following the output of runs."""

from __future__ import annotations

from contextlib import suppress

from scheduler.access.callers import Caller, Role, demand, visible_exec, visible_job
from scheduler.domain.errors import NotFoundError
from scheduler.domain.job import Job
from scheduler.logs.followers import Follow
from scheduler.logs.following_many import FollowMany
from scheduler.logs.merging import Merging
from scheduler.logs.reader import LogQuery, Reading
from scheduler.store.spans import Scope
from scheduler.usecases.parts import Parts


class LogUseCases:
    """Use cases for logs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def read(self, caller: Caller, job_id: str, exec_id: str, query: LogQuery) -> tuple[Job, Reading]:
        """The lines of a run's log that match the query, in batches, and the run's job.

        Raises:
            NotFoundError: the caller can see no such run.
            InvalidInputError: the cursor belongs to another log.
        """
        job, run = await self._parts.database.read(
            lambda connection: visible_exec(connection, caller, job_id, exec_id)
        )
        return job, self._parts.logs.read(run.id, query)

    async def read_job(self, caller: Caller, job_id: str, query: LogQuery) -> tuple[Job, Merging]:
        """The lines of all runs of a job in chronological order, and the job.

        Raises:
            NotFoundError: the caller can see no such job.
            InvalidInputError: the cursor belongs to another log.
        """
        job = await self._parts.database.read(lambda connection: visible_job(connection, caller, job_id))
        return job, Merging(self._parts.logs, Scope(job_id=job.id), query, self._parts.clock.now())

    async def read_namespace(
        self, caller: Caller, namespace: str | None, query: LogQuery
    ) -> tuple[str, Merging]:
        """The lines of all runs in a namespace in chronological order, and the namespace's name.

        Args:
            caller: who asks.
            namespace: the namespace; None for the caller's own.
            query: which lines.

        Raises:
            ForbiddenError: the caller is limited to another namespace.
            InvalidInputError: the cursor belongs to another log.
        """
        name = caller.home if namespace is None else namespace
        demand(caller, Role.VIEWER, name)
        return name, Merging(self._parts.logs, Scope(namespace=name), query, self._parts.clock.now())

    async def follow(self, caller: Caller, job_id: str, exec_id: str, query: LogQuery) -> Follow:
        """Follow a run; release the result with `leave`.

        Raises:
            NotFoundError: the caller can see no such run.
            InvalidInputError: the cursor belongs to another log.
            UnavailableError: there are too many followers.
        """
        _, run = await self._parts.database.read(
            lambda connection: visible_exec(connection, caller, job_id, exec_id)
        )
        return self._parts.followers.follow(run.id, query)

    async def follow_job(self, caller: Caller, job_id: str, query: LogQuery) -> FollowMany:
        """Follow all runs of a job as one log; release the result with `leave`.

        Raises:
            NotFoundError: the caller can see no such job.
            InvalidInputError: the cursor belongs to another log.
            UnavailableError: there are too many followers.
        """
        job = await self._parts.database.read(lambda connection: visible_job(connection, caller, job_id))

        async def is_there() -> bool:
            with suppress(NotFoundError):
                await self._parts.database.read(lambda connection: visible_job(connection, caller, job_id))
                return True
            return False

        return self._parts.followers.follow_many(
            Scope(job_id=job.id), query, now=self._parts.clock.now, is_there=is_there
        )

    async def follow_namespace(self, caller: Caller, namespace: str | None, query: LogQuery) -> FollowMany:
        """Follow all runs in a namespace as one log; release the result with `leave`.

        Args:
            caller: who asks.
            namespace: the namespace; None for the caller's own.
            query: which lines.

        Raises:
            ForbiddenError: the caller is limited to another namespace.
            InvalidInputError: the cursor belongs to another log.
            UnavailableError: there are too many followers.
        """
        name = caller.home if namespace is None else namespace
        demand(caller, Role.VIEWER, name)

        async def is_there() -> bool:
            return True

        return self._parts.followers.follow_many(
            Scope(namespace=name), query, now=self._parts.clock.now, is_there=is_there
        )

    def leave(self, follow: Follow | FollowMany) -> None:
        """Stop following."""
        self._parts.followers.close(follow)

    def stop_following(self) -> None:
        """Disconnect all followers when the daemon stops; they reconnect to the next one."""
        self._parts.followers.stop()
