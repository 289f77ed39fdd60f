"""The ledger: the outcome of each due time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.engine import Connection

from scheduler.access.callers import Caller, visible_job
from scheduler.domain.execution import Occurrence, Outcome
from scheduler.domain.views import Page
from scheduler.store import ledger
from scheduler.usecases.parts import Parts


class OccurrenceUseCases:
    """Use cases for the ledger."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list(
        self,
        caller: Caller,
        job_id: str,
        *,
        start: datetime | None,
        end: datetime | None,
        outcomes: Sequence[Outcome] | None,
        page: Page,
    ) -> tuple[int, list[Occurrence]]:
        """The number of matching entries in the job's ledger, and one page of them, latest due time first.

        Raises:
            NotFoundError: the caller can see no such job.
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

        return await self._parts.database.read(work)
