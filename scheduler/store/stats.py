"""Statistics of runs in a period: how they ended, and how long they took.

Calculated by the database, so that a long period takes time but no memory of the daemon. Every function takes a
connection inside a transaction of `Database`; none commits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.execution import ExecStatus
from scheduler.domain.views import Durations, JobStats
from scheduler.store.execs import of_visible_jobs
from scheduler.store.tables import execs, jobs

#: The percentiles that are calculated, by name, as a fraction of all durations.
PERCENTILES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def by_job(
    connection: Connection,
    *,
    namespace: str | None,
    job_id: int | None,
    start: datetime,
    end: datetime,
    limit: int,
) -> list[JobStats]:
    """Statistics of each job with runs created from `start` to `end`, those with most runs first.

    Args:
        connection: inside a transaction.
        namespace: only jobs of this namespace; None for all.
        job_id: only this job; None for all.
        start: start of the period (UTC), inclusive.
        end: end of the period, exclusive.
        limit: maximum number of jobs.
    """
    window = [execs.c.created_at >= start, execs.c.created_at < end, *of_visible_jobs(connection)]
    if namespace is not None:
        window.append(execs.c.namespace == namespace)
    if job_id is not None:
        window.append(execs.c.job_id == job_id)
    counts: dict[int, Counter[ExecStatus]] = defaultdict(Counter)
    query = sa.select(execs.c.job_id, execs.c.status, sa.func.count()).where(*window)
    for job, status, count in connection.execute(query.group_by(execs.c.job_id, execs.c.status)):
        counts[job][ExecStatus(status)] = count
    busiest = sorted(counts, key=lambda job: (-counts[job].total(), job))[:limit]
    names = {
        row.id: row
        for row in connection.execute(
            sa.select(jobs.c.id, jobs.c.name, jobs.c.namespace).where(jobs.c.id.in_(busiest))
        )
    }
    durations = _durations(connection, window, busiest)
    return [
        JobStats(
            job_id=job,
            name=names[job].name,
            namespace=names[job].namespace,
            counts=counts[job],
            durations=durations.get(job),
        )
        for job in busiest
        if job in names
    ]


def totals(
    connection: Connection, *, namespace: str | None, job_id: int | None, start: datetime, end: datetime
) -> Counter[ExecStatus]:
    """The number of runs created in the period, by status."""
    query = sa.select(execs.c.status, sa.func.count()).where(
        execs.c.created_at >= start, execs.c.created_at < end, *of_visible_jobs(connection)
    )
    if namespace is not None:
        query = query.where(execs.c.namespace == namespace)
    if job_id is not None:
        query = query.where(execs.c.job_id == job_id)
    rows = connection.execute(query.group_by(execs.c.status))
    return Counter({ExecStatus(status): count for status, count in rows})


def _durations(
    connection: Connection, window: list[sa.ColumnElement[bool]], job_ids: list[int]
) -> dict[int, Durations]:
    """The durations of each job's ended runs; percentiles by nearest rank."""
    took = (sa.cast(execs.c.ended_at, sa.BigInteger) - sa.cast(execs.c.started_at, sa.BigInteger)).label(
        "took"
    )
    ended = (
        sa.select(execs.c.job_id, took)
        .where(
            *window,
            execs.c.job_id.in_(job_ids),
            execs.c.ended_at.is_not(None),
            execs.c.started_at.is_not(None),
        )
        .subquery()
    )
    ranked = sa.select(
        ended.c.job_id,
        ended.c.took,
        sa.func.row_number().over(partition_by=ended.c.job_id, order_by=ended.c.took).label("rank"),
        sa.func.count().over(partition_by=ended.c.job_id).label("of"),
        sa.func.sum(ended.c.took).over(partition_by=ended.c.job_id).label("total"),
    ).subquery()
    # The nearest rank of share s among n is ceil(s × n), calculated with integers, and never 0.
    ranks = [
        (sa.cast(ranked.c.of, sa.BigInteger) * round(share * 100) + 99) // 100
        for share in PERCENTILES.values()
    ]
    at_ranks = sa.or_(
        ranked.c.rank == ranked.c.of, *(ranked.c.rank == sa.cast(rank, sa.BigInteger) for rank in ranks)
    )
    ranked_rows: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    for job, micros, rank, of, total in connection.execute(sa.select(ranked).where(at_ranks)):
        ranked_rows[job].append((rank, micros, of, int(total)))
    return {job: _summary(sorted(rows)) for job, rows in ranked_rows.items()}


def _summary(rows: list[tuple[int, int, int, int]]) -> Durations:
    _, longest, of, total = rows[-1]
    at_rank = {rank: micros for rank, micros, *_ in rows}

    def at(share: float) -> timedelta:
        return timedelta(microseconds=at_rank[(of * round(share * 100) + 99) // 100])

    return Durations(
        count=of,
        mean=timedelta(microseconds=total // of),
        longest=timedelta(microseconds=longest),
        **{name: at(share) for name, share in PERCENTILES.items()},
    )
