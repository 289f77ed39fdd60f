"""Migrates a database to the current schema.

Alembic does the work in a separate process: it is only needed once per version, and the daemon would otherwise keep
it in memory for the rest of its life.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.errors import SettingsError
from scheduler.store.database import Database

#: The latest migration; a test compares it with the files.
HEAD: Final = "0002"
VERSION_TABLE: Final = "alembic_version"
#: Maximum duration of a migration in seconds; a large history is rewritten at about 100 MB per second.
LIMIT: Final = 3600
#: Runs this module with the search path of its parent. 'python -m' would first look in the current directory, where
#: another project may have a package of this name.
_PROGRAM: Final = "import runpy, sys; sys.path[:] = sys.argv[1:]; runpy.run_module('{}', run_name='__main__')"


def migrate(database: Database) -> None:
    """Run the missing migrations.

    Raises:
        SettingsError: the database was used by a newer version of Timeball, or a migration failed.
        UnavailableError: the database does not answer.
    """
    if database.migrate(_version) == HEAD:
        return
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-I", "-c", _PROGRAM.format(__name__), *sys.path],
        # Not an argument: a URL may contain a password, and everyone can read a process's arguments.
        input=database.url.render_as_string(hide_password=False),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if done.returncode != 0:
        raise SettingsError(
            f"The database {database.url} cannot be migrated to this version of Timeball: "
            f"{(done.stderr.strip().splitlines() or ['no reason given'])[-1]}. "
            "Start the version that last used the database, or restore a backup"
        )


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return None if version is None else str(version)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the missing migrations up to a revision on a connection, in its transaction."""
    from alembic import command  # noqa: PLC0415 - imported only in this process
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resources.files("scheduler.store") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


if __name__ == "__main__":
    Database(sys.stdin.read()).migrate(upgrade)
