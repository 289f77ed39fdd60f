"""Processes the outbox: sends due deliveries, retries failed ones later, and gives up hopeless ones.

A single loop owns all attempts in progress. Each webhook has its own lane, in which one delivery at a time is
attempted, oldest first; a failed delivery waits for its next attempt and lets others pass. A receiver that hangs
therefore delays only its own deliveries. A commit that wrote to the outbox wakes the loop. The loop also checks every
second, for deliveries of other daemons and for clocks that are set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.domain.hook import TEST_EVENT, Attempt, Delivery, DeliveryKind, DeliveryStatus, Hook
from scheduler.notify.backoff import next_attempt
from scheduler.notify.mail import Mailer
from scheduler.notify.outcome import DeliveryOutcome, failure
from scheduler.notify.posting import Sender
from scheduler.notify.signing import headers_of
from scheduler.process.metrics import DEFECTS, DELIVERIES, OUTBOX

log = structlog.get_logger()

#: Number of concurrent attempts.
MOST_AT_ONCE: Final = 16
#: Much longer than the longest attempt; afterwards, what a killed daemon had claimed is free again.
LEASE: Final = timedelta(seconds=180)
#: Seconds between checks without a wake-up, before a retry after a database error, and between sweeps.
BACKSTOP: Final = 1.0
RETRY_INTERVAL: Final = 0.5
SWEEP_INTERVAL: Final = 30.0
#: Seconds that attempts in progress get when the daemon stops.
STOP_PATIENCE: Final = 2.0
#: Maximum number of pending deliveries for one receiver.
MOST_PENDING: Final = 10_000


class Outbox(Protocol):
    """Where deliveries wait; implemented by `scheduler.store.deliveries.StoredOutbox`."""

    async def due(
        self, now: datetime, *, busy: Collection[int], limit: int
    ) -> tuple[list[tuple[int, int]], datetime | None]:
        """(lane, number) of the oldest due delivery of each lane, and when the next other delivery is due."""
        ...

    async def number_of(self, delivery_id: str) -> int | None:
        """The number of the delivery with this id."""
        ...

    async def claim(
        self, number: int, *, now: datetime, until: datetime
    ) -> tuple[Delivery, Hook | None] | None:
        """Claim a delivery to attempt it."""
        ...

    async def settle(self, after: Delivery, *, before: Delivery) -> bool:
        """Store the result of an attempt."""
        ...

    async def forget(self, number: int) -> None:
        """Remove a delivery."""
        ...

    async def release(self) -> None:
        """Release everything that this daemon has claimed."""
        ...

    async def pending(self) -> int:
        """Number of pending deliveries."""
        ...

    async def sweep(self, now: datetime, *, keep: timedelta, most_pending: int) -> tuple[int, int]:
        """Remove old deliveries and give up excess ones; returns the number of each."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """The means of sending deliveries.

    Attributes:
        unseal: decrypts a webhook's stored secret; raises ValueError if it cannot.
    """

    poster: Sender
    mailer: Mailer
    unseal: Callable[[str], str]


class Deliverer:
    """Sends the deliveries in the outbox.

    Args:
        outbox: where deliveries wait.
        clock: the source of the current time.
        means: how deliveries are sent.
        keep: how long finished deliveries are kept.
        on_defect: called with unexpected exceptions.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        means: Means,
        *,
        keep: timedelta,
        on_defect: Callable[[BaseException], None],
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._means = means
        self._keep = keep
        self._on_defect = on_defect
        self._going: dict[int, asyncio.Task[None]] = {}
        self._by_hand = asyncio.Semaphore(MOST_AT_ONCE)
        self._wake = asyncio.Event()
        self._swept_at: float | None = None
        self._depth = 0

    @property
    def poster(self) -> Sender:
        """The sender of webhook deliveries, which knows the allowed addresses."""
        return self._means.poster

    def wake(self) -> None:
        """Check again: something was written."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; attempts in progress get a moment, and are repeated after the next start."""
        try:
            await self._until_available(self._outbox.release)
            while True:
                try:
                    pause = await self._pass()
                except UnavailableError as error:
                    log.warning("deliveries.database_unavailable", error=str(error))
                    pause = RETRY_INTERVAL
                # Not asyncio.wait_for: before Python 3.12, it loses a cancellation that comes just after the event.
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            await self._end()

    async def _end(self) -> None:
        going = list(self._going.values())
        if going:
            await asyncio.wait(going, timeout=STOP_PATIENCE)
            late = [task for task in going if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._means.poster.close()
        with suppress(UnavailableError):
            await self._outbox.release()

    async def _until_available(self, work: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await work()
            except UnavailableError as error:
                log.warning("deliveries.database_unavailable", error=str(error))
                await asyncio.sleep(RETRY_INTERVAL)
            else:
                return

    async def _pass(self) -> float:
        """Start due deliveries that have a free lane; returns the seconds until the next check at the latest."""
        now = self._clock.now()
        free = MOST_AT_ONCE - len(self._going)
        due, later = await self._outbox.due(now, busy=self._going.keys(), limit=free)
        for lane, number in due:
            if lane not in self._going:
                task = asyncio.create_task(self._work(number), name=f"delivery {number}")
                self._going[lane] = task
                task.add_done_callback(partial(self._done, lane))
        await self._sweep(now)
        if due or self._depth:
            self._depth = await self._outbox.pending()
            OUTBOX.set(self._depth)
        if later is None:
            return BACKSTOP
        return min(max((later - self._clock.now()).total_seconds(), 0.01), BACKSTOP)

    def _done(self, lane: int, task: asyncio.Task[None]) -> None:
        self._going.pop(lane, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, UnavailableError):
                log.warning("deliveries.database_unavailable", error=str(error))
                return  # the next check retries it
            self._on_defect(error)
        self._wake.set()

    async def _sweep(self, now: datetime) -> None:
        steady = self._clock.steady()
        if self._swept_at is not None and steady - self._swept_at < SWEEP_INTERVAL:
            return
        self._swept_at = steady
        removed, given_up = await self._outbox.sweep(now, keep=self._keep, most_pending=MOST_PENDING)
        if given_up:
            log.warning("deliveries.too_many_waiting", given_up=given_up)
        if removed or given_up:
            self._swept_at = None  # there may be more to remove
        self._depth = await self._outbox.pending()
        OUTBOX.set(self._depth)

    async def deliver_now(self, delivery_id: str) -> None:
        """Attempt a delivery at once, regardless of its lane; returns when the attempt is over.

        Does nothing if the delivery is being attempted or has ended in the meantime.
        """
        async with self._by_hand:
            number = await self._outbox.number_of(delivery_id)
            if number is not None:
                await self._work(number)

    async def _work(self, number: int) -> None:
        now = self._clock.now()
        claimed = await self._outbox.claim(number, now=now, until=now + LEASE)
        if claimed is None:
            return
        delivery, hook = claimed
        if delivery.kind is DeliveryKind.MAIL and not self._means.mailer.wants(delivery.event):
            await self._outbox.forget(number)
            return
        began, steady = self._clock.now(), self._clock.steady()
        try:
            outcome = await self._attempt(delivery, hook, began)
        except UnavailableError:
            raise
        except (
            Exception
        ):  # an unexpected error of one delivery must not stop the daemon, now and after every restart
            log.exception("delivery.defect", delivery=delivery.id)
            DEFECTS.inc()
            outcome = failure("internal error of Timeball; see the daemon's log")
        attempt = Attempt(
            at=began,
            duration=round(self._clock.steady() - steady, 3),
            status_code=outcome.status_code,
            error=outcome.error,
        )
        after = settled(delivery, attempt, outcome, self._clock.now())
        result = "retried" if after.status is DeliveryStatus.PENDING else after.status.value
        DELIVERIES.labels(kind=delivery.kind.value, outcome=result).inc()
        (log.info if outcome.delivered else log.warning)(
            f"delivery.{result}",
            delivery=delivery.id,
            hook=delivery.hook_id,
            job=delivery.job_id,
            event_name=delivery.event,
            attempt=len(after.attempts),
            status=outcome.status_code,
            error=outcome.error,
        )
        await self._until_available(lambda: self._outbox.settle(after, before=delivery))

    async def _attempt(self, delivery: Delivery, hook: Hook | None, now: datetime) -> DeliveryOutcome:
        if delivery.kind is DeliveryKind.MAIL:
            return await self._means.mailer.send(delivery)
        if hook is None:  # just deleted; its deliveries are deleted with it
            return failure("the webhook was deleted", is_final=True)
        try:
            secret = None if hook.sealed_secret is None else self._means.unseal(hook.sealed_secret)
        except ValueError as error:
            return failure(f"the webhook's secret cannot be decrypted: {error}")
        body = (delivery.body or "").encode()
        headers = headers_of(
            message_id=delivery.id,
            event=delivery.event,
            event_at=delivery.event_at,
            sent_at=now,
            body=body,
            secret=secret,
        )
        return await self._means.poster.post(hook.url, headers, body)


def settled(delivery: Delivery, attempt: Attempt, outcome: DeliveryOutcome, now: datetime) -> Delivery:
    """The delivery after an attempt: delivered, to be retried, or given up with a reason."""
    tries, first = delivery.tries + 1, delivery.first_tried_at or attempt.at
    after = replace(
        delivery,
        attempts=(*delivery.attempts, attempt),
        tries=tries,
        first_tried_at=first,
        next_attempt_at=None,
    )
    if outcome.delivered:
        return replace(after, status=DeliveryStatus.DELIVERED, ended_at=now)
    if delivery.event == TEST_EVENT:
        reason = f"test deliveries are not retried: {outcome.error}"
    elif outcome.is_final:
        reason = outcome.error or "the receiver rejected it permanently"
    else:
        following = next_attempt(tries=tries, first_tried_at=first, now=now, wish=outcome.wish)
        if following is not None:
            return replace(after, next_attempt_at=following)
        reason = f"{tries} attempts within a day failed; last error: {outcome.error}"
    return replace(after, status=DeliveryStatus.FAILED, ended_at=now, reason=reason)
