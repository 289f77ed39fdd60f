"""Chooses the index for a list of runs: the most selective one that has the runs in order.

Without statistics, SQLite considers all indexes with an equality equal: it read the 100,000 runs of a namespace to
find the thousand of a job. So the entries of each suitable index are counted, up to `PROBED`, and conditions on other
columns are written so that SQLite does not use their indexes ('The SQLite Query Optimizer Overview', section 3: a
unary plus). PostgreSQL has statistics and chooses by itself. Decision 0014 compares this with SQLite's `ANALYZE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

from scheduler.store.tables import exec_labels, execs

#: An index with this few entries is read completely, whatever the order.
RARE: Final = 5_000
#: Maximum number of entries that are counted to compare indexes.
PROBED: Final = 12_000
#: The indexes that have runs in order, by the columns that must be equal; the most selective ones first.
BY_CREATION: Final[tuple[tuple[str, ...], ...]] = (
    ("job_id", "status"),
    ("job_id",),
    ("namespace", "status"),
    ("trigger_mode",),
    ("status",),
    ("namespace",),
    (),
)
BY_START: Final[tuple[tuple[str, ...], ...]] = (("namespace",), ())

#: Starts have the time of the engine's clock, which may be this far behind.
SKEW: Final = timedelta(days=1)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)

Bounds = tuple[datetime | None, datetime | None]
Conditions = list[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A filter with at most one status, trigger mode and job.

    Attributes:
        equal: the columns that must be equal, with their values.
        labels: labels that a run must have.
        created: bounds of the creation time.
        started: bounds of the start time.
        others: further conditions, which no index supports.
    """

    equal: Mapping[str, Any]
    labels: Sequence[tuple[str, str]]
    created: Bounds
    started: Bounds
    others: Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to read the runs of a filter.

    Attributes:
        source: the tables to select from.
        narrow: the conditions for searching the index.
        rest: the conditions to check for each entry; empty if the index is enough.
        moment: the time to order by.
        exec_id: the column with the ids of the runs.
    """

    source: sa.FromClause
    narrow: Conditions
    rest: Conditions
    moment: sa.ColumnElement[Any]
    exec_id: sa.ColumnElement[str]


def way(connection: Connection, asked: Asked, *, by_start: bool) -> Way:
    """The way to read the runs of a filter.

    Args:
        connection: inside a transaction.
        asked: the filter.
        by_start: whether to order by start time, else by creation time.
    """
    usable = [columns for columns in BY_CREATION if set(columns) <= set(asked.equal)]
    # An index is less selective than one that has all of its columns and more.
    usable = [columns for columns in usable if not any(set(columns) < set(other) for other in usable)]
    if asked.labels and usable == [()]:
        usable = []
    if "job_id" in asked.equal:  # all runs of a job are in one namespace
        usable = [columns for columns in usable if "namespace" not in columns]
    choices = [_by_columns(connection, asked, columns, by_start=by_start) for columns in usable]
    choices += [_by_label(connection, asked, label, by_start=by_start) for label in asked.labels]
    if by_start:
        columns = next(columns for columns in BY_START if set(columns) <= set(asked.equal))
        in_order = _in_order_of_start(connection, asked, columns)
        if not in_order.rest:
            return in_order
    elif len(choices) == 1:
        return choices[0]
    else:
        # A label is likely to be more selective than a namespace or nothing, and a job more than a label.
        in_order = choices[-1] if asked.labels and "job_id" not in asked.equal else choices[0]
    sizes = [_size(connection, choice) for choice in choices]
    smallest = min(sizes)
    is_best = smallest <= RARE or (smallest < PROBED and not by_start)
    return choices[sizes.index(smallest)] if is_best else in_order


def _size(connection: Connection, choice: Way) -> int:
    """The number of index entries for it, up to `PROBED`."""
    table = execs if choice.source is execs else exec_labels
    some = sa.select(sa.literal(1)).select_from(table).where(*choice.narrow).limit(PROBED)
    return int(connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one())


def _by_columns(connection: Connection, asked: Asked, columns: Sequence[str], *, by_start: bool) -> Way:
    rest = [
        _apart(connection, execs.c[name]) == value
        for name, value in asked.equal.items()
        if name not in columns
    ]
    rest += [*_having(asked.labels), *asked.others]
    started = _apart(connection, execs.c.started_at)
    return Way(
        source=execs,
        narrow=[
            *(execs.c[name] == asked.equal[name] for name in columns),
            *_within(execs.c.created_at, _made(asked)),
        ],
        rest=[*rest, *_started(started, asked, by_start=by_start)],
        moment=started if by_start else execs.c.created_at,
        exec_id=execs.c.id,
    )


def _by_label(connection: Connection, asked: Asked, label: tuple[str, str], *, by_start: bool) -> Way:
    name, value = label
    started = _apart(connection, execs.c.started_at)
    rest = [_apart(connection, execs.c[column]) == value for column, value in asked.equal.items()]
    rest += [*_having([other for other in asked.labels if other != label]), *asked.others]
    rest += _started(started, asked, by_start=by_start)
    joined = exec_labels.join(execs, execs.c.id == exec_labels.c.exec_id)
    return Way(
        source=joined if rest or by_start else exec_labels,
        narrow=[
            exec_labels.c.name == name,
            exec_labels.c.value == value,
            *_within(exec_labels.c.created_at, _made(asked)),
        ],
        rest=rest,
        moment=started if by_start else exec_labels.c.created_at,
        exec_id=exec_labels.c.exec_id,
    )


def _in_order_of_start(connection: Connection, asked: Asked, columns: Sequence[str]) -> Way:
    rest = [
        _apart(connection, execs.c[name]) == value
        for name, value in asked.equal.items()
        if name not in columns
    ]
    rest += [*_within(_apart(connection, execs.c.created_at), asked.created)]
    return Way(
        source=execs,
        narrow=[
            *(execs.c[name] == asked.equal[name] for name in columns),
            *_within(execs.c.started_at, _begun(asked)),
            execs.c.started_at.is_not(None),
        ],
        rest=[*rest, *_having(asked.labels), *asked.others],
        moment=execs.c.started_at,
        exec_id=execs.c.id,
    )


def _apart(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column in a form for which SQLite does not use an index."""
    if connection.dialect.name != "sqlite":
        return column
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def _made(asked: Asked) -> Bounds:
    """The bounds of the creation time: runs are created before they start."""
    (start, end), (_, latest) = asked.created, asked.started
    return (start, end if latest is None else min(end or _LAST, _moved(latest, SKEW)))


def _begun(asked: Asked) -> Bounds:
    """The bounds of the start time: runs start after they are created."""
    (start, end), (earliest, _) = asked.started, asked.created
    return (start if earliest is None else max(start or _FIRST, _moved(earliest, -SKEW)), end)


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return _LAST if by > timedelta(0) else _FIRST


def _within(moment: sa.ColumnElement[Any], bounds: Bounds) -> Conditions:
    start, end = bounds
    return [*(() if start is None else (moment >= start,)), *(() if end is None else (moment <= end,))]


def _started(moment: sa.ColumnElement[Any], asked: Asked, *, by_start: bool) -> Conditions:
    found = _within(moment, asked.started)
    return [*found, moment.is_not(None)] if by_start else found


def _having(labels: Sequence[tuple[str, str]]) -> Conditions:
    """The conditions for runs that have all of these labels."""
    others = [(exec_labels.alias(), name, value) for name, value in labels]
    return [
        sa.exists().where(other.c.exec_id == execs.c.id, other.c.name == name, other.c.value == value)
        for other, name, value in others
    ]
