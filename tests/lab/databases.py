"""A database with all tables and nothing in them, to be copied: making the tables anew takes each time as long."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scheduler.store.database import Database
from scheduler.store.migrate import upgrade

#: What SQLite's database is called in a data directory.
NAME = "timeball.db"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a database of SQLite."""
    path = tmp_path_factory.mktemp("database") / NAME
    database = Database(f"sqlite:///{path}")
    database.migrate(upgrade)
    with ThreadPoolExecutor(1) as aside:  # the loop that all tests of a session may share stays as it is
        aside.submit(asyncio.run, database.close()).result()
    return path


def put_into(folder: Path, migrated: Path) -> None:
    """Give a data directory that was never used its database, as a first start would make it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(migrated, folder / NAME)
    (folder / NAME).chmod(0o600)
