"""A database in trouble: every door answers in time, says what it is, and works again afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from scheduler.domain.errors import UnavailableError
from scheduler.process.metrics import REGISTRY
from scheduler.store import database as database_module
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade
from scheduler.store.tables import facts
from scheduler.store.trouble import is_trouble, kind_of

#: For how long a lock is waited for, and for how long a busy machine may hold up what is not to be refused.
LITTLE, PATIENT = 0.1, 60.0


@pytest.fixture
async def quick(tmp_path: Path) -> AsyncIterator[Database]:
    """A database that waits for no lock for long."""
    made = Database(f"sqlite:///{tmp_path / 'timeball.db'}", wait_seconds=LITTLE)
    made.migrate(upgrade)
    # SQLite was told when it connected; the queue in front of it, which a busy machine holds up, is patient.
    made._wait_seconds = PATIENT
    await made.write(lambda connection: _add(connection, "installation"))
    yield made
    await made.close()


def _add(connection: Connection, name: str, size: int = 1) -> None:
    connection.execute(facts.insert().values(name=name, value="x" * size))


def _refusals(kind: str) -> float:
    labels = {"door": "write", "kind": kind}
    return REGISTRY.get_sample_value("timeball_database_refusals_total", labels) or 0.0


async def test_a_database_without_room_refuses_whole_transactions_until_there_is_room(
    quick: Database,
) -> None:
    """`max_page_count` stands for the disk; of a group of writes, none is stored by half."""
    pages = await quick.read(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar())
    await quick.write(lambda connection: _limit(connection, pages))
    before = _refusals("full")

    def two(connection: Connection) -> None:
        _add(connection, "small")
        _add(connection, "large", 1_000_000)

    results = await asyncio.gather(*(quick.write(two) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results), results
    assert "disk is full" in str(results[0])
    assert _refusals("full") > before
    assert quick.trouble is not None
    assert await quick.read(_names) == ["installation"]

    recovered = asyncio.Event()
    quick.on_recovery(recovered.set)
    with suppress(UnavailableError):
        await quick.write(lambda connection: _limit(connection, 1_000_000))
    await quick.write(two)
    async with asyncio.timeout(60):
        await recovered.wait()
    assert await quick.read(_names) == ["installation", "large", "small"]
    async with asyncio.timeout(60):
        while await quick.probe.trouble() is not None:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)


def _limit(connection: Connection, pages: object) -> None:
    connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


def _names(connection: Connection) -> list[str]:
    return sorted(connection.execute(sa.select(facts.c.name)).scalars())


async def test_whatever_waits_behind_a_lock_is_refused_in_a_bounded_time(
    quick: Database, tmp_path: Path
) -> None:
    """Also what comes late in a long queue: each group would otherwise wait for the lock anew."""
    with closing(sqlite3.connect(tmp_path / "timeball.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        quick._wait_seconds = LITTLE
        writes = [quick.write(lambda connection: _add(connection, "never")) for _ in range(1000)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        quick._wait_seconds = PATIENT
        assert all(isinstance(result, UnavailableError) for result in results)
        assert _refusals("late")
        assert _refusals("locked")
        assert "locked" in str(await quick.probe.trouble())
        assert await quick.read(_names) == ["installation"]
        other.execute("ROLLBACK")
    await quick.write(lambda connection: _add(connection, "afterwards"))
    assert quick.trouble is None


async def test_a_database_that_hangs_keeps_nobody_for_ever(
    quick: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked of it may yet be done, which the error says; afterwards all is well."""
    monkeypatch.setattr(database_module, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(database_module, "HUNG_SECONDS", 0.05)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(connection: Connection) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        _add(connection, "late")

    for _ in range(2):
        with pytest.raises(UnavailableError, match="may still take effect"):
            await quick.write(hang if not quick.trouble else (lambda connection: _add(connection, "later")))
    assert _refusals("hung")
    monkeypatch.undo()
    release.set()
    async with asyncio.timeout(60):
        while await quick.read(_names) != ["installation", "late", "later"]:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
    await quick.write(lambda connection: _add(connection, "last"))
    assert quick.trouble is None


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("database is locked", "locked"),
        ("canceling statement due to lock timeout", "locked"),
        ("database or disk is full", "full"),
        ('could not extend file "base/1": No space left on device', "full"),
        ("attempt to write a readonly database", "readonly"),
        ("cannot execute INSERT in a read-only transaction", "readonly"),
        ("unable to open database file", "files"),
        ("sorry, too many clients already", "files"),
        ("database disk image is malformed", "damaged"),
        ("server closed the connection unexpectedly", "unreachable"),
        ("the database system is starting up", "unreachable"),
        ("disk I/O error", "disk"),
        ("something else", "other"),
    ],
)
def test_each_trouble_has_a_name(words: str, kind: str) -> None:
    """As the metric counts it."""
    error = OperationalError("INSERT", {}, Exception(words))
    assert is_trouble(error)
    assert kind_of(error) == kind
