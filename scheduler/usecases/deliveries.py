"""What became of telling people: deliveries to hooks, tests, second deliveries, and mail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import LONGEST_SHOWN_ID, Caller, Role, demand, visible_job
from scheduler.domain.errors import NotFoundError
from scheduler.domain.hook import TEST_EVENT, Delivery, DeliveryStatus, Hook, exec_data, hook_body
from scheduler.domain.views import Page
from scheduler.store import deliveries, execs, outbox
from scheduler.usecases.hooks import visible_hook
from scheduler.usecases.parts import Parts

_DELIVERY_ID: Final = re.compile(r"msg_[0-9a-f]{32}", re.ASCII)


class DeliveryUseCases:
    """What callers do with deliveries."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list(
        self, caller: Caller, hook_id: str, *, status: DeliveryStatus | None, page: Page
    ) -> tuple[int, Sequence[Delivery]]:
        """How many deliveries a hook has, and one page of them, newest first.

        Raises:
            NotFoundError: there is no such hook for the caller.
        """

        def work(connection: Connection) -> tuple[int, Sequence[Delivery]]:
            found, _ = visible_hook(connection, caller, hook_id)
            return deliveries.page(
                connection, hook_id=found.id, status=status, offset=page.offset, limit=page.size
            )

        return await self._parts.database.read(work)

    async def get(self, caller: Caller, hook_id: str, delivery_id: str) -> Delivery:
        """One delivery, with its body.

        Raises:
            NotFoundError: there is no such delivery for the caller.
        """
        return await self._parts.database.read(
            lambda connection: _delivery(
                connection, visible_hook(connection, caller, hook_id)[0], delivery_id
            )
        )

    async def test(self, caller: Caller, hook_id: str) -> Delivery:
        """Send a test now, whatever the hook asks for and whether it is active; answers what happened.

        Raises:
            NotFoundError: there is no such hook for the caller.
            ForbiddenError: the caller may not trigger things there.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> tuple[Hook, str]:
            found, namespace = visible_hook(connection, caller, hook_id)
            demand(caller, Role.OPERATOR, namespace)
            newest = (
                None
                if found.job_id is None
                else execs.latest_of(connection, [found.job_id]).get(found.job_id)
            )
            body = hook_body(
                hook_id=found.id,
                subject_type=found.subject_type,
                subject=found.subject,
                job=None
                if found.job_id is None
                else outbox.named(connection, [found.job_id]).get(found.job_id),
                data={"job": found.job_id} if newest is None else exec_data(newest),
                username=caller.user,
            )
            record(connection, caller, "hook.test", f"hook {found.id}", now=now, namespace=namespace)
            return found, outbox.put_test(connection, hook_id=found.id, event=TEST_EVENT, at=now, body=body)

        found, delivery_id = await self._parts.database.write(work)
        await self._parts.deliverer.deliver_now(delivery_id)
        return await self._parts.database.read(lambda connection: _delivery(connection, found, delivery_id))

    async def redeliver(self, caller: Caller, hook_id: str, delivery_id: str) -> Delivery:
        """Deliver a message once more, from the beginning, under its old id.

        Raises:
            NotFoundError: there is no such delivery for the caller.
            ForbiddenError: the caller may not trigger things there.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> Delivery:
            found, namespace = visible_hook(connection, caller, hook_id)
            demand(caller, Role.OPERATOR, namespace)
            again = deliveries.again(connection, _delivery(connection, found, delivery_id))
            thing = f"delivery {again.id} of hook {found.id}"
            record(connection, caller, "delivery.redeliver", thing, now=now, namespace=namespace)
            return again

        return await self._parts.database.write(work)

    async def mails(
        self, caller: Caller, job_id: str, *, status: DeliveryStatus | None, page: Page
    ) -> tuple[int, Sequence[Delivery]]:
        """How many mails were written about a job's runs, and one page of them, newest first.

        Raises:
            NotFoundError: there is no such job for the caller.
        """

        def work(connection: Connection) -> tuple[int, Sequence[Delivery]]:
            job = visible_job(connection, caller, job_id)
            return deliveries.page(
                connection, job_id=job.id, status=status, offset=page.offset, limit=page.size
            )

        return await self._parts.database.read(work)


def _delivery(connection: Connection, hook: Hook, delivery_id: str) -> Delivery:
    found = deliveries.get(connection, delivery_id) if _DELIVERY_ID.fullmatch(delivery_id) else None
    if found is None or found.hook_id != hook.id:
        raise NotFoundError(f"Hook {hook.id} has no delivery with the id '{delivery_id[:LONGEST_SHOWN_ID]}'")
    return found
