"""Lists of runs across jobs: found by index whatever is asked for, and counted as far as that is cheap.

A question with several statuses, trigger modes or jobs is asked once for each combination, since an index gives
only one of them in order; the answers are merged. Every function takes a connection inside a transaction of
`Database`; none commits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.execution import Exec, ExecStatus, TriggerMode
from scheduler.filters import ExecFilter, Order, Position
from scheduler.store.execs import from_row, of_visible_jobs
from scheduler.store.jobs import IDS_PER_STATEMENT
from scheduler.store.tables import Moment, exec_labels, execs, jobs

#: Up to so many matches are counted one by one (a tenth of it where that takes longer); statistics count all.
COUNTED: Final = 10_000
#: How many jobs may share a name that is asked for.
MOST_NAMESAKES: Final = 100
#: A start is told by the engine's clock, which may be so far behind ours.
SKEW: Final = timedelta(days=1)

_Conditions = list[sa.ColumnElement[bool]]


def find(
    connection: Connection,
    wanted: ExecFilter,
    order: Order,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
) -> list[Exec]:
    """`limit` of the runs that match, in order.

    Args:
        connection: inside a transaction.
        wanted: which runs.
        order: how they are put in order.
        limit: how many at most.
        offset: how many to pass over; costs as much as returning them.
        after: the place to go on from, in the same order; costs nothing.
    """
    found: list[Exec] = []
    found_ids = ids(connection, wanted, order, limit=limit, offset=offset, after=after)
    for start in range(0, len(found_ids), IDS_PER_STATEMENT):
        some = found_ids[start : start + IDS_PER_STATEMENT]
        rows = connection.execute(sa.select(execs).where(execs.c.id.in_(some))).mappings()
        by_id = {row["id"]: from_row(row) for row in rows}
        found += [by_id[one] for one in some if one in by_id]
    return found


def count(connection: Connection, wanted: ExecFilter, *, count_all: bool = False) -> tuple[int, bool]:
    """How many runs match, as far as they are counted; and whether there are more than that."""
    total = 0
    for conditions, source in _branches(connection, wanted, by_start=wanted.asks_for_start):
        # Entries of an index are counted fast; to look each run up besides takes ten times as long.
        most = COUNTED if isinstance(source, sa.Table) else COUNTED // 10
        some = sa.select(sa.literal(1)).select_from(source).where(*conditions)
        if not count_all:
            some = some.limit(most + 1 - total)
        total += connection.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
        if total > most and not count_all:
            return most, True
    return total, False


def job_names(connection: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """The names of the jobs, by id."""
    found: dict[int, str] = {}
    ids = sorted(set(job_ids))
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        some = ids[start : start + IDS_PER_STATEMENT]
        rows = connection.execute(sa.select(jobs.c.id, jobs.c.name).where(jobs.c.id.in_(some)))
        found.update((row[0], row[1]) for row in rows)
    return found


def ids(
    connection: Connection,
    wanted: ExecFilter,
    order: Order,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
) -> list[str]:
    """The ids of what `find` finds, for whoever needs no more."""
    branches = []
    for conditions, source in _branches(connection, wanted, by_start=order.by_start):
        by_label = source is not execs
        moment, exec_id = (
            (exec_labels.c.created_at, exec_labels.c.exec_id)
            if by_label
            else (execs.c.started_at if order.by_start else execs.c.created_at, execs.c.id)
        )
        query = sa.select(moment.label("moment"), exec_id.label("exec_id")).select_from(source)
        query = query.where(*conditions)
        if after is not None:
            place = sa.tuple_(sa.literal(after.at, Moment), sa.literal(after.exec_id, sa.Text))
            here = sa.tuple_(moment, exec_id)
            query = query.where(here < place if order.is_descending else here > place)
        keys: tuple[Any, Any] = (moment.desc(), exec_id.desc()) if order.is_descending else (moment, exec_id)
        branches.append(query.order_by(*keys).limit(offset + limit))
    if not branches:
        return []
    if len(branches) == 1:
        rows = connection.execute(branches[0].limit(limit).offset(offset))
        return [row.exec_id for row in rows]
    found = [(row.moment, row.exec_id) for branch in branches for row in connection.execute(branch)]
    found.sort(reverse=order.is_descending)
    return [exec_id for _, exec_id in found[offset : offset + limit]]


def _branches(
    connection: Connection, wanted: ExecFilter, *, by_start: bool
) -> Iterator[tuple[_Conditions, sa.FromClause]]:
    """What to ask one after the other: conditions, and what they are asked of."""
    job_ids: list[int | None] = [wanted.job_id]
    if wanted.job_name is not None:
        job_ids = [one for one in _namesakes(connection, wanted) if wanted.job_id in (None, one)]
    statuses: list[ExecStatus | None] = [*sorted(wanted.statuses)] or [None]
    modes: list[TriggerMode | None] = [*sorted(wanted.trigger_modes)] or [None]
    visible = of_visible_jobs(connection)
    for job_id, status, mode in itertools.product(job_ids, statuses, modes):
        conditions: _Conditions = [*visible]
        if wanted.namespace is not None:
            conditions.append(execs.c.namespace == wanted.namespace)
        if job_id is not None:
            conditions.append(execs.c.job_id == job_id)
        if status is not None:
            conditions.append(execs.c.status == status)
        if mode is not None:
            conditions.append(execs.c.trigger_mode == mode)
        conditions += _started_bounds(wanted, by_start=by_start)
        labels = sorted(wanted.labels.items())
        if not labels or job_id is not None or by_start:
            yield [*conditions, *_created_bounds(wanted, execs.c.created_at), *_having(labels)], execs
            continue
        # Nothing else is likely to be narrower than a label.
        (name, value), *others = labels
        conditions += _having(others)
        source = exec_labels.join(execs, execs.c.id == exec_labels.c.exec_id) if conditions else exec_labels
        conditions += [exec_labels.c.name == name, exec_labels.c.value == value]
        yield [*conditions, *_created_bounds(wanted, exec_labels.c.created_at)], source


def _created_bounds(wanted: ExecFilter, moment: sa.ColumnElement[Any]) -> _Conditions:
    found: _Conditions = []
    if wanted.created_from is not None:
        found.append(moment >= wanted.created_from)
    if wanted.created_to is not None:
        found.append(moment <= wanted.created_to)
    return found


def _started_bounds(wanted: ExecFilter, *, by_start: bool) -> _Conditions:
    """The range of starts. A run starts after it was made, so the range of its making bounds that of its start."""
    found: _Conditions = []
    if wanted.started_from is not None:
        found.append(execs.c.started_at >= wanted.started_from)
    if wanted.started_to is not None:
        found.append(execs.c.started_at <= wanted.started_to)
    if by_start:
        found.append(execs.c.started_at.is_not(None))
        if wanted.created_from is not None:
            found.append(execs.c.started_at >= wanted.created_from - SKEW)
    return found


def _having(labels: Sequence[tuple[str, str]]) -> _Conditions:
    """Runs that have all of these labels."""
    others = [(exec_labels.alias(), name, value) for name, value in labels]
    return [
        sa.exists().where(other.c.exec_id == execs.c.id, other.c.name == name, other.c.value == value)
        for other, name, value in others
    ]


def _namesakes(connection: Connection, wanted: ExecFilter) -> list[int]:
    query = sa.select(jobs.c.id).where(jobs.c.name == wanted.job_name, jobs.c.deleted_at.is_(None))
    if wanted.namespace is not None:
        query = query.where(jobs.c.namespace == wanted.namespace)
    return list(connection.execute(query.order_by(jobs.c.id).limit(MOST_NAMESAKES)).scalars())
