"""No query of the hot paths reads more rows than it returns: SQLite's own plan says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.admission.facts import Candidate
from scheduler.domain.execution import ExecStatus, Outcome, TriggerMode
from scheduler.domain.filters import ExecFilter, JobFilter, Order, Position
from scheduler.domain.hook import HookEvent
from scheduler.store import (
    clearing,
    exec_lists,
    execs,
    hooks,
    jobs,
    ledger,
    outbox,
    queue,
    registries,
    secrets,
    spans,
)
from scheduler.store.spans import Scope
from scheduler.store.tables import metadata, secret_uses

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB, NAMESPACE = Scope(job_id=1), Scope(namespace="x")
CANDIDATE = Candidate(
    id="a",
    job_id=1,
    namespace="n",
    priority=0,
    created_at=NOW,
    cpus=1,
    memory_bytes=1,
    is_alone=True,
    not_before=None,
)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """A connection to an empty database with all tables."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield connection
    engine.dispose()


QUERIES: dict[str, tuple[Callable[[sa.Connection], Any], str]] = {
    "secrets, and how many jobs use each": (
        lambda c: secrets.page(c, "n", offset=0, limit=10),
        "sqlite_autoindex_secrets_1",
    ),
    "a secret": (lambda c: secrets.get(c, "n", "db"), "sqlite_autoindex_secrets_1"),
    "a job's secrets": (
        lambda c: c.execute(secret_uses.delete().where(secret_uses.c.job_id == 1)),
        "ix_secret_uses_job_id",
    ),
    "whether a registry is private": (lambda c: registries.is_private(c, "h"), "ix_registries_host"),
    "the planner's scan": (
        lambda c: jobs.due_until(c, NOW, limit=10, after=(NOW, 1)),
        "ix_jobs_next_due_at",
    ),
    "the jobs with runs waiting": (lambda c: queue.waiting_jobs(c, "LOCAL"), "ix_execs_waiting"),
    "the first waiting run of jobs": (
        lambda c: queue.first_lanes(c, "LOCAL", [1, 2], now=NOW),
        "ix_execs_waiting",
    ),
    "whether a run is its job's first": (lambda c: queue.is_first(c, "LOCAL", CANDIDATE), "ix_execs_waiting"),
    "the next back-off": (lambda c: queue.next_back_off(c, "LOCAL", now=NOW), "ix_execs_back_off"),
    "the back-offs that have ended": (
        lambda c: queue.ended_back_offs(c, "LOCAL", after=NOW, until=NOW),
        "ix_execs_back_off",
    ),
    "what to adopt at the start": (queue.dispatched, "ix_execs_dispatched"),
    "what a daemon is to stop": (lambda c: queue.wishes(c, "a"), "ix_execs_dispatched"),
    "what others hold": (lambda c: queue.held_by_others(c, "a"), "ix_execs_dispatched"),
    "who looks after runs": (lambda c: queue.owners(c, ["a", "b"]), "sqlite_autoindex_execs"),
    "a job's open runs": (lambda c: execs.open_of_job(c, 1), "ix_execs_open_of_job"),
    "counting open runs": (lambda c: execs.count_open(c, [1, 2]), "ix_execs_open_of_job"),
    "a job's runs, newest first": (
        lambda c: execs.page(c, job_id=1, offset=0, limit=10),
        "ix_execs_job_id_",
    ),
    "a job's failed runs, newest first": (
        lambda c: execs.page(c, job_id=1, offset=0, limit=10, statuses=[ExecStatus.FAILED]),
        "ix_execs_job_id_status_created_at",
    ),
    "a job's newest run": (lambda c: execs.latest_of(c, [1]), "ix_execs_job_id_created_at"),
    "who wants to be told of a run": (
        lambda c: outbox.receivers_of(c, "x", HookEvent.FAIL),
        "ix_hooks_job_id",
    ),
    "a job's hooks": (lambda c: hooks.count(c, job_id=1, namespace=None), "ix_hooks_job_id"),
    "what jobs keep": (lambda c: clearing.stocks(c, after=0, limit=9), "ix_execs_job_id_created_at"),
    "a job's oldest runs": (
        lambda c: clearing.oldest_execs(c, 1, before=NOW, limit=9),
        "ix_execs_job_id_created_at",
    ),
    "a deleted job's runs": (lambda c: clearing.any_execs(c, 1, limit=9), "ix_execs_job_id_created_at"),
    "jobs that were deleted": (jobs.deleted_ids, "ix_jobs_deleted"),
    "the oldest of a ledger": (
        lambda c: clearing.delete_occurrences(c, 1, before=NOW, limit=9),
        "PRIMARY KEY",
    ),
    "logs to be measured": (lambda c: clearing.unmeasured(c, limit=9), "ix_execs_unmeasured"),
    "how large logs are": (lambda c: clearing.log_sizes(c, ["a"]), "ix_log_chunks_exec_id_last_at_seq"),
    "runs that go on, of a job": (lambda c: spans.open_spans(c, JOB, NOW), "ix_execs_open_of_job"),
    "runs that go on, of a namespace": (lambda c: spans.open_spans(c, NAMESPACE, NOW), "ix_execs_open"),
    "a job's logs across a moment": (
        lambda c: spans.closed_across(c, JOB, begun_before=NOW, closed_since=NOW),
        "ix_execs_job_id_log_reach",
    ),
    "a namespace's logs across a moment": (
        lambda c: spans.closed_across(c, NAMESPACE, begun_before=NOW, closed_since=NOW),
        "ix_execs_namespace_log_reach",
    ),
    "a job's runs from a moment on": (
        lambda c: spans.begun_between(c, JOB, (NOW, "x"), NOW, limit=10),
        "ix_execs_job_id_created_at",
    ),
    "a namespace's runs from a moment on": (
        lambda c: spans.begun_between(c, NAMESPACE, (NOW, "x"), NOW, limit=10),
        "ix_execs_namespace_created_at",
    ),
    "a job's logs that ended before a moment": (
        lambda c: spans.closed_between(c, JOB, NOW, (NOW, "x"), limit=10),
        "ix_execs_job_id_log_reach",
    ),
    "a namespace's logs that ended before a moment": (
        lambda c: spans.closed_between(c, NAMESPACE, NOW, (NOW, "x"), limit=10),
        "ix_execs_namespace_log_reach",
    ),
    "the ledger of a time range": (
        lambda c: ledger.page(c, job_id=1, start=NOW, end=NOW, outcomes=[Outcome.RAN], offset=0, limit=10),
        "PRIMARY KEY",
    ),
}
LISTS: dict[str, tuple[dict[str, Any], Order, str]] = {
    "all runs": ({}, Order.CREATED_DESCENDING, "ix_execs_created_at_id"),
    "runs made in a time range": (
        {"created_from": NOW, "created_to": NOW},
        Order.CREATED,
        "ix_execs_created_at_id",
    ),
    "runs of a namespace": ({"namespace": "n"}, Order.CREATED, "ix_execs_namespace_created_at_id"),
    "runs of a job": ({"job_id": 1}, Order.CREATED_DESCENDING, "ix_execs_job_id_"),
    "runs in some statuses": (
        {"statuses": frozenset({ExecStatus.FAILED, ExecStatus.RUNNING})},
        Order.CREATED_DESCENDING,
        "ix_execs_status_created_at_id",
    ),
    "a namespace's runs in a status": (
        {"namespace": "n", "statuses": frozenset({ExecStatus.FAILED})},
        Order.CREATED,
        "ix_execs_namespace_status_created_at_id",
    ),
    "a job's runs in a status": (
        {"job_id": 1, "statuses": frozenset({ExecStatus.FAILED})},
        Order.CREATED,
        "ix_execs_job_id_status_created_at_id",
    ),
    "retries": (
        {"trigger_modes": frozenset({TriggerMode.RETRY})},
        Order.CREATED,
        "ix_execs_trigger_mode_created_at_id",
    ),
    "runs started in a time range": (
        {"started_from": NOW, "started_to": NOW},
        Order.STARTED_DESCENDING,
        "ix_execs_started_at_id",
    ),
    "a namespace's runs by their start": (
        {"namespace": "n"},
        Order.STARTED,
        "ix_execs_namespace_started_at_id",
    ),
    "runs with a label": (
        {"labels": {"a": "1"}},
        Order.CREATED_DESCENDING,
        "ix_exec_labels_name_value_created_at_exec_id",
    ),
    "a job's runs, in a namespace": (
        {"namespace": "n", "job_id": 1},
        Order.CREATED,
        "ix_execs_job_id_",
    ),
    "runs of jobs of a name": ({"job_name": "n"}, Order.CREATED, "ix_jobs_name"),
}
AFTER = Position(NOW, "0" * 36)
QUERIES |= {
    f"{what}, {where}": (
        lambda c, w=wanted, o=order, a=after: exec_lists.ids(c, ExecFilter(**w), o, limit=10, after=a),
        index,
    )
    for what, (wanted, order, index) in LISTS.items()
    for where, after in (("the first", None), ("from a cursor on", AFTER))
}
QUERIES |= {
    f"how many {what}": (lambda c, w=wanted: exec_lists.count(c, ExecFilter(**w)), index)
    for what, (wanted, order, index) in LISTS.items()
    if not order.by_start
}
QUERIES |= {
    f"jobs {what}": (lambda c, w=wanted: jobs.page(c, JobFilter(**w), offset=0, limit=10), index)
    for what, (wanted, index) in {
        "of a namespace": ({"namespace": "n"}, "ix_jobs_namespace_id"),
        "of a name": ({"name": "n"}, "ix_jobs_name"),
        "with a label": ({"labels": {"a": "1"}}, "ix_job_labels_name_value_job_id"),
    }.items()
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
        # Lists look first whether a deleted job is still being cleared away; the index holds nothing else.
        assert index in plan or "sqlite_autoindex_execs" in plan or "ix_jobs_deleted" in plan, plan
        assert "TEMP B-TREE" not in plan, plan
        for step in plan.split("; "):
            # anon_… is the inner part of the same statement, not a table; what a recursion has found so far is
            # read by a scan, and is as short as its result.
            is_scan = step.startswith("SCAN") and not step.startswith(("SCAN anon_", "SCAN found"))
            assert not is_scan or "INDEX" in step or "SCALAR" in step, plan
