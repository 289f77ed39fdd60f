"""The stage of these tests: a daemon on an engine in memory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scheduler.running import orphans, recording, regions, run, starting
from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from tests.lab.stage import Stage


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("database") / "timeball.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    asyncio.run(database.close())
    return path


@pytest.fixture
async def stage(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A started daemon on an engine in memory, with little patience."""
    shutil.copy(migrated, tmp_path / "timeball.db")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(run, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(recording, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(starting, "LIMIT", 0.2)
    monkeypatch.setattr(starting, "INTERVAL", 0.01)
    monkeypatch.setattr(run, "INSPECT_INTERVAL", 0.1)
    monkeypatch.setattr(regions, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(orphans, "INTERVAL", 0.05)
    made = Stage(tmp_path)
    await made.start()
    yield made
    await made.stop()
    await made.engine.end()
