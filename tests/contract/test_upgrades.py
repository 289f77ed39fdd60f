"""A database of the first revision, with rows in every table as its version wrote them, is upgraded without loss."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.domain.execution import ExecStatus
from scheduler.store import execs, jobs
from scheduler.store.database import Database
from scheduler.store.migrate import migrate, upgrade
from scheduler.store.tables import metadata
from tests.contract.conftest import empty_postgresql

#: What a daemon of that version had stored when it was killed: runs of every status, one whose launch had begun.
WRITTEN = Path(__file__).with_name("data") / "database-0001.sql"
FIRST = "0001"

#: The revisions that databases of users may have been made with, by their SHA-256.
PUBLISHED = {"0001_first_tables.py": "b39a6da51b962a817f0b727082ba570877b4a97172a302f198a351d3bfed7d43"}

Rows = dict[str, list[dict[str, Any]]]


def _rows(connection: sa.Connection, columns: dict[str, list[str]]) -> Rows:
    """The rows of every table, with these columns only, in a fixed order."""
    found = {}
    for name, names in columns.items():
        table = metadata.tables[name]
        query = sa.select(*(table.c[column] for column in names)).order_by(*table.primary_key)
        found[name] = [dict(row) for row in connection.execute(query).mappings()]
    return found


def _columns(connection: sa.Connection) -> dict[str, list[str]]:
    look = sa.inspect(connection)
    return {name: [column["name"] for column in look.get_columns(name)] for name in metadata.tables}


@pytest.fixture
def written(tmp_path: Path) -> str:
    """The URL of that database, in SQLite."""
    path = tmp_path / "timeball.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(WRITTEN.read_text(encoding="utf-8"))
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def old(request: pytest.FixtureRequest, written: str) -> Iterator[sa.Engine]:
    """A database of the first revision with these rows."""
    source = sa.create_engine(written)
    if request.param == "sqlite":
        yield source
        source.dispose()
        return
    copy = sa.create_engine(empty_postgresql(request.getfixturevalue("postgresql_url")))
    with source.begin() as reading, copy.begin() as writing:
        upgrade(writing, FIRST)
        columns = _columns(reading)
        rows = _rows(reading, columns)
        for table in metadata.sorted_tables:
            names = columns[table.name]
            writing.execute(sa.delete(table))
            writing.execute(
                sa.insert(table), [{name: row[name] for name in names} for row in rows[table.name]]
            )
    yield copy
    source.dispose()
    copy.dispose()


async def test_an_upgrade_keeps_every_row_of_every_table(old: sa.Engine) -> None:
    """And brings the database to the latest revision."""
    with old.begin() as connection:
        columns = _columns(connection)
        before = _rows(connection, columns)
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == FIRST
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    assert {run["status"] for run in before["execs"]} >= {"W", "R", "S", "F"}

    database = Database(old.url.render_as_string(hide_password=False))
    migrate(database)
    try:
        with old.begin() as connection:
            assert _rows(connection, columns) == before
            # What the code expects of the tables is what the migrations have made.
            assert {name: set(names) for name, names in _columns(connection).items()} == {
                table.name: set(table.c.keys()) for table in metadata.sorted_tables
            }
        for row in before["execs"]:
            run = await database.read(lambda connection, key=row["id"]: execs.get(connection, key))
            assert run is not None
        for row in before["jobs"]:
            assert await database.read(lambda connection, key=row["id"]: jobs.get(connection, key))
    finally:
        await database.close()


async def test_a_run_whose_launch_had_begun_before_the_upgrade_is_not_started_again(old: sa.Engine) -> None:
    """Whether its engine was asked to start it was not stored then; a run that only waited is started as ever."""
    database = Database(old.url.render_as_string(hide_password=False))
    migrate(database)
    try:
        with old.begin() as connection:
            runs = [execs.from_row(row) for row in connection.execute(sa.select(execs.execs)).mappings()]
    finally:
        await database.close()
    asked = {run.id for run in runs if run.start_requested_at is not None}
    assert asked == {run.id for run in runs if run.ended_at is None and run.dispatched_at is not None}
    assert any(run.status is ExecStatus.WAITING and run.id in asked for run in runs)
    assert any(run.status is ExecStatus.WAITING and run.id not in asked for run in runs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_revision_never_changes(name: str) -> None:
    """A database that was made with it would not get the change: the schema changes by a new revision."""
    content = (resources.files("scheduler.store") / "migrations/versions" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == PUBLISHED[name]
