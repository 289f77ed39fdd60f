"""Fills a database with schedules, by the row, as a long life would have."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import sqlite

from scheduler.domain.job import JobDefinition, ScheduleCursor
from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from scheduler.store.rows import values_of
from scheduler.store.tables import jobs, to_micros


def _bound(name: str, value: Any) -> Any:
    """A value as SQLite keeps it."""
    processor = jobs.c[name].type.bind_processor(sqlite.dialect())  # type: ignore[no-untyped-call]
    return value if processor is None else processor(value)


def fill(
    path: Path,
    schedules: Iterable[tuple[datetime, int]],
    *,
    image: tuple[str, str],
    region: str,
    **fields: Any,
) -> None:
    """Make a SQLite database with an active job for each schedule.

    Args:
        path: of the database; its folder is made.
        schedules: (first due time, seconds between due times).
        image: repository and tag.
        region: that the jobs name.
        fields: other columns, by name.
    """
    path.parent.mkdir(parents=True, mode=0o700)
    database = Database(f"sqlite:///{path}")
    migrate(database)
    definition = JobDefinition(
        name="",
        namespace="bench",
        docker_image_repo=image[0],
        docker_image_tag=image[1],
        command="true",
        region_name=region,
        is_schedule_active=True,
    )
    values = {
        **values_of(definition),
        **values_of(ScheduleCursor()),
        "revision": 0,
        "created_by": "bench",
        "created_at": datetime.now(UTC),
        "updated_at": datetime.now(UTC),
        "active_since": datetime.now(UTC),
    }
    for one in ("name", "schedule_mode", "next_due_at"):
        values.pop(one, None)
    same = {name: _bound(name, value) for name, value in values.items()} | fields
    columns = [*same, "name", "schedule_mode", "next_due_at"]

    def rows() -> Iterator[tuple[Any, ...]]:
        values = tuple(same.values())
        for number, (first, seconds) in enumerate(schedules):
            text = f"R/{first.isoformat().replace('+00:00', 'Z')}/PT{seconds}S"
            yield (*values, f"job {number}", text, to_micros(first))

    marks = ",".join("?" * len(columns))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.executemany(f"INSERT INTO jobs ({','.join(columns)}) VALUES ({marks})", rows())  # noqa: S608
    os.sync()  # else the machine writes all this to disk while the daemon is being measured
