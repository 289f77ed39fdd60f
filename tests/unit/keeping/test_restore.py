"""A backup is one state of the database, whole; and what is put in its place is checked before."""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.keeping.restore import (
    NotForcedError,
    RestoreError,
    examine_backup,
    known_versions,
    restore,
    token_works,
)
from scheduler.keeping.snapshot import TAKEN_AT, SnapshotCancelledError, take_snapshot
from scheduler.store.database import Database
from scheduler.store.migrate import HEAD, upgrade

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORLD = 0o077


@pytest.fixture
async def live(tmp_path: Path) -> Path:
    """A database as a daemon leaves it."""
    path = tmp_path / "live" / "timeball.db"
    path.parent.mkdir()
    database = Database(f"sqlite:///{path}")
    database.migrate(upgrade)
    await database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO facts VALUES ('installation', 'abc')")
        connection.execute("INSERT INTO instances VALUES ('me', 1, 2)")
    return path


@pytest.fixture
def backup(live: Path, tmp_path: Path) -> Path:
    """A backup of it."""
    path = tmp_path / "backup.db"
    take_snapshot(live, path, facts=lambda: {TAKEN_AT: "1000000"})
    return path


@pytest.fixture
def change(backup: Path) -> Callable[[str], None]:
    """Changes the backup."""

    def run(statement: str) -> None:
        with closing(sqlite3.connect(backup)) as connection, connection:
            connection.execute(statement)

    return run


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    """What a query answers."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def left_beside(path: Path) -> list[str]:
    """Other files in the directory."""
    return sorted(file.name for file in path.parent.iterdir() if file != path)


def test_a_copy_is_one_file_for_its_owner_that_says_when_it_was_taken(backup: Path) -> None:
    """Without leases: they are true of the daemon that runs."""
    assert backup.stat().st_mode & WORLD == 0
    assert not list(backup.parent.glob("backup.db-*"))
    facts = examine_backup(backup)
    assert facts.taken_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (facts.installation, facts.version, facts.jobs, facts.execs) == ("abc", HEAD, 0, 0)
    assert rows(backup, "SELECT * FROM instances") == []


def test_a_copy_is_one_state_however_much_is_written_meanwhile(live: Path, tmp_path: Path) -> None:
    """A writer that keeps two rows equal is never seen between its two writes, nor does the copy begin again."""
    with closing(sqlite3.connect(live)) as connection, connection:
        connection.executemany(
            "INSERT INTO facts VALUES (?, ?)", [(f"{n:06}", "x" * 2_000) for n in range(4_000)]
        )
        connection.executemany("INSERT INTO facts VALUES (?, '0')", [("000000-left",), ("zzz-right",)])
    stop = threading.Event()
    written = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(live, timeout=10)) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                with connection:
                    for name in ("000000-left", "zzz-right"):
                        connection.execute("UPDATE facts SET value = ? WHERE name = ?", (str(number), name))
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        for number in range(3):
            copy = tmp_path / f"copy-{number}.db"
            take_snapshot(live, copy, facts=dict)
            values = rows(copy, "SELECT value FROM facts WHERE name IN ('000000-left', 'zzz-right')")
            assert len(set(values)) == 1
            examine_backup(copy)
    finally:
        stop.set()
        writer.join()


def test_a_copy_that_nobody_wants_any_more_leaves_nothing(live: Path, tmp_path: Path) -> None:
    """As when the client has gone."""
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(SnapshotCancelledError):
        take_snapshot(live, tmp_path / "copy.db", facts=dict, cancelled=cancelled)

    assert list(tmp_path.glob("copy*")) == []


def test_a_file_that_is_there_is_not_copied_over(live: Path, tmp_path: Path) -> None:
    """Nor removed."""
    (tmp_path / "there").write_text("precious")

    with pytest.raises(FileExistsError):
        take_snapshot(live, tmp_path / "there", facts=dict)

    assert (tmp_path / "there").read_text() == "precious"


def _junk(path: Path) -> None:
    path.write_text("{}")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribbled(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 4)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (_junk, "it is not a SQLite database"),
        (lambda path: path.write_bytes(b""), "it is not a SQLite database"),
        (_cut, "is damaged"),
        (_scribbled, "is damaged"),
        (lambda path: path.with_name("backup.db-wal").write_bytes(b"x"), "write-ahead log next to it"),
    ],
)
def test_what_is_no_whole_backup_is_refused(backup: Path, spoil: Callable[[Path], None], words: str) -> None:
    """Each with what is wrong with it."""
    spoil(backup)

    with pytest.raises(RestoreError, match=words):
        examine_backup(backup)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE execs", "is not a Timeball backup: the table execs is missing"),
        ("UPDATE alembic_version SET version_num = '9999'", "from a newer version of Timeball"),
        ("UPDATE alembic_version SET version_num = '0000'", "is not a Timeball backup"),
        ("DELETE FROM alembic_version", "is not a Timeball backup"),
    ],
)
def test_another_programs_or_versions_database_is_refused(
    backup: Path, change: Callable[[str], None], statement: str, words: str
) -> None:
    """Nothing is done that the present tables do not fit."""
    change(statement)

    with pytest.raises(RestoreError, match=words):
        examine_backup(backup)


def test_the_present_version_is_among_those_that_can_be_taken_up() -> None:
    """And every step before it."""
    assert max(known_versions()) == HEAD


def test_a_backup_is_put_into_an_empty_directory(backup: Path, tmp_path: Path) -> None:
    """Which is made, for its owner alone."""
    directory = tmp_path / "new"

    assert restore(backup, directory, directory / "timeball.db", now=NOW, force=False) is None

    assert directory.stat().st_mode & WORLD == 0
    assert (directory / "timeball.db").stat().st_mode & WORLD == 0
    assert left_beside(directory / "timeball.db") == ["daemon.lock"]
    assert rows(directory / "timeball.db", "SELECT value FROM facts WHERE name = 'installation'") == [
        ("abc",)
    ]


def test_a_database_that_is_there_is_replaced_only_when_that_is_said(
    backup: Path, live: Path, change: Callable[[str], None]
) -> None:
    """And is kept, with what stood only in its write-ahead log."""
    change("UPDATE facts SET value = 'restored' WHERE name = 'installation'")
    with pytest.raises(NotForcedError, match="Use --force to replace it"):
        restore(backup, live.parent, live, now=NOW, force=False)
    with closing(sqlite3.connect(live)) as open_one:
        open_one.execute("UPDATE facts SET value = 'newest'")
        open_one.commit()

        kept = restore(backup, live.parent, live, now=NOW, force=True)

    assert kept is not None
    assert rows(kept, "SELECT value FROM facts") == [("newest",)]
    query = "SELECT value FROM facts WHERE name = 'installation'"
    assert rows(live, query) == [("restored",)]


def test_a_damaged_database_is_replaced_as_well(backup: Path, live: Path) -> None:
    """That is what backups are for; whatever it was is kept."""
    live.write_bytes(b"damaged")

    kept = restore(backup, live.parent, live, now=NOW, force=True)

    assert kept is not None
    assert kept.read_bytes() == b"damaged"
    examine_backup(live)


def test_nothing_is_restored_under_a_running_daemon(backup: Path, live: Path) -> None:
    """Its lock keeps it out, and nothing has changed."""
    before = live.read_bytes()
    with (live.parent / "daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(RestoreError, match="A daemon is using"):
            restore(backup, live.parent, live, now=NOW, force=True)

    assert live.read_bytes() == before
    assert not list(live.parent.glob("*.restoring*"))


@pytest.mark.parametrize("text", ["", "tbl_unknown", "\xff"])
def test_a_token_file_that_the_backup_does_not_know_is_said_to_be_of_no_use(live: Path, text: str) -> None:
    """The next start makes one that works."""
    (live.parent / "admin.token").write_bytes(text.encode("latin-1"))

    assert not token_works(live.parent, live)
