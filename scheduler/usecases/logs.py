"""Logs: reading and following what runs wrote."""

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
    """What callers do with logs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def read(self, caller: Caller, job_id: str, exec_id: str, query: LogQuery) -> tuple[Job, Reading]:
        """The lines of a run's log that the query asks for, in batches, and the run's job.

        Raises:
            NotFoundError: there is no such run for the caller.
            InvalidInputError: the cursor is another log's.
        """
        job, one = await self._parts.database.read(
            lambda connection: visible_exec(connection, caller, job_id, exec_id)
        )
        return job, self._parts.logs.read(one.id, query)

    async def read_job(self, caller: Caller, job_id: str, query: LogQuery) -> tuple[Job, Merging]:
        """The lines of all runs of a job in the order of time, and the job.

        Raises:
            NotFoundError: there is no such job for the caller.
            InvalidInputError: the cursor is another log's.
        """
        job = await self._parts.database.read(lambda connection: visible_job(connection, caller, job_id))
        return job, Merging(self._parts.logs, Scope(job_id=job.id), query, self._parts.clock.now())

    async def read_namespace(
        self, caller: Caller, namespace: str | None, query: LogQuery
    ) -> tuple[str, Merging]:
        """The lines of all runs in a namespace in the order of time, and the namespace's name.

        Args:
            caller: who asks.
            namespace: which; the caller's own if None.
            query: which lines.

        Raises:
            ForbiddenError: the caller is bound to another namespace.
            InvalidInputError: the cursor is another log's.
        """
        name = caller.home if namespace is None else namespace
        demand(caller, Role.VIEWER, name)
        return name, Merging(self._parts.logs, Scope(namespace=name), query, self._parts.clock.now())

    async def follow(self, caller: Caller, job_id: str, exec_id: str, query: LogQuery) -> Follow:
        """Follow a run; to be given back with `leave`.

        Raises:
            NotFoundError: there is no such run for the caller.
            InvalidInputError: the cursor is another log's.
            UnavailableError: there are too many followers.
        """
        _, one = await self._parts.database.read(
            lambda connection: visible_exec(connection, caller, job_id, exec_id)
        )
        return self._parts.followers.follow(one.id, query)

    async def follow_job(self, caller: Caller, job_id: str, query: LogQuery) -> FollowMany:
        """Follow all runs of a job as one log; to be given back with `leave`.

        Raises:
            NotFoundError: there is no such job for the caller.
            InvalidInputError: the cursor is another log's.
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
        """Follow all runs in a namespace as one log; to be given back with `leave`.

        Args:
            caller: who asks.
            namespace: which; the caller's own if None.
            query: which lines.

        Raises:
            ForbiddenError: the caller is bound to another namespace.
            InvalidInputError: the cursor is another log's.
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
        """Follow no more."""
        self._parts.followers.close(follow)

    def stop_following(self) -> None:
        """Let all followers go, as the daemon stops; they come back to the next one."""
        self._parts.followers.stop()
