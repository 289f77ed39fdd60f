"""Lists of runs across jobs: found by index for any filter, and counted as far as that is cheap.

A filter with several statuses, trigger modes or jobs is queried once for each combination, because an index has only
one of them in order; the results are merged. Every function takes a connection inside a transaction of
`Database`; none commits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.execution import Exec, ExecStatus, TriggerMode
from scheduler.domain.filters import ExecFilter, Order, Position
from scheduler.store.exec_ways import Asked, Way, way
from scheduler.store.execs import from_row, of_visible_jobs
from scheduler.store.jobs import IDS_PER_STATEMENT
from scheduler.store.tables import Moment, execs, jobs

#: Maximum number of matches that are counted, and of runs that are read for it. Statistics count everything.
COUNTED: Final = 10_000
LOOKED_UP: Final = 1_000
#: Maximum number of jobs with the same name in a filter by name.
MOST_NAMESAKES: Final = 100


def find(
    connection: Connection,
    wanted: ExecFilter,
    order: Order,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
) -> list[Exec]:
    """`limit` of the matching runs, in order.

    Args:
        connection: inside a transaction.
        wanted: the filter.
        order: of the runs.
        limit: maximum number of runs.
        offset: number of runs to skip; costs as much as returning them.
        after: the position to continue after, in the same order; costs nothing.
    """
    found: list[Exec] = []
    found_ids = ids(connection, wanted, order, limit=limit, offset=offset, after=after)
    for start in range(0, len(found_ids), IDS_PER_STATEMENT):
        some = found_ids[start : start + IDS_PER_STATEMENT]
        rows = connection.execute(sa.select(execs).where(execs.c.id.in_(some))).mappings()
        by_id = {row["id"]: from_row(row) for row in rows}
        found += [by_id[exec_id] for exec_id in some if exec_id in by_id]
    return found


def count(connection: Connection, wanted: ExecFilter, *, count_all: bool = False) -> tuple[int, bool]:
    """The number of matching runs, as far as they are counted, and whether there may be more."""
    total, looked_up, is_estimate = 0, 0, False
    for plan in _ways(connection, wanted, by_start=wanted.asks_for_start):
        # Counting entries of an index is fast; reading each run as well takes ten times as long.
        most = max(0, LOOKED_UP - looked_up) if plan.rest else COUNTED
        each = sa.case((sa.and_(*plan.rest), 1)) if plan.rest else sa.literal(1)
        some = sa.select(each.label("matches")).select_from(plan.source).where(*plan.narrow)
        if not count_all:
            some = some.limit(most + 1)
        rows = some.subquery()
        seen, found = connection.execute(sa.select(sa.func.count(), sa.func.count(rows.c.matches))).one()
        total += found
        looked_up += seen if plan.rest else 0
        is_estimate = is_estimate or (seen > most and not count_all)
        if total > COUNTED and not count_all:
            return COUNTED, True
    return total, is_estimate


def job_names(connection: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """The names of jobs by id."""
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
    """The ids of the runs that `find` returns."""
    branches = []
    if after is not None:
        wanted = _from_there(wanted, order, after)
    for plan in _ways(connection, wanted, by_start=order.by_start):
        query = sa.select(plan.moment.label("moment"), plan.exec_id.label("exec_id")).select_from(plan.source)
        query = query.where(*plan.narrow, *plan.rest)
        if after is not None:
            place = sa.tuple_(sa.literal(after.at, Moment), sa.literal(after.exec_id, sa.Text))
            here = sa.tuple_(plan.moment, plan.exec_id)
            query = query.where(here < place if order.is_descending else here > place)
        keys: tuple[Any, Any] = (plan.moment, plan.exec_id)
        if order.is_descending:
            keys = (plan.moment.desc(), plan.exec_id.desc())
        branches.append(query.order_by(*keys).limit(offset + limit))
    if not branches:
        return []
    if len(branches) == 1:
        rows = connection.execute(branches[0].limit(limit).offset(offset))
        return [row.exec_id for row in rows]
    found = [(row.moment, row.exec_id) for branch in branches for row in connection.execute(branch)]
    found.sort(reverse=order.is_descending)
    return [exec_id for _, exec_id in found[offset : offset + limit]]


def _ways(connection: Connection, wanted: ExecFilter, *, by_start: bool) -> Iterator[Way]:
    """The queries to run, one for each combination."""
    job_ids: list[int | None] = [wanted.job_id]
    if wanted.job_name is not None:
        job_ids = [job_id for job_id in _namesakes(connection, wanted) if wanted.job_id in (None, job_id)]
    statuses: list[ExecStatus | None] = [*sorted(wanted.statuses)] or [None]
    modes: list[TriggerMode | None] = [*sorted(wanted.trigger_modes)] or [None]
    visible = of_visible_jobs(connection)
    for job_id, status, mode in itertools.product(job_ids, statuses, modes):
        equal = {
            "namespace": wanted.namespace,
            "job_id": job_id,
            "status": status,
            "trigger_mode": mode,
        }
        asked = Asked(
            equal={name: value for name, value in equal.items() if value is not None},
            labels=sorted(wanted.labels.items()),
            created=(wanted.created_from, wanted.created_to),
            started=(wanted.started_from, wanted.started_to),
            others=visible,
        )
        yield way(connection, asked, by_start=by_start)


def _from_there(wanted: ExecFilter, order: Order, after: Position) -> ExecFilter:
    """The filter with its range cut where the list continues: SQLite may search by the range, not by the position."""
    bound = ("started" if order.by_start else "created") + ("_to" if order.is_descending else "_from")
    nearest = min if order.is_descending else max
    asked = getattr(wanted, bound)
    changes: dict[str, Any] = {bound: after.at if asked is None else nearest(asked, after.at)}
    return replace(wanted, **changes)


def _namesakes(connection: Connection, wanted: ExecFilter) -> list[int]:
    query = sa.select(jobs.c.id).where(jobs.c.name == wanted.job_name, jobs.c.deleted_at.is_(None))
    if wanted.namespace is not None:
        query = query.where(jobs.c.namespace == wanted.namespace)
    return list(connection.execute(query.order_by(jobs.c.id).limit(MOST_NAMESAKES)).scalars())
