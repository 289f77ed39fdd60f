"""Logs: reading what runs wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator

from scheduler.access import Caller, visible_exec
from scheduler.logs.lines import Line
from scheduler.logs.reader import LogQuery
from scheduler.usecases.parts import Parts


class LogUseCases:
    """What callers do with logs."""

    def __init__(self, parts: Parts) -> None:
        self._with = parts

    async def read(
        self, caller: Caller, job_id: str, exec_id: str, query: LogQuery
    ) -> AsyncIterator[list[Line]]:
        """The lines of a run's log that the query asks for, in batches.

        Raises:
            NotFoundError: there is no such run for the caller; before the first batch.
        """
        _, one = await self._with.database.read(
            lambda connection: visible_exec(connection, caller, job_id, exec_id)
        )
        async for batch in self._with.logs.read(one.id, query):
            yield batch
