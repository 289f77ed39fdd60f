"""Returns free pages of the SQLite file to the file system, a few at a time.

The file is created with `auto_vacuum=INCREMENTAL`: pages at its end are moved into free pages nearer to its
beginning, and the file is truncated. PostgreSQL does something similar itself (autovacuum).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from sqlalchemy.engine import Connection

from scheduler.keeping.pace import Pace
from scheduler.process.metrics import DATABASE_BYTES, DATABASE_FREE_BYTES
from scheduler.store.database import Database

#: Pages that stay free for reuse: a twentieth of the file, but at least a mebibyte.
LEAST_FREE: Final = 256
FREE_SHARE: Final = 0.05


class Pages(NamedTuple):
    """Number of pages of the file, of free pages, and the page size in bytes."""

    total: int
    free: int
    size: int

    @property
    def to_stay_free(self) -> int:
        """Number of free pages that are kept."""
        return max(LEAST_FREE, int(self.total * FREE_SHARE))


def pages(connection: Connection) -> Pages:
    """The file's pages; only for SQLite."""
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
    """Return free pages beyond those that are kept; does nothing unless there are more than twice as many.

    Args:
        database: the database.
        pace: number of pages per batch.
        batch: runs a function in a transaction, and pauses.
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
            # The statement stops after every page, and the driver does not continue it, because it returns no rows.
            for _ in range(count):
                raw.execute("PRAGMA incremental_vacuum")

        await batch(work, pace)
        before, now = now, await database.read(pages)
        if now.total >= before.total:
            break  # created without auto_vacuum, or others write more than this returns
    # The file itself is only truncated at the end of a checkpoint.
    database.checkpoint_soon()
    _show(now)


def _show(now: Pages) -> None:
    DATABASE_BYTES.set(now.total * now.size)
    DATABASE_FREE_BYTES.set(now.free * now.size)
