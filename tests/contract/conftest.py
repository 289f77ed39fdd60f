"""Databases of every kind that the store supports, each test with an empty one of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from scheduler.store.database import Database
from scheduler.store.migrate import upgrade


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with all tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'timeball.db'}"
    else:
        url = empty_postgresql(request.getfixturevalue("postgresql_url"))
    database = Database(url)
    database.migrate(upgrade)
    yield database
    await database.close()


def empty_postgresql(maintenance: str) -> str:
    """The URL of a new database on the server with that maintenance database."""
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(maintenance, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return sa.make_url(maintenance).set(database=name).render_as_string(hide_password=False)
