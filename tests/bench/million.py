"""Fills a database with schedules, by the row, as a long life would have."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from scheduler.store.tables import to_micros


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
    now = to_micros(datetime.now(UTC))
    same = {
        "namespace": "bench",
        "docker_image_repo": image[0],
        "docker_image_tag": image[1],
        "command": json.dumps("true"),
        "resource_size": "XXS",
        "region_name": region,
        "runtime_vars": "{}",
        "labels": "{}",
        "email_enabled": 0,
        "is_schedule_active": 1,
        "schedule_timezone": None,
        "misfire_policy": "latest",
        "misfire_grace_seconds": 1,
        "concurrency_policy": "allow",
        "timeout_seconds": None,
        "stop_grace_seconds": 10,
        "max_retries": 0,
        "retry_backoff_seconds": 1,
        "pull_policy": "if_not_present",
        "revision": 0,
        "created_by": "bench",
        "created_at": now,
        "updated_at": now,
        "active_since": now,
        **fields,
    }
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
