"""Runs across jobs: lists, statistics, and stopping or deleting many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.access.audit import record, record_exec
from scheduler.access.callers import Caller, Role, demand, exec_called, job_called
from scheduler.domain.comparing import Difference, differences
from scheduler.domain.errors import ForbiddenError
from scheduler.domain.execution import Exec, ExecStatus, requested_by
from scheduler.domain.filters import ExecFilter, Order, Position
from scheduler.domain.job import Job
from scheduler.domain.views import BulkResult, ExecList, ListedExec, Page, Stats
from scheduler.store import exec_lists, execs, stats
from scheduler.usecases.parts import Parts

#: Number of runs stopped in one transaction.
BATCH: Final = 200
_OPEN: Final = frozenset({ExecStatus.WAITING, ExecStatus.RUNNING})


class OverviewUseCases:
    """Use cases for many runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list(
        self,
        caller: Caller,
        wanted: ExecFilter,
        order: Order,
        *,
        page: Page,
        after: Position | None = None,
        count_all: bool = False,
    ) -> ExecList:
        """A part of the matching runs that the caller may see.

        Args:
            caller: who asks.
            wanted: which runs.
            order: how they are sorted.
            page: which part; its number is ignored if `after` is given.
            after: the position in the same order after which to continue.
            count_all: count all matches, however long it takes.
        """
        seen = _within(caller, wanted)
        if seen is None:
            return ExecList(found=[], has_more=False, count=0, is_estimate=False)

        def work(connection: Connection) -> tuple[list[Exec], dict[int, str], tuple[int, bool]]:
            runs = exec_lists.find(
                connection,
                seen,
                order,
                limit=page.size + 1,
                offset=0 if after is not None else page.offset,
                after=after,
            )
            names = exec_lists.job_names(connection, [run.job_id for run in runs])
            return runs, names, exec_lists.count(connection, seen, count_all=count_all)

        runs, names, (count, is_estimate) = await self._parts.database.read(work)
        if is_estimate and after is None:
            count = max(count, page.offset + len(runs))
        return ExecList(
            found=[ListedExec(self._parts.view(run), names.get(run.job_id, "")) for run in runs[: page.size]],
            has_more=len(runs) > page.size,
            count=count,
            is_estimate=is_estimate,
        )

    async def find_exec(self, caller: Caller, text: str) -> tuple[ListedExec, Job]:
        """The run with an id or a number, and its job.

        Raises:
            NotFoundError: the caller can see no such run.
        """

        def work(connection: Connection) -> tuple[Job, Exec]:
            return exec_called(connection, caller, text)

        job, run = await self._parts.database.read(work)
        return ListedExec(self._parts.view(run), job.definition.name), job

    async def compare(
        self, caller: Caller, first: str, second: str
    ) -> tuple[ListedExec, ListedExec, Sequence[Difference]]:
        """Two runs by their ids or numbers, and the differences between them.

        Raises:
            NotFoundError: the caller can see no such run.
        """

        def work(connection: Connection) -> tuple[tuple[Job, Exec], ...]:
            return tuple(exec_called(connection, caller, text) for text in (first, second))

        a, b = [
            ListedExec(self._parts.view(run), job.definition.name)
            for job, run in await self._parts.database.read(work)
        ]
        return a, b, differences(a.view.exec, b.view.exec)

    async def find_job(self, caller: Caller, text: str, *, namespace: str | None = None) -> Job:
        """The job with an id or a name.

        Raises:
            NotFoundError: the caller can see no such job.
            ConflictError: jobs in several namespaces have this name.
        """
        return await self._parts.database.read(
            lambda connection: job_called(connection, caller, text, namespace=namespace)
        )

    async def stats(
        self,
        caller: Caller,
        *,
        namespace: str | None,
        job_id: int | None,
        start: datetime,
        end: datetime,
        limit: int,
    ) -> Stats:
        """Statistics of the runs created in a period, in total and per job."""
        seen = _within(caller, ExecFilter(namespace=namespace))
        if seen is None:
            return Stats(start=start, end=end, counts={}, jobs=[])

        def work(connection: Connection) -> Stats:
            return Stats(
                start=start,
                end=end,
                counts=stats.totals(
                    connection, namespace=seen.namespace, job_id=job_id, start=start, end=end
                ),
                jobs=stats.by_job(
                    connection, namespace=seen.namespace, job_id=job_id, start=start, end=end, limit=limit
                ),
            )

        return await self._parts.database.read(work)

    async def stop_many(self, caller: Caller, wanted: ExecFilter, *, dry_run: bool, limit: int) -> BulkResult:
        """Ask all matching runs that have not ended to stop.

        Args:
            caller: an operator of the runs' namespaces.
            wanted: which runs; statuses of ended runs are ignored.
            dry_run: only find the runs.
            limit: maximum number of runs, oldest first.

        Raises:
            ForbiddenError: the caller may not stop runs.
        """
        statuses = (wanted.statuses or _OPEN) & _OPEN
        result = await self._find_many(
            caller, Role.OPERATOR, replace(wanted, statuses=statuses), statuses, limit
        )
        if not dry_run:
            now, reason = self._parts.clock.now(), requested_by(caller.user)
            await self._record_request(caller, "exec.stop_many", wanted, result, now)
            for start in range(0, len(result.exec_ids), BATCH):
                chunk = result.exec_ids[start : start + BATCH]

                def work(connection: Connection, chunk: list[str] = chunk) -> None:
                    for exec_id in chunk:
                        if (run := execs.get(connection, exec_id)) is not None:
                            execs.stop(connection, run, now=now, reason=reason)
                            record_exec(connection, caller, "exec.stop", run, now=now)

                await self._parts.database.write(work)
                self._parts.tell_stopped(chunk, reason)
        return result

    async def delete_many(
        self, caller: Caller, wanted: ExecFilter, *, dry_run: bool, limit: int
    ) -> BulkResult:
        """Delete all matching runs that have ended, with their logs.

        Args:
            caller: an editor of the runs' namespaces.
            wanted: which runs; statuses of runs that have not ended are ignored.
            dry_run: only find the runs.
            limit: maximum number of runs, oldest first.

        Raises:
            ForbiddenError: the caller may not delete runs.
        """
        ended = frozenset(ExecStatus) - _OPEN
        statuses = (wanted.statuses or ended) & ended
        result = await self._find_many(
            caller, Role.EDITOR, replace(wanted, statuses=statuses), statuses, limit
        )
        if not dry_run:
            now = self._parts.clock.now()
            await self._record_request(caller, "exec.delete_many", wanted, result, now)
            for exec_id in result.exec_ids:

                def work(connection: Connection, exec_id: str = exec_id) -> None:
                    if (run := execs.get(connection, exec_id)) is not None:
                        record_exec(connection, caller, "exec.delete", run, now=now)
                        execs.delete(connection, exec_id)

                await self._parts.database.write(work)
            self._parts.cleaner.wake()
        return result

    async def _record_request(
        self, caller: Caller, action: str, wanted: ExecFilter, result: BulkResult, now: datetime
    ) -> None:
        """Record the request in the audit log, even if no run matched."""
        namespace = caller.namespace or wanted.namespace
        await self._parts.database.write(
            lambda c: record(c, caller, action, f"{result.matched} execs", now=now, namespace=namespace)
        )

    async def _find_many(
        self, caller: Caller, role: Role, wanted: ExecFilter, statuses: frozenset[ExecStatus], limit: int
    ) -> BulkResult:
        if caller.role < role:
            demand(caller, role, caller.home)
        seen = _within(caller, wanted)
        if seen is None:
            raise ForbiddenError(
                f"This token is for namespace '{caller.namespace}', not for '{wanted.namespace}'; "
                "use a token for that namespace"
            )
        if not statuses:
            return BulkResult(matched=0, exec_ids=[], has_more=False)
        order = Order.STARTED if seen.asks_for_start else Order.CREATED
        exec_ids = await self._parts.database.read(
            lambda connection: exec_lists.ids(connection, seen, order, limit=limit + 1)
        )
        return BulkResult(
            matched=len(exec_ids[:limit]), exec_ids=exec_ids[:limit], has_more=len(exec_ids) > limit
        )


def _within(caller: Caller, wanted: ExecFilter) -> ExecFilter | None:
    """The filter, limited to what the caller may see; None if that is nothing."""
    if caller.namespace is None:
        return wanted
    if wanted.namespace not in (None, caller.namespace):
        return None
    return replace(wanted, namespace=caller.namespace)
