"""Deliveries as rows: which is due, who tries it, what came of it, and how long they are kept.

`StoredOutbox` is the deliverer's door to them. A claim is a lease: while it runs, no other daemon tries the same
delivery, nor another of the same hook.
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

#: Attempts of one delivery that are kept, the newest.
KEPT_ATTEMPTS: Final = 100
#: Mail has a lane of its own beside those of the hooks, which have their ids.
MAIL_LANE: Final = 0
#: Rows that one sweep touches at most, so that it never holds up other writes for long.
SWEPT_AT_ONCE: Final = 1_000

_pending = deliveries.c.ended_at.is_(None)
_lane = sa.func.coalesce(deliveries.c.hook_id, MAIL_LANE)
_LISTED: Final = tuple(column for column in deliveries.c if column.name != "body")


def from_row(row: RowMapping) -> Delivery:
    """The delivery that a row holds."""
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
        attempts=tuple(Attempt(**{**one, "at": from_micros(one["at"])}) for one in row["attempts"]),
        next_attempt_at=row["next_attempt_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
    )


def get(connection: Connection, delivery_id: str) -> Delivery | None:
    """The delivery of that id with its body, or None."""
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
    """How many deliveries a hook has, or mails a job, and `limit` of them from `offset` on, newest first."""
    wanted = deliveries.c.job_id == job_id if hook_id is None else deliveries.c.hook_id == hook_id
    if status is not None:
        wanted = sa.and_(wanted, deliveries.c.status == status.value)
    count = connection.execute(sa.select(sa.func.count()).select_from(deliveries).where(wanted)).scalar_one()
    newest = sa.select(*_LISTED).where(wanted).order_by(deliveries.c.number.desc())
    return count, [from_row(row) for row in connection.execute(newest.offset(offset).limit(limit)).mappings()]


def again(connection: Connection, delivery: Delivery) -> Delivery:
    """Make a delivery pending from the beginning; one that is being tried is tried once more after that."""
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
    """Take a delivery to try it; None if it is not pending any more or somebody else tries it."""
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
    """Store what an attempt came to, and end its claim; False if the claim had gone to somebody else.

    A delivery that was made pending anew while it was tried keeps that, with the attempt.
    """
    mine = sa.and_(deliveries.c.number == after.number, deliveries.c.claimed_by == owner)
    kept = [{**asdict(one), "at": to_micros(one.at)} for one in after.attempts[-KEPT_ATTEMPTS:]]
    free: dict[str, Any] = {"claimed_by": None, "claimed_until": None, "attempts": kept}
    same = deliveries.c.tries == before.tries
    outcome = {
        name: getattr(after, name)
        for name in ("status", "tries", "first_tried_at", "next_attempt_at", "ended_at", "reason")
    }
    if connection.execute(deliveries.update().where(mine, same).values(**free, **outcome)).rowcount:
        return True
    return connection.execute(deliveries.update().where(mine).values(**free)).rowcount == 1


class StoredOutbox:
    """The deliverer's door to the deliveries.

    Args:
        database: where they are.
        owner: this daemon's id, which it claims them as.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def due(
        self, now: datetime, *, busy: Collection[int], limit: int
    ) -> tuple[list[tuple[int, int]], datetime | None]:
        """The oldest due delivery of each lane that nobody is busy with, and when the next of the others is due.

        Returns:
            (lane, number) of `limit` at most; a lane is a hook's id, or `MAIL_LANE`.
        """
        claimed = sa.select(_lane).where(_pending, deliveries.c.claimed_until > now)
        ready = sa.or_(deliveries.c.next_attempt_at.is_(None), deliveries.c.next_attempt_at <= now)
        oldest = (
            sa.select(_lane, sa.func.min(deliveries.c.number))
            .where(_pending, ready, _lane.not_in(list(busy)), _lane.not_in(claimed))
            .group_by(_lane)
            .order_by(sa.func.min(deliveries.c.number))
            .limit(limit)
        )
        later = sa.select(sa.func.min(deliveries.c.next_attempt_at)).where(
            _pending, deliveries.c.next_attempt_at > now
        )

        def work(connection: Connection) -> tuple[list[tuple[int, int]], datetime | None]:
            found = [(lane, number) for lane, number in connection.execute(oldest)] if limit > 0 else []
            return found, connection.execute(later).scalar()

        return await self._database.read(work)

    async def number_of(self, delivery_id: str) -> int | None:
        """The number of the delivery of that id, or None."""
        query = sa.select(deliveries.c.number).where(deliveries.c.id == delivery_id)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def claim(
        self, number: int, *, now: datetime, until: datetime
    ) -> tuple[Delivery, Hook | None] | None:
        """Take a delivery to try it; None if there is nothing to take."""
        return await self._database.write(
            lambda connection: claim(connection, number, owner=self._owner, now=now, until=until),
            durable=False,
        )

    async def settle(self, after: Delivery, *, before: Delivery) -> bool:
        """Store what an attempt came to; False if the delivery is gone or somebody else's."""
        return await self._database.write(
            lambda connection: settle(connection, after, before=before, owner=self._owner)
        )

    async def forget(self, number: int) -> None:
        """Remove a message that nobody wants after all."""
        await self._database.write(
            lambda connection: connection.execute(deliveries.delete().where(deliveries.c.number == number)),
            durable=False,
        )

    async def release(self) -> None:
        """End the claims that this daemon holds: those of an earlier life of it, or its last."""
        mine = deliveries.update().where(_pending, deliveries.c.claimed_by == self._owner)
        await self._database.write(
            lambda connection: connection.execute(mine.values(claimed_by=None, claimed_until=None)),
            durable=False,
        )

    async def pending(self) -> int:
        """How many messages are still to be delivered."""
        query = sa.select(sa.func.count()).select_from(deliveries).where(_pending)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    async def sweep(self, now: datetime, *, keep: timedelta, most_pending: int) -> tuple[int, int]:
        """Remove what ended long ago, and give up the oldest of what waits where a lane holds too much.

        Returns:
            How many were removed, and how many were given up; at most `SWEPT_AT_ONCE` each.
        """
        old = sa.select(deliveries.c.number).where(deliveries.c.ended_at < now - keep).limit(SWEPT_AT_ONCE)
        full = (
            sa.select(_lane, sa.func.count())
            .where(_pending)
            .group_by(_lane)
            .having(sa.func.count() > most_pending)
        )
        reason = f"more than {most_pending} messages waited for this receiver; the oldest were given up"

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
