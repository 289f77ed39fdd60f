"""Reading the audit log, and recording refused requests."""

from __future__ import annotations

import structlog
from sqlalchemy.engine import Connection

from scheduler.access import audit
from scheduler.access.callers import Caller, Origin, Role, demand_role
from scheduler.access.throttle import Throttle, network_of
from scheduler.domain.account import AuditEntry, AuditQuery
from scheduler.domain.errors import TooManyError, UnavailableError
from scheduler.domain.views import Page
from scheduler.store import audit as entries
from scheduler.usecases.parts import Parts

log = structlog.get_logger()

#: Number of refusals per address that are stored at once, and the seconds after which as many more are. Excess ones
#: are only logged, so that clients without a token cannot fill the disk.
FREE_REFUSALS = 1_000
REFUSALS_FORGOTTEN = 3_600.0


class AuditUseCases:
    """Use cases for the audit log."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._throttle = Throttle(FREE_REFUSALS, REFUSALS_FORGOTTEN, parts.clock.steady)

    async def list(self, caller: Caller, query: AuditQuery, *, page: Page) -> tuple[int, list[AuditEntry]]:
        """The number of matching entries that the caller may see, and one page of them, newest first.

        Raises:
            ForbiddenError: the caller is not an administrator.
        """
        demand_role(caller, Role.ADMIN)
        if caller.namespace is not None:
            if query.namespace not in (None, caller.namespace):
                return 0, []
            query = AuditQuery(
                query.start, query.end, query.username, query.action, caller.namespace, query.outcome
            )
        return await self._parts.database.read(
            lambda connection: entries.page(connection, query, offset=page.offset, limit=page.size)
        )

    async def refused(self, origin: Origin, caller: Caller | None, outcome: str, *, route: str) -> None:
        """Record a refused request; an unavailable database does not affect the response."""
        key = network_of(origin.remote)
        try:
            self._throttle.check(key)
        except TooManyError:
            log.warning("audit.refusal_only_logged", remote=origin.remote, route=route, outcome=outcome)
            return
        self._throttle.fail(key)
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            audit.record_refusal(connection, origin, caller, outcome, route=route, now=now)

        try:
            await self._parts.database.write(work, durable=False)
        except UnavailableError as error:
            log.warning("audit.refusal_not_written", remote=origin.remote, route=route, error=str(error))
