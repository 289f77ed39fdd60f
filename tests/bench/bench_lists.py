"""A million runs: what the first page and a later one cost for each filter, through the API.

Run it with ``pytest tests/bench/bench_lists.py --bench -s`` on a machine that does nothing else. The reference is
the same list of a job that has no runs, so that the API's own share can be told apart.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.drafting import draft_exec
from scheduler.domain.execution import ExecStatus, TriggerMode
from scheduler.domain.job import STANDARD_SIZES, Job, JobDefinition, ScheduleCursor
from scheduler.store import jobs, spans
from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from scheduler.store.rows import values_of
from scheduler.store.tables import exec_labels, execs, to_micros
from tests.bench.figures import Figure, median, percentile
from tests.lab.timeball import Timeball

pytestmark = pytest.mark.bench

TOTAL, JOBS = 1_000_000, 1_000
NOWHERE = "unix:///nonexistent/engine.sock"
NOW = datetime.now(UTC).replace(microsecond=0)
FILTERS = {
    "none": "",
    "a namespace": "namespace=team-3",
    "a job": "job=77",
    "a name": "name=job+501",
    "failed": "status=F",
    "what waits or runs": "status=W,R",
    "failed in a namespace": "status=F&namespace=team-3",
    "failed of a job": "status=F&job=77",
    "triggered by hand": "trigger_mode=M",
    "retries": "trigger_mode=R",
    "made in an hour": f"created_from={(NOW - timedelta(days=5)).timestamp():.0f}"
    f"&created_to={(NOW - timedelta(days=5, hours=-1)).timestamp():.0f}",
    "started in an hour": f"started_from={(NOW - timedelta(days=5)).timestamp():.0f}"
    f"&started_to={(NOW - timedelta(days=5, hours=-1)).timestamp():.0f}",
    "a label": "label=tier=db",
    "a rare label": "label=only=one",
    "oldest first": "order=asc",
}


def fill(path: Path) -> None:
    """A thousand jobs with a thousand runs each, over ten days."""
    path.parent.mkdir(parents=True, mode=0o700)
    database = Database(f"sqlite:///{path}")
    migrate(database)

    def make_jobs(connection: Any) -> list[Job]:
        return [
            jobs.insert(
                connection,
                JobDefinition(
                    name=f"job {number}",
                    namespace=f"team-{number % 10}",
                    docker_image_repo="none",
                    labels={"tier": "db" if number % 4 else "web"} | ({"only": "one"} if number == 7 else {}),
                ),
                ScheduleCursor(),
                created_by="bench",
                now=NOW,
            )
            for number in range(JOBS)
        ]

    made = asyncio.run(database.write(make_jobs))
    asyncio.run(database.close())
    chance = random.Random(5)  # noqa: S311 - the same every time
    drafts = [
        draft_exec(job, STANDARD_SIZES, trigger_mode=TriggerMode.SCHEDULE, created_by="bench", now=NOW)
        for job in made
    ]
    table = execs
    columns = [column.name for column in table.columns]
    processors = {
        column.name: column.type.bind_processor(sqlite_dialect())  # type: ignore[no-untyped-call]
        for column in table.columns
    }

    def row(number: int) -> tuple[dict[str, Any], str]:
        draft = drafts[chance.randrange(JOBS)]
        values = values_of(draft)
        created = NOW - timedelta(days=10) + timedelta(seconds=number * 0.864)
        status = chance.choices(list(ExecStatus), (0, 0, 90, 8, 2))[0]
        if number > TOTAL - 50:
            status = ExecStatus.WAITING
        started = None if status is ExecStatus.WAITING else created + timedelta(seconds=1)
        ended = None if started is None else started + timedelta(seconds=chance.random() * 9)
        values |= {
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "number": number + 1,
            "created_at": created,
            "status": status,
            "trigger_mode": chance.choices(list(TriggerMode), (5, 94, 1, 0))[0],
            "started_at": started,
            "ended_at": ended,
            "fail_reason": "exit_code" if status is ExecStatus.FAILED else None,
        }
        if ended is not None:
            # As the daemon leaves what has ended.
            values |= {"log_bytes": 500 + number % 3_000, **spans.closing(created, ended)}
        return values, draft.spec.labels["tier"]

    def bound(values: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(
            processor(values.get(name)) if (processor := processors[name]) else values.get(name)
            for name in columns
        )

    def rows(labels: list[tuple[str, str, str, int]]) -> Iterator[tuple[Any, ...]]:
        for number in range(TOTAL):
            values, tier = row(number)
            labels.append((values["id"], "tier", tier, to_micros(values["created_at"])))
            if number % 100_000 == 7:
                labels.append((values["id"], "only", "one", to_micros(values["created_at"])))
            yield bound(values)

    labels: list[tuple[str, str, str, int]] = []
    marks = ",".join("?" * len(columns))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-500000")
        names = ",".join(columns)
        connection.executemany(f"INSERT INTO execs ({names}) VALUES ({marks})", rows(labels))  # noqa: S608
        connection.executemany(f"INSERT INTO {exec_labels.name} VALUES (?,?,?,?)", labels)  # noqa: S608
    os.sync()


def sqlite_dialect() -> Any:
    """The dialect whose rows are written."""
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only here

    return sqlite.dialect()  # type: ignore[no-untyped-call]


async def test_a_million_runs_are_listed_by_any_filter(tmp_path: Path) -> None:
    """The first page, and one by cursor far behind it."""
    timeball = Timeball(tmp_path / "data", NOWHERE, "none:1")
    await asyncio.to_thread(fill, timeball.data_dir / "timeball.db")
    await timeball.start(until_ready=False)
    try:
        empty = await timeball.create(None, name="empty")
        reference = await timed(timeball, f"/v1/execs?job={empty}")
        print(f"an empty list: median {median(reference):.3g} ms")  # noqa: T201
        for name, query in FILTERS.items():
            path = f"/v1/execs?{query}"
            show(f"{name}: the first page", await timed(timeball, path), reference)
            cursor = (await timeball.get(path))["next_cursor"]
            for _ in range(20):
                if cursor is None:
                    break
                cursor = (await timeball.get(f"{path}&page_size=1000&cursor={cursor}"))["next_cursor"]
            if cursor is not None:
                later = await timed(timeball, f"{path}&cursor={cursor}")
                show(f"{name}: after 20,000", later, reference)
        await timeball.get("/v1/stats")
        took = await timed(timeball, "/v1/stats", count=5)
        print(f"figures of the last day (100,000 runs): median {median(took):.3g} ms")  # noqa: T201
    finally:
        await timeball.kill()


async def timed(timeball: Timeball, path: str, *, count: int = 100) -> list[float]:
    """Milliseconds that each of so many requests took."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await timeball.get(path)
        found.append((time.perf_counter() - began) * 1e3)
    return found


def show(name: str, took: list[float], reference: list[float]) -> None:
    """Print a figure beside its limit."""
    ratio = median(took) / median(reference)
    Figure(
        name, percentile(took, 0.99), 25, "ms (p99)", f"median {median(took):.3g} ms, {ratio:.2g} × empty"
    ).show()
