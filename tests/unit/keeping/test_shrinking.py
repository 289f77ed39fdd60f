"""What is cleared away makes room: the database's file shrinks, and what stays free is used again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.domain.clock import SystemClock
from scheduler.keeping.cleaner import Cleaner
from scheduler.keeping.pace import SHORTEST_PAUSE, TARGET, Pace
from scheduler.keeping.retention import Retention
from scheduler.keeping.shrinking import LEAST_FREE, pages
from scheduler.store import execs
from scheduler.store.database import Database
from scheduler.store.logs import ChunkRow, insert
from scheduler.store.migrate import upgrade

MEGABYTE = 1024 * 1024
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database in a file."""
    made = Database(f"sqlite:///{tmp_path / 'timeball.db'}")
    made.migrate(upgrade)
    yield made
    await made.close()


async def write_log(database: Database, exec_id: str, megabytes: int) -> None:
    """Store a log of so many megabytes that cannot be compressed."""
    for seq in range(megabytes * 4):
        data = os.urandom(MEGABYTE // 4)
        row = ChunkRow(exec_id, seq, NOW, NOW, 0, 0, 1, 0, None, None, len(data), data)
        await database.write(lambda c, row=row: insert(c, [row]), durable=False)


async def clean(database: Database) -> None:
    """One round."""
    kept = Retention(0, 0, 0)
    await Cleaner(database, SystemClock(), kept, instance="a", interval=timedelta(seconds=60)).clean()


async def test_the_file_shrinks_when_large_logs_have_gone(database: Database, tmp_path: Path) -> None:
    """By all of them, but for a little that stays free to be used again."""
    await write_log(database, "stays", 2)
    await write_log(database, "goes", 12)
    before = await database.read(pages)
    await database.write(lambda c: execs.delete(c, "goes"))

    await clean(database)
    after = await database.read(pages)
    await database.close()

    assert before.free < LEAST_FREE
    assert (before.total - after.total) * after.size > 10 * MEGABYTE
    assert after.free == after.to_stay_free
    assert (tmp_path / "timeball.db").stat().st_size == after.total * after.size


async def test_what_is_free_is_used_again(database: Database) -> None:
    """A log of the same size as one that was deleted makes the file no larger, whether or not it has shrunk."""
    await write_log(database, "first", 6)
    largest = await database.read(pages)
    await database.write(lambda c: execs.delete(c, "first"))
    await clean(database)

    await write_log(database, "second", 6)

    assert (await database.read(pages)).total <= largest.total + 8


async def test_a_little_free_space_is_left_alone(database: Database) -> None:
    """Giving back and taking again would only be work."""
    await write_log(database, "goes", 1)
    before = await database.read(pages)
    await database.write(lambda c: execs.delete(c, "goes"))

    await clean(database)

    assert (await database.read(pages)).total == before.total


def test_a_batch_that_took_long_is_followed_by_smaller_ones() -> None:
    """As much smaller as it took too long, and never by nothing at all."""
    pace = Pace(100, 1_000)

    pace.took(TARGET * 4)
    assert pace.size == 25
    pace.took(TARGET * 1_000)
    assert pace.size == 1


def test_quick_batches_grow_up_to_a_limit() -> None:
    """Twice as large each time."""
    pace = Pace(100, 350)

    sizes = []
    for _ in range(3):
        pace.took(TARGET / 10)
        sizes.append(pace.size)

    assert sizes == [200, 350, 350]


def test_clearing_leaves_most_of_the_time_to_others() -> None:
    """The pause is three times as long as the batch was, and never nothing."""
    pace = Pace(100, 1_000)

    assert pace.took(0.02) == pytest.approx(0.06)
    assert pace.took(0.0) == SHORTEST_PAUSE
