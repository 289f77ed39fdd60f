"""Deliveries: reading them, sending tests, and sending them again."""

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
    """Use cases for deliveries."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list(
        self, caller: Caller, hook_id: str, *, status: DeliveryStatus | None, page: Page
    ) -> tuple[int, Sequence[Delivery]]:
        """The number of deliveries of a webhook, and one page of them, newest first.

        Raises:
            NotFoundError: the caller can see no such webhook.
        """

        def work(connection: Connection) -> tuple[int, Sequence[Delivery]]:
            hook, _ = visible_hook(connection, caller, hook_id)
            return deliveries.page(
                connection, hook_id=hook.id, status=status, offset=page.offset, limit=page.size
            )

        return await self._parts.database.read(work)

    async def get(self, caller: Caller, hook_id: str, delivery_id: str) -> Delivery:
        """One delivery, with its body.

        Raises:
            NotFoundError: the caller can see no such delivery.
        """
        return await self._parts.database.read(
            lambda connection: _delivery(
                connection, visible_hook(connection, caller, hook_id)[0], delivery_id
            )
        )

    async def test(self, caller: Caller, hook_id: str) -> Delivery:
        """Send a test now, whatever the webhook's events and whether it is active; returns the result.

        Raises:
            NotFoundError: the caller can see no such webhook.
            ForbiddenError: the caller's role is too low.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> tuple[Hook, str]:
            hook, namespace = visible_hook(connection, caller, hook_id)
            demand(caller, Role.OPERATOR, namespace)
            newest = (
                None if hook.job_id is None else execs.latest_of(connection, [hook.job_id]).get(hook.job_id)
            )
            body = hook_body(
                hook_id=hook.id,
                subject_type=hook.subject_type,
                subject=hook.subject,
                job=None if hook.job_id is None else outbox.named(connection, [hook.job_id]).get(hook.job_id),
                data={"job": hook.job_id} if newest is None else exec_data(newest),
                username=caller.user,
            )
            record(connection, caller, "hook.test", f"hook {hook.id}", now=now, namespace=namespace)
            return hook, outbox.put_test(connection, hook_id=hook.id, event=TEST_EVENT, at=now, body=body)

        hook, delivery_id = await self._parts.database.write(work)
        await self._parts.deliverer.deliver_now(delivery_id)
        return await self._parts.database.read(lambda connection: _delivery(connection, hook, delivery_id))

    async def redeliver(self, caller: Caller, hook_id: str, delivery_id: str) -> Delivery:
        """Send a delivery again, with a new series of attempts and the same id.

        Raises:
            NotFoundError: the caller can see no such delivery.
            ForbiddenError: the caller's role is too low.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> Delivery:
            hook, namespace = visible_hook(connection, caller, hook_id)
            demand(caller, Role.OPERATOR, namespace)
            again = deliveries.again(connection, _delivery(connection, hook, delivery_id))
            thing = f"delivery {again.id} of hook {hook.id}"
            record(connection, caller, "delivery.redeliver", thing, now=now, namespace=namespace)
            return again

        return await self._parts.database.write(work)

    async def mails(
        self, caller: Caller, job_id: str, *, status: DeliveryStatus | None, page: Page
    ) -> tuple[int, Sequence[Delivery]]:
        """The number of emails about a job's runs, and one page of them, newest first.

        Raises:
            NotFoundError: the caller can see no such job.
        """

        def work(connection: Connection) -> tuple[int, Sequence[Delivery]]:
            job = visible_job(connection, caller, job_id)
            return deliveries.page(
                connection, job_id=job.id, status=status, offset=page.offset, limit=page.size
            )

        return await self._parts.database.read(work)


def _delivery(connection: Connection, hook: Hook, delivery_id: str) -> Delivery:
    delivery = deliveries.get(connection, delivery_id) if _DELIVERY_ID.fullmatch(delivery_id) else None
    if delivery is None or delivery.hook_id != hook.id:
        raise NotFoundError(
            f"Webhook {hook.id} has no delivery with the id '{delivery_id[:LONGEST_SHOWN_ID]}'"
        )
    return delivery
