"""Brings a database to the present form of the tables, whatever form it has.

Alembic does the work; it is loaded only when there is some, which a start without news saves.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.errors import SettingsError
from scheduler.store.database import Database

#: The newest migration; a test compares it with the files.
HEAD: Final = "0001"
VERSION_TABLE: Final = "alembic_version"


def migrate(database: Database) -> None:
    """Run the migrations that the database lacks, in one transaction each on PostgreSQL and SQLite.

    Raises:
        SettingsError: a newer Timeball has used the database.
        UnavailableError: the database does not answer.
    """
    if database.migrate(_version) == HEAD:
        return
    database.migrate(_upgrade)


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return None if found is None else str(found)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resources.files("scheduler.store") / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise SettingsError(
            f"This database was used by another version of Timeball ({error}); "
            "start the version that used it last, or restore a backup"
        ) from error
