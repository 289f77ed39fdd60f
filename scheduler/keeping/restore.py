"""Replaces the database of a data directory with a backup, while no daemon uses it.

The backup is checked first and copied under a temporary name. The old database is kept next to it. The last step is a
single rename: if the command is interrupted before it, nothing has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Final

from scheduler.domain.errors import TimeballError
from scheduler.keeping.snapshot import MOMENTARY, TAKEN_AT
from scheduler.process.data_dir import LOCK_FILE, TOKEN_FILE
from scheduler.store.migrate import HEAD, VERSION_TABLE
from scheduler.store.tables import from_micros

#: The first bytes of SQLite files (https://www.sqlite.org/fileformat2.html, 1.3).
MAGIC: Final = b"SQLite format 3\x00"
OWN_TABLES: Final = frozenset({"facts", "jobs", "execs", "occurrences", "log_chunks", VERSION_TABLE})
#: Number of lines that are shown of the errors in a damaged file.
LINES_SHOWN: Final = 3
#: Number of bytes copied at a time.
PIECE: Final = 1024 * 1024


class RestoreError(TimeballError):
    """The backup cannot be restored; nothing was changed."""


class NotForcedError(RestoreError):
    """There is already a database, and replacing it was not forced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """The properties of a backup.

    Attributes:
        version: version of its schema.
        taken_at: when it was taken (UTC); None if the file is a plain copy of a database.
        installation: the id in the labels of its containers.
        jobs: number of jobs.
        execs: number of runs; `open_execs` of them have not ended.
    """

    version: str
    taken_at: datetime | None
    installation: str
    jobs: int
    execs: int
    open_execs: int


def examine_backup(file: Path) -> BackupFacts:
    """Check that the file is an intact backup that this version can use, and describe it.

    Raises:
        RestoreError: it is not; the message says why, and what to do.
    """
    try:
        with file.open("rb") as opened:
            begins = opened.read(len(MAGIC))
    except OSError as error:
        raise RestoreError(f"{file} cannot be read: {error.strerror or error}") from error
    if begins != MAGIC:
        raise RestoreError(f"{file} is not a Timeball backup: it is not a SQLite database")
    if file.with_name(file.name + "-wal").exists():
        raise RestoreError(
            f"{file} has a write-ahead log next to it ({file.name}-wal): it is a database that is or was in use, "
            "not a backup. Take a backup with 'timeball backup'"
        )
    try:
        # Immutable: no files are created next to it, and a read-only file can be used.
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as backup:
            return _examine(file, backup)
    except sqlite3.Error as error:
        raise RestoreError(f"{file} is damaged: {error}. Use another backup") from error


