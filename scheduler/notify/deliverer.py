"""Works off the outbox: what is due goes out, what fails is tried again later, what is hopeless is given up.

One loop owns what is going on. Each hook has a lane of its own, in which one message at a time is tried, oldest
first; a message that failed waits for its own next attempt and lets the others pass. So a receiver that hangs
holds up nobody but itself. A commit that wrote something wakes the loop; looking every second is the backstop, for
other daemons' messages and for clocks that are set.
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
from scheduler.notify.posting import Poster
from scheduler.notify.signing import headers_of
from scheduler.process.metrics import DEFECTS, DELIVERIES, OUTBOX

log = structlog.get_logger()

#: Attempts going on at once.
MOST_AT_ONCE: Final = 16
#: A claim outlives the longest attempt by far; what a killed daemon had claimed is free again after this.
LEASE: Final = timedelta(seconds=180)
#: Seconds between looks that nobody asked for, before a refusal of the database is tried again, between sweeps.
BACKSTOP: Final = 1.0
RETRY_INTERVAL: Final = 0.5
SWEEP_INTERVAL: Final = 30.0
#: Seconds that attempts in progress get when the daemon stops.
STOP_PATIENCE: Final = 2.0
#: Messages that may wait for one receiver.
MOST_PENDING: Final = 10_000


class Outbox(Protocol):
    """Where messages wait; `scheduler.store.deliveries.StoredOutbox` is the one that is used."""

    async def due(
        self, now: datetime, *, busy: Collection[int], limit: int
    ) -> tuple[list[tuple[int, int]], datetime | None]:
        """(lane, number) of the oldest due message of each lane, and when the next of the others is due."""
        ...

    async def number_of(self, delivery_id: str) -> int | None:
        """The number of the message of that id."""
        ...

    async def claim(
        self, number: int, *, now: datetime, until: datetime
    ) -> tuple[Delivery, Hook | None] | None:
        """Take a message to try it."""
        ...

    async def settle(self, after: Delivery, *, before: Delivery) -> bool:
        """Store what an attempt came to."""
        ...

    async def forget(self, number: int) -> None:
        """Remove a message."""
        ...

    async def release(self) -> None:
        """Give back what this daemon has taken."""
        ...

    async def pending(self) -> int:
        """How many messages wait."""
        ...

    async def sweep(self, now: datetime, *, keep: timedelta, most_pending: int) -> tuple[int, int]:
        """Remove what is old, and give up what is too much; answers how many of each."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """How messages go out.

    Attributes:
        unseal: opens a hook's secret as it is stored; raises ValueError where that cannot be.
    """

    poster: Poster
    mailer: Mailer
    unseal: Callable[[str], str]


class Deliverer:
    """Delivers what the outbox holds.

    Args:
        outbox: where messages wait.
        clock: tells the time.
        means: how they go out.
        keep: for how long those that have ended are kept.
        on_defect: is told of an exception that nobody foresaw.
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
    def poster(self) -> Poster:
        """What sends to hooks, and knows where to it may."""
        return self._means.poster

    def wake(self) -> None:
        """Look again: something was written."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until cancelled; attempts in progress then get a moment, and are made again at the next start."""
        try:
            await self._until_available(self._outbox.release)
            while True:
                try:
                    pause = await self._pass()
                except UnavailableError as error:
                    log.warning("deliveries.database_unavailable", error=str(error))
                    pause = RETRY_INTERVAL
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
                self._wake.clear()
        finally:
            await self._end()

    async def _end(self) -> None:
        going = list(self._going.values())
        if going:
            _, late = await asyncio.wait(going, timeout=STOP_PATIENCE)
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
        """Begin what is due and has a free lane; answer after how many seconds to look again at the latest."""
        now = self._clock.now()
        free = MOST_AT_ONCE - len(self._going)
        found, later = await self._outbox.due(now, busy=self._going.keys(), limit=free)
        for lane, number in found:
            if lane not in self._going:
                task = asyncio.create_task(self._work(number), name=f"delivery {number}")
                self._going[lane] = task
                task.add_done_callback(partial(self._done, lane))
        await self._sweep(now)
        if found or self._depth:
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
                return  # the backstop looks again
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
            self._swept_at = None  # there may be more
        self._depth = await self._outbox.pending()
        OUTBOX.set(self._depth)

    async def deliver_now(self, delivery_id: str) -> None:
        """Try a message at once, whatever waits in its lane; returns when the attempt is over.

        A message that is being tried, or was settled meanwhile, is left alone.
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
        ):  # one message that nobody foresaw must not stop the daemon, now and after every restart
            log.exception("delivery.defect", delivery=delivery.id)
            DEFECTS.inc()
            outcome = failure("Timeball made a mistake; its log says which")
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
        if hook is None:  # deleted just now; its deliveries go with it
            return failure("the hook was deleted", is_final=True)
        try:
            secret = None if hook.sealed_secret is None else self._means.unseal(hook.sealed_secret)
        except ValueError as error:
            return failure(f"the hook's secret cannot be opened: {error}")
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
    """The delivery after an attempt: delivered, to be tried again, or given up with a reason."""
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
        reason = f"a test is tried once: {outcome.error}"
    elif outcome.is_final:
        reason = outcome.error or "the receiver refused it for good"
    else:
        following = next_attempt(tries=tries, first_tried_at=first, now=now, wish=outcome.wish)
        if following is not None:
            return replace(after, next_attempt_at=following)
        reason = f"{tries} attempts within a day failed; the last: {outcome.error}"
    return replace(after, status=DeliveryStatus.FAILED, ended_at=now, reason=reason)
