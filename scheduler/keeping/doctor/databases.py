"""Checks the database: integrity, version and size. Only reads, even while a daemon is running."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from scheduler.domain.errors import UnavailableError
from scheduler.keeping.doctor.findings import Finding, ok, problem, warning
from scheduler.store import execs, identity
from scheduler.store.migrate import HEAD, VERSION_TABLE
from scheduler.store.tables import facts

MIB: Final = 1024 * 1024
#: A write-ahead log larger than this is not being checkpointed as it should.
LARGE_LOG: Final = 512 * MIB
LINES_SHOWN: Final = 3
DAMAGED: Final = "Stop the daemon and restore a backup with 'timeball restore'"


class StoredView:
    """Read access to the database, for checks that need it.

    Attributes:
        url: SQLAlchemy's URL of the database.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for other databases."""
        if self.url.get_backend_name() != "sqlite" or not self.url.database:
            return None
        return Path(self.url.database).absolute()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only connection.

        Raises:
            UnavailableError: the database cannot be opened or read.
        """
        file = self.file
        if file is None:
            engine = sa.create_engine(self.url)
        else:
            uri = f"{file.as_uri()}?mode=ro"
            engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=10))
        try:
            with engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise UnavailableError(str(getattr(error, "orig", error))) from error
        finally:
            engine.dispose()

    def installation(self) -> str | None:
        """The id in the labels of this daemon's containers; None before the first start."""
        with self.reading() as connection:
            value = connection.execute(
                sa.select(facts.c.value).where(facts.c.name == "installation")
            ).scalar()
        return None if value is None else str(value)

    def open_execs(self, exec_ids: Sequence[str]) -> set[str]:
        """The runs of these that have not ended."""
        with self.reading() as connection:
            return execs.existing_open(connection, exec_ids)

    def live_instances(self, now: datetime) -> set[str]:
        """The daemons whose lease has not expired."""
        with self.reading() as connection:
            return identity.live_instances(connection, now)


def check_database(stored: StoredView) -> list[Finding]:
    """Check that the database can be read and is in order."""
    file = stored.file
    if file is not None and not file.exists():
        return [
            warning(
                "database",
                f"The database does not exist yet ({file})",
                "Start the daemon once, or choose the right directory with --data-dir",
                path=str(file),
            )
        ]
    try:
        with stored.reading() as connection:
            findings = [_version(connection)]
            if file is None:
                findings.append(_postgresql(connection))
    except (UnavailableError, ImportError) as error:
        remedy = (
            DAMAGED
            if file is not None
            else "Check that the server is running and that database_url is correct"
        )
        return [problem("database", f"The database cannot be read: {error}", remedy)]
    if file is not None:
        findings += _sqlite(file)
    return findings


def _version(connection: Connection) -> Finding:
    check = "database version"
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return warning(
            check, "The database has no tables yet", "Start the daemon once", version=None, ours=HEAD
        )
    version = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if version == HEAD:
        return ok(check, f"The schema is up to date ({HEAD})", version=version, ours=HEAD)
    if version is not None and str(version) > HEAD:
        return problem(
            check,
            f"The schema is from a newer version of Timeball ({version}; this version uses {HEAD})",
            "Use that version, or restore an older backup",
            version=version,
            ours=HEAD,
        )
    return warning(
        check,
        f"The schema is from an older version of Timeball ({version}; this version uses {HEAD})",
        "Take a backup; the next start of the daemon updates the schema",
        version=version,
        ours=HEAD,
    )


def _postgresql(connection: Connection) -> Finding:
    size = int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
    server = str(connection.execute(sa.text("SHOW server_version")).scalar_one())
    return ok("database size", f"PostgreSQL {server}, {size // MIB} MiB", bytes=size, server_version=server)


def _sqlite(file: Path) -> list[Finding]:
    """Integrity and size of the SQLite file; uses the driver directly, because damage can show in many ways."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            errors = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)") if row[0] != "ok"]
            figures = {
                name: int(connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size", "auto_vacuum")
            }
    except sqlite3.Error as error:
        return [problem("database integrity", f"{file} is damaged: {error}", DAMAGED)]
    if errors:
        shown = "; ".join(errors[:LINES_SHOWN])
        integrity = problem("database integrity", f"{file} is damaged: {shown}", DAMAGED, found=errors)
    else:
        integrity = ok("database integrity", "The database is intact (quick_check)")
    return [integrity, _size(file, figures)]


def _size(file: Path, figures: dict[str, int]) -> Finding:
    size = figures["page_count"] * figures["page_size"]
    free = figures["freelist_count"] * figures["page_size"]
    log = file.with_name(file.name + "-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    summary = f"{size // MIB} MiB, {free // MIB} MiB of it free; write-ahead log {log_bytes // MIB} MiB"
    details: dict[str, Any] = {"bytes": size, "free_bytes": free, "wal_bytes": log_bytes}
    if log_bytes > LARGE_LOG:
        return warning(
            "database size",
            f"{summary}: something prevents checkpoints",
            "Stop other programs that use the database, or restart the daemon",
            **details,
        )
    if figures["auto_vacuum"] != 2:
        return warning(
            "database size",
            f"{summary}; the file never shrinks, because it was created without auto_vacuum",
            "Stop the daemon, then run: sqlite3 FILE 'PRAGMA auto_vacuum=2' 'VACUUM'",
            **details,
        )
    return ok("database size", summary, **details)
