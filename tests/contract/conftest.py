"""Databases of every kind that the store supports, each test with an empty one of its own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from scheduler.store.database import Database
from scheduler.store.migrate import upgrade

#: Seconds to wait for a lock. A little sooner, PostgreSQL ends sessions that are idle in a transaction, as those
#: of a busy machine are now and then.
PATIENCE = 60


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
async def database(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> AsyncIterator[Database]:
    """An empty database with all tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'timeball.db'}"
        shutil.copyfile(migrated, tmp_path / "timeball.db")
    else:
        template = request.getfixturevalue("migrated_postgresql")
        url = empty_postgresql(request.getfixturevalue("postgresql_url"), template=template)
    database = Database(url, wait_seconds=PATIENCE)
    yield database
    await database.close()


def another(database: Database) -> Database:
    """The same database as another daemon sees it, with a writer of its own."""
    return Database(database.url.render_as_string(hide_password=False), wait_seconds=PATIENCE)


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_url: str) -> str:
    """The name of a database with all tables and nothing in them, which new ones can be copies of."""
    url = empty_postgresql(postgresql_url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        upgrade(connection)
    engine.dispose()
    return str(sa.make_url(url).database)


def empty_postgresql(maintenance: str, *, template: str = "template1") -> str:
    """The URL of a new database on the server with that maintenance database, as a copy of another."""
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(maintenance, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    engine.dispose()
    return sa.make_url(maintenance).set(database=name).render_as_string(hide_password=False)
