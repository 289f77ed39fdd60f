"""No query of the hot paths reads more rows than it returns: SQLite's own plan says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.execution import Outcome
from scheduler.store import execs, jobs, ledger
from scheduler.store.tables import metadata

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """A connection to an empty database with all tables."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


QUERIES: dict[str, tuple[Callable[[sa.Connection], Any], str]] = {
    "the planner's scan": (
        lambda c: jobs.due_until(c, NOW, limit=10, after=(NOW, 1)),
        "ix_jobs_next_due_at",
    ),
    "the dispatcher's queue": (lambda c: execs.startable(c, "LOCAL", now=NOW, limit=10), "ix_execs_open"),
    "the next back-off": (lambda c: execs.next_back_off(c, "LOCAL", now=NOW), "ix_execs_open"),
    "what to adopt at the start": (execs.dispatched, "ix_execs_open"),
    "a job's open runs": (lambda c: execs.open_of_job(c, 1), "ix_execs_open_of_job"),
    "counting open runs": (lambda c: execs.count_open(c, [1, 2]), "ix_execs_open_of_job"),
    "a job's runs, newest first": (
        lambda c: execs.page(c, job_id=1, offset=0, limit=10),
        "ix_execs_job_id_created_at",
    ),
    "a job's newest run": (lambda c: execs.latest_of(c, [1]), "ix_execs_job_id_created_at"),
    "the ledger of a time range": (
        lambda c: ledger.page(c, job_id=1, start=NOW, end=NOW, outcomes=[Outcome.RAN], offset=0, limit=10),
        "PRIMARY KEY",
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_hot_query_is_answered_by_its_index(connection: sa.Connection, name: str) -> None:
    """It searches by the index meant for it, scans no table, and sorts nothing."""
    ask, index = QUERIES[name]
    asked: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        asked.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", note)
    ask(connection)
    sa.event.remove(connection, "before_cursor_execute", note)

    for statement, parameters in asked:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = "; ".join(row[3] for row in rows)
        assert index in plan or "sqlite_autoindex_execs" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        for step in plan.split("; "):
            assert not step.startswith("SCAN") or "INDEX" in step or "SCALAR" in step, plan
