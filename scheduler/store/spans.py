"""The time spans of logs: finds the runs whose logs overlap a period by index, however many runs are stored.

A run's log is between the run's creation and the moment at which its end was recorded (`log_until`). An index on
either end cannot answer which of 100,000 such spans overlap a given second. Therefore, spans are grouped by length
into a few reaches, each four times as long as the previous one: spans of reach r that overlap a moment end within 4^r
seconds of it. Every function takes a connection inside the caller's transaction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.store.tables import execs

#: Number of reaches: up to 4^r seconds each; the last contains everything longer.
REACHES: Final = 16


class Span(NamedTuple):
    """The time span of one run's log.

    Attributes:
        begin: no line is earlier.
        end: no line is later; None while the run has not ended.
    """

    exec_id: str
    job_id: int
    begin: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Scope:
    """The runs of one job, or of a namespace. `name` is the scope's name for people."""

    job_id: int | None = None
    namespace: str | None = None

    @property
    def name(self) -> str:
        """The scope's name, such as ``job 5``."""
        return f"namespace '{self.namespace}'" if self.job_id is None else f"job {self.job_id}"

    @property
    def condition(self) -> sa.ColumnElement[bool]:
        """The condition for rows of `execs`."""
        if self.job_id is None:
            return execs.c.namespace == self.namespace
        return execs.c.job_id == self.job_id


def closing(begin: datetime, until: datetime) -> dict[str, Any]:
    """The columns of a run whose log is complete."""
    seconds = (until - begin).total_seconds()
    reach = next((r for r in range(REACHES - 1) if 4**r >= seconds), REACHES - 1)
    return {"log_until": until, "log_reach": reach}


_COLUMNS: Final = (execs.c.id, execs.c.job_id, execs.c.created_at, execs.c.log_until)
_open: Final = execs.c.ended_at.is_(None)


def open_spans(connection: Connection, scope: Scope, until: datetime) -> list[Span]:
    """The open runs that began until a moment; the capacity limits how many have written anything."""
    # For a namespace, they are found among all open runs, which are few; its own index contains the whole history.
    of_scope = (
        sa.func.coalesce(execs.c.namespace, "") == scope.namespace
        if scope.job_id is None
        else scope.condition
    )
    condition = sa.and_(of_scope, _open, execs.c.created_at <= until)
    rows = connection.execute(sa.select(*_COLUMNS).where(condition, execs.c.dispatched_at.is_not(None)))
    return [Span(*row) for row in rows]


def closed_across(
    connection: Connection, scope: Scope, *, begun_before: datetime, closed_since: datetime
) -> list[Span]:
    """The runs that began before a moment and whose log ended at about another moment, or later."""
    overlapping: list[Span] = []
    for reach in range(REACHES):
        query = sa.select(*_COLUMNS).where(
            scope.condition,
            execs.c.log_reach == reach,
            execs.c.log_until >= closed_since,
            execs.c.created_at < begun_before,
        )
        if reach < REACHES - 1:
            query = query.where(execs.c.log_until <= _later(begun_before, 4**reach))
        overlapping += [Span(*row) for row in connection.execute(query)]
    return overlapping


def _later(moment: datetime, seconds: float) -> datetime:
    latest = datetime.max.replace(tzinfo=moment.tzinfo)
    return latest if (latest - moment).total_seconds() < seconds else moment + timedelta(seconds=seconds)


def begun_between(
    connection: Connection, scope: Scope, first: tuple[datetime, str], until: datetime, *, limit: int
) -> list[Span]:
    """Runs created after a moment (with the last id seen) and until another, oldest first; ended or not."""
    moment, last_id = first
    order = (execs.c.created_at, execs.c.id)
    query = (
        sa.select(*_COLUMNS)
        .where(
            scope.condition,
            execs.c.created_at >= moment,
            sa.or_(execs.c.created_at > moment, execs.c.id > last_id),
            execs.c.created_at <= until,
        )
        .order_by(*order)
        .limit(limit)
    )
    return [Span(*row) for row in connection.execute(query)]


def closed_between(
    connection: Connection, scope: Scope, since: datetime, last: tuple[datetime, str], *, limit: int
) -> list[Span]:
    """Runs whose log ended before a moment (with the last id seen) and not before another, latest first."""
    moment, last_id = last

    def of(reach: int) -> Iterator[Span]:
        query = (
            sa.select(*_COLUMNS)
            .where(
                scope.condition,
                execs.c.log_reach == reach,
                execs.c.log_until <= moment,
                sa.or_(execs.c.log_until < moment, execs.c.id < last_id),
                execs.c.log_until >= since,
            )
            .order_by(execs.c.log_until.desc(), execs.c.id.desc())
            .limit(limit)
        )
        return (Span(*row) for row in connection.execute(query).all())

    merged = heapq.merge(*map(of, range(REACHES)), key=lambda span: (span.end, span.exec_id), reverse=True)
    return [span for span, _ in zip(merged, range(limit), strict=False)]
