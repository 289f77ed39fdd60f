"""Commits whose answer is lost with the connection: whether they happened is found out, not guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.errors import UnavailableError
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade
from scheduler.store.tables import facts
from tests.contract.conftest import empty_postgresql
from tests.lab.postgresql import PostgreSQL
from tests.lab.proxy import EngineProxy

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql_url: str) -> str:
    """The URL of an empty PostgreSQL database."""
    return empty_postgresql(postgresql_url)


@pytest.fixture
async def door(postgresql: PostgreSQL) -> AsyncIterator[EngineProxy]:
    """A door to the server that can be slammed."""
    async with EngineProxy(str(postgresql.socket)) as made:
        yield made


@pytest.fixture
async def database(url: str, door: EngineProxy) -> AsyncIterator[Database]:
    """A database behind the door."""
    made = Database(sa.make_url(url).set(port=door.port).render_as_string(hide_password=False))
    await asyncio.to_thread(made.migrate, upgrade)
    yield made
    await made.close()


async def _break_at_commit(database: Database, door: EngineProxy, url: str, *, wanted: int) -> int:
    """Write a row, and break the connection amid the commit once so many such rows are stored."""
    before = door.held

    def work(connection: Connection) -> int:
        connection.execute(facts.insert().values(name="x", value="1"))
        return 7

    writing = asyncio.create_task(database.write(work))
    async with asyncio.timeout(60):
        while door.held == before or await asyncio.to_thread(_stored, url) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    door.cut()
    door.release()
    return await writing


def _stored(url: str) -> int:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            query = sa.select(sa.func.count()).select_from(facts).where(facts.c.name == "x")
            return int(connection.execute(query).scalar_one())
    finally:
        engine.dispose()


async def test_a_commit_that_happened_is_taken_for_one_though_its_answer_is_lost(
    database: Database, door: EngineProxy, url: str
) -> None:
    """Whoever wrote is given what was written, once."""
    door.hold_answers("COMMIT")
    assert await _break_at_commit(database, door, url, wanted=1) == 7
    assert _stored(url) == 1
    assert database.trouble is None


async def test_a_commit_that_did_not_happen_is_refused(
    database: Database, door: EngineProxy, url: str
) -> None:
    """And can be made again."""
    door.hold("COMMIT")
    with pytest.raises(UnavailableError):
        await _break_at_commit(database, door, url, wanted=0)
    assert _stored(url) == 0
    assert database.trouble is not None
    recovered = asyncio.Event()
    database.on_recovery(recovered.set)
    await database.write(lambda connection: connection.execute(facts.insert().values(name="x", value="2")))
    async with asyncio.timeout(60):
        await recovered.wait()
    assert database.trouble is None