def _examine(file: Path, backup: sqlite3.Connection) -> BackupFacts:
    tables = {name for (name,) in backup.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if missing := sorted(OWN_TABLES - tables):
        raise RestoreError(f"{file} is not a Timeball backup: the table {missing[0]} is missing")
    row = backup.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
    version = str(row[0]) if row else ""
    if version not in known_versions():
        newer = f"from a newer version of Timeball (schema {version}, not {HEAD}): update Timeball first"
        raise RestoreError(
            f"{file} is {newer if version > HEAD else f'not a Timeball backup (schema {version!r})'}"
        )
    errors = [row[0] for row in backup.execute("PRAGMA integrity_check(100)") if row[0] != "ok"]
    errors += [
        f"a row of {row[0]} refers to a missing row of {row[2]}"
        for row in backup.execute("PRAGMA foreign_key_check")
    ]
    if errors:
        raise RestoreError(f"{file} is damaged: {'; '.join(errors[:LINES_SHOWN])}. Use another backup")
    facts = dict(backup.execute("SELECT name, value FROM facts").fetchall())
    taken_at = facts.get(TAKEN_AT)

    def count(what: str) -> int:
        return int(backup.execute(f"SELECT count(*) FROM {what}").fetchone()[0])  # noqa: S608 - fixed texts

    return BackupFacts(
        version=version,
        taken_at=None if taken_at is None else from_micros(int(taken_at)),
        installation=facts.get("installation", ""),
        jobs=count("jobs WHERE deleted_at IS NULL"),
        execs=count("execs"),
        open_execs=count("execs WHERE ended_at IS NULL"),
    )


def known_versions() -> frozenset[str]:
    """The schema versions that this version can migrate."""
    steps = resources.files("scheduler.store") / "migrations" / "versions"
    return frozenset(step.name.split("_")[0] for step in steps.iterdir() if step.name[:1].isdigit())


def restore(
    file: Path,
    data_dir: Path,
    database: Path,
    *,
    now: datetime,
    force: bool,
    progress: Callable[[int], object] = lambda _: None,
) -> Path | None:
    """Replace the database with a backup that was checked.

    Args:
        file: the backup; see `examine_backup`.
        data_dir: the daemon's data directory; created if it is missing.
        database: the database file, usually in the data directory.
        now: the current time (UTC), for the name of the old database.
        force: replace an existing database.
        progress: called with the number of bytes copied since the last call.

    Returns:
        The path of the old database; None if there was none.

    Raises:
        NotForcedError: there is already a database, and `force` was not given.
        RestoreError: a daemon uses the directory, or a file cannot be written.
    """
    draft = database.with_name(database.name + ".restoring")
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(data_dir):
            if database.exists() and not force:
                raise NotForcedError(
                    f"{data_dir} already contains a database ({database.name}). Use --force to replace it "
                    "(the old one is kept next to it), or choose another directory with --data-dir"
                )
            _copy(file, draft, progress)
            try:
                _make_ready(draft)
                kept = _keep_aside(database, now)
                draft.replace(database)
                _sync_directory(database.parent)
            finally:
                for left in (draft, draft.with_name(draft.name + "-journal")):
                    left.unlink(missing_ok=True)
    except sqlite3.Error as error:
        raise RestoreError(f"{database} cannot be written: {error}") from error
    except OSError as error:
        raise RestoreError(
            f"{error.filename or database} cannot be written: {error.strerror or error}"
        ) from error
    return kept


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Keep daemons out with the daemon's own lock."""
    descriptor = os.open(data_dir / LOCK_FILE, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RestoreError(
                f"A daemon is using {data_dir}. Stop it, then restore the backup again"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _copy(file: Path, draft: Path, progress: Callable[[int], object]) -> None:
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with file.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        while piece := source.read(PIECE):
            target.write(piece)
            progress(len(piece))


def _make_ready(draft: Path) -> None:
    """Delete what was only true for the daemon that the backup is from, and sync the file."""
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE").fetchone()
        tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in (name for name in MOMENTARY if name in tables):
            copy.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    with draft.open("rb") as file:
        os.fsync(file.fileno())


def _keep_aside(database: Path, now: datetime) -> Path | None:
    """Keep the old database under a second name, and move its write-ahead log away.

    SQLite would apply a remaining log to the new database.
    """
    if not database.exists():
        for end in ("-wal", "-shm"):
            database.with_name(database.name + end).unlink(missing_ok=True)
        return None
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, isolation_level=None, timeout=1)) as old:
        # It may be damaged; then the log is kept next to it unchanged.
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    kept = database.with_name(f"{database.name}.before-restore-{now:%Y%m%dT%H%M%SZ}")
    number = 1
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{database.name}.before-restore-{now:%Y%m%dT%H%M%SZ}-{number}")
    os.link(database, kept)
    for end in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            database.with_name(database.name + end).rename(kept.with_name(kept.name + end))
    return kept


def token_works(data_dir: Path, database: Path) -> bool:
    """Whether the data directory's token file contains an administrator's token that the database knows."""
    try:
        token = (data_dir / TOKEN_FILE).read_text(encoding="ascii").strip()
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as stored:
            digest = hashlib.sha256(token.encode()).hexdigest()
            query = "SELECT 1 FROM tokens WHERE sha256 = ? AND role = 'admin'"
            return stored.execute(query, (digest,)).fetchone() is not None
    except (OSError, UnicodeDecodeError, sqlite3.Error):
        return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
