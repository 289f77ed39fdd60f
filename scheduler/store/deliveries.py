"""Deliveries as rows: which are due, which daemon attempts them, their results, and how long they are kept.

The deliverer uses `StoredOutbox`. A claim is a lease: while it is valid, no other daemon attempts the same delivery,
or another one of the same webhook.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from scheduler.domain.hook import Attempt, Delivery, DeliveryKind, DeliveryStatus, Hook
from scheduler.store import hooks as stored_hooks
from scheduler.store.database import Database
from scheduler.store.outbox import BY_HAND, WRITTEN
from scheduler.store.tables import deliveries, from_micros, to_micros

#: Number of attempts that are kept per delivery, the newest ones.
KEPT_ATTEMPTS: Final = 100
#: The lane of emails; the lanes of webhooks are their ids.
MAIL_LANE: Final = 0
#: Maximum number of rows per sweep, so that it never delays other writes for long.
SWEPT_AT_ONCE: Final = 1_000

_pending = deliveries.c.ended_at.is_(None)
_lane = sa.func.coalesce(deliveries.c.hook_id, MAIL_LANE)
_LISTED: Final = tuple(column for column in deliveries.c if column.name != "body")


def from_row(row: RowMapping) -> Delivery:
    """The delivery in a row."""
    return Delivery(
        number=row["number"],
        id=row["id"],
        kind=DeliveryKind(row["kind"]),
        hook_id=row["hook_id"],
        job_id=row["job_id"],
        event=row["event"],
        event_at=row["event_at"],
        body=row.get("body"),
        status=DeliveryStatus(row["status"]),
        tries=row["tries"],
        first_tried_at=row["first_tried_at"],
        attempts=tuple(
            Attempt(**{**attempt, "at": from_micros(attempt["at"])}) for attempt in row["attempts"]
        ),
        next_attempt_at=row["next_attempt_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
    )


def get(connection: Connection, delivery_id: str) -> Delivery | None:
    """The delivery with this id and its body, or None."""
    row = connection.execute(sa.select(deliveries).where(deliveries.c.id == delivery_id)).mappings().first()
    return None if row is None else from_row(row)


def page(
    connection: Connection,
    *,
    hook_id: int | None = None,
    job_id: int | None = None,
    status: DeliveryStatus | None,
    offset: int,
    limit: int,
) -> tuple[int, list[Delivery]]:
    """The number of deliveries of a webhook, or emails of a job, and a page of them, newest first."""
    condition = deliveries.c.job_id == job_id if hook_id is None else deliveries.c.hook_id == hook_id
    if status is not None:
        condition = sa.and_(condition, deliveries.c.status == status.value)
    count = connection.execute(
        sa.select(sa.func.count()).select_from(deliveries).where(condition)
    ).scalar_one()
    newest = sa.select(*_LISTED).where(condition).order_by(deliveries.c.number.desc())
    return count, [from_row(row) for row in connection.execute(newest.offset(offset).limit(limit)).mappings()]


def again(connection: Connection, delivery: Delivery) -> Delivery:
    """Make a delivery pending from the beginning; if it is being attempted, it is attempted once more afterwards."""
    fresh: dict[str, Any] = {
        "status": DeliveryStatus.PENDING,
        "tries": 0,
        "first_tried_at": None,
        "next_attempt_at": None,
        "ended_at": None,
        "reason": None,
    }
    connection.execute(deliveries.update().where(deliveries.c.number == delivery.number).values(**fresh))
    connection.info[WRITTEN] = True
    return replace(delivery, **fresh)


def claim(
    connection: Connection, number: int, *, owner: str, now: datetime, until: datetime
) -> tuple[Delivery, Hook | None] | None:
    """Claim a delivery to attempt it; None if it is not pending any more or is claimed by another daemon."""
    free = sa.or_(
        deliveries.c.claimed_until.is_(None),
        deliveries.c.claimed_until <= now,
        deliveries.c.claimed_by == BY_HAND,
    )
    statement = (
        deliveries.update()
        .where(deliveries.c.number == number, _pending, free)
        .values(claimed_by=owner, claimed_until=until)
        .returning(*deliveries.c)
    )
    row = connection.execute(statement).mappings().first()
    if row is None:
        return None
    hook_id = row["hook_id"]
    return from_row(row), None if hook_id is None else stored_hooks.get(connection, hook_id)


def settle(connection: Connection, after: Delivery, *, before: Delivery, owner: str) -> bool:
    """Store the result of an attempt, and release the claim; False if another daemon has the claim.

    A delivery that was made pending again during the attempt stays pending, with the attempt added.
    """
    mine = sa.and_(deliveries.c.number == after.number, deliveries.c.claimed_by == owner)
    kept = [{**asdict(attempt), "at": to_micros(attempt.at)} for attempt in after.attempts[-KEPT_ATTEMPTS:]]
    free: dict[str, Any] = {"claimed_by": None, "claimed_until": None, "attempts": kept}
    same = deliveries.c.tries == before.tries
    outcome = {
        name: getattr(after, name)
        for name in ("status", "tries", "first_tried_at", "next_attempt_at", "ended_at", "reason")
    }
    if connection.execute(deliveries.update().where(mine, same).values(**free, **outcome)).rowcount:
        return True
    return connection.execute(deliveries.update().where(mine).values(**free)).rowcount == 1


_now: Final = sa.bindparam("now", type_=deliveries.c.claimed_until.type)
# Made once, because every daemon executes them every second.
_DUE: Final = (
    sa.select(_lane, sa.func.min(deliveries.c.number))
    .where(
        _pending,
        sa.or_(deliveries.c.next_attempt_at.is_(None), deliveries.c.next_attempt_at <= _now),
        _lane.not_in(sa.bindparam("busy", expanding=True)),
        _lane.not_in(sa.select(_lane).where(_pending, deliveries.c.claimed_until > _now)),
    )
    .group_by(_lane)
    .order_by(sa.func.min(deliveries.c.number))
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_LATER: Final = sa.select(sa.func.min(deliveries.c.next_attempt_at)).where(
    _pending, deliveries.c.next_attempt_at > _now
)


class StoredOutbox:
    """The deliverer's access to the deliveries.

    Args:
        database: where deliveries are stored.
        owner: this daemon's id, which is stored in claims.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def due(
        self, now: datetime, *, busy: Collection[int], limit: int
    ) -> tuple[list[tuple[int, int]], datetime | None]:
        """The oldest due delivery of each lane that is not busy, and when the next of the others is due.

        Returns:
            At most `limit` pairs (lane, number); a lane is a webhook's id, or `MAIL_LANE`.
        """

        def work(connection: Connection) -> tuple[list[tuple[int, int]], datetime | None]:
            given = {"now": now, "busy": list(busy), "most": limit}
            due = [(lane, number) for lane, number in connection.execute(_DUE, given)] if limit > 0 else []
            return due, connection.execute(_LATER, {"now": now}).scalar()

        return await self._database.read(work)

    async def number_of(self, delivery_id: str) -> int | None:
        """The number of the delivery with this id, or None."""
        query = sa.select(deliveries.c.number).where(deliveries.c.id == delivery_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def claim(
        self, number: int, *, now: datetime, until: datetime
    ) -> tuple[Delivery, Hook | None] | None:
        """Claim a delivery to attempt it; None if it cannot be claimed."""
        return await self._database.write(
            lambda connection: claim(connection, number, owner=self._owner, now=now, until=until),
            durable=False,
        )

    async def settle(self, after: Delivery, *, before: Delivery) -> bool:
        """Store the result of an attempt; False if the delivery was deleted or another daemon has claimed it."""
        return await self._database.write(
            lambda connection: settle(connection, after, before=before, owner=self._owner)
        )

    async def forget(self, number: int) -> None:
        """Delete a delivery that is not needed after all."""
        await self._database.write(
            lambda connection: connection.execute(deliveries.delete().where(deliveries.c.number == number)),
            durable=False,
        )

    async def release(self) -> None:
        """Release this daemon's claims: those of an earlier process, or its own at the end."""
        mine = deliveries.update().where(_pending, deliveries.c.claimed_by == self._owner)
        await self._database.write(
            lambda connection: connection.execute(mine.values(claimed_by=None, claimed_until=None)),
            durable=False,
        )

    async def pending(self) -> int:
        """Number of pending deliveries."""
        query = sa.select(sa.func.count()).select_from(deliveries).where(_pending)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def sweep(self, now: datetime, *, keep: timedelta, most_pending: int) -> tuple[int, int]:
        """Delete old finished deliveries, and give up the oldest pending ones of lanes that have too many.

        Returns:
            How many were deleted, and how many were given up; at most `SWEPT_AT_ONCE` each.
        """
        old = sa.select(deliveries.c.number).where(deliveries.c.ended_at < now - keep).limit(SWEPT_AT_ONCE)
        full = (
            sa.select(_lane, sa.func.count())
            .where(_pending)
            .group_by(_lane)
            .having(sa.func.count() > most_pending)
        )
        reason = (
            f"more than {most_pending} deliveries were pending for this receiver; the oldest were given up"
        )

        def work(connection: Connection) -> tuple[int, int]:
            removed = connection.execute(deliveries.delete().where(deliveries.c.number.in_(old))).rowcount
            given_up = 0
            for lane, count in connection.execute(full).all():
                surplus = (
                    sa.select(deliveries.c.number)
                    .where(_pending, _lane == lane, deliveries.c.claimed_until.is_(None))
                    .order_by(deliveries.c.number)
                    .limit(min(count - most_pending, SWEPT_AT_ONCE - given_up))
                )
                ended = {"status": DeliveryStatus.FAILED, "ended_at": now, "reason": reason}
                given_up += connection.execute(
                    deliveries.update()
                    .where(deliveries.c.number.in_(surplus))
                    .values(**ended, next_attempt_at=None)
                ).rowcount
            return removed, given_up

        return await self._database.write(work, durable=False)
