"""Gives free pages of SQLite's file back to the file system, some at a time.

The file is made with `auto_vacuum=INCREMENTAL`: pages at its end are moved into free ones nearer to its beginning,
and the file is cut. PostgreSQL does the like by itself (autovacuum).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from sqlalchemy.engine import Connection

from scheduler.keeping.pace import Pace
from scheduler.process.metrics import DATABASE_BYTES, DATABASE_FREE_BYTES
from scheduler.store.database import Database

#: Pages that stay free, to be used again soon: a twentieth of the file, and a mebibyte in small ones.
LEAST_FREE: Final = 256
FREE_SHARE: Final = 0.05


class Pages(NamedTuple):
    """How many pages the file has, how many of them are free, and how large each is."""

    total: int
    free: int
    size: int

    @property
    def to_stay_free(self) -> int:
        """How many are not worth giving back."""
        return max(LEAST_FREE, int(self.total * FREE_SHARE))


def pages(connection: Connection) -> Pages:
    """The file's pages; SQLite alone."""
    return Pages(
        *(
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
    )


async def shrink(
    database: Database,
    pace: Pace,
    batch: Callable[[Callable[[Connection], Any], Pace], Awaitable[Any]],
) -> None:
    """Give back what is free beyond what should stay so; nothing to do unless it is twice as much.

    Args:
        database: whose file.
        pace: how many pages at a time.
        batch: runs a piece of work in a transaction, and pauses.
    """
    if not database.is_sqlite:
        return
    now = await database.read(pages)
    _show(now)
    if now.free <= 2 * now.to_stay_free:
        return
    while (more := now.free - now.to_stay_free) > 0:
        count = min(pace.size, more)

        def work(connection: Connection, count: int = count) -> None:
            raw: Any = connection.connection.driver_connection
            # The statement stops after every page to be asked on, and the driver does not ask when no row comes.
            for _ in range(count):
                raw.execute("PRAGMA incremental_vacuum")

        await batch(work, pace)
        before, now = now, await database.read(pages)
        if now.total >= before.total:
            break  # the file was made without, or all others write more than this gives back
    # Only with the end of the write-ahead log is the file itself cut.
    database.checkpoint_soon()
    _show(now)


def _show(now: Pages) -> None:
    DATABASE_BYTES.set(now.total * now.size)
    DATABASE_FREE_BYTES.set(now.free * now.size)
