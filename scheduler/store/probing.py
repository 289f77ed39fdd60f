"""Checks whether the database can currently be read and written, for any number of concurrent callers.

A database may be readable and reject every write (a full disk, a lock, a read-only mount), so the probe makes a small
write. Callers get an answer quickly: a probe that takes longer continues for the next caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.store.tables import facts

#: Maximum seconds that a caller waits, if no problem is known and if one is.
PATIENCE, KNOWN_PATIENCE = 2.0, 0.3
#: Seconds for which an answer is valid.
FRESH: Final = 0.25
#: Seconds without a failure after which a database that failed counts as healthy again.
SETTLED: Final = 2.0


class Probed(Protocol):
    """What a probe requires of the database; provided by `scheduler.store.database.Database`."""

    trouble: str | None
    last_refusal: tuple[float, str]

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        """Run `work` in a transaction that reads."""

    async def write(self, work: Callable[[Connection], Any], *, durable: bool) -> Any:
        """Run `work` in a transaction that writes."""


class WriteProbe:
    """Probes one database, one probe at a time.

    Args:
        database: the database to probe.
        clock: the one that `last_refusal` was read from.
    """

    def __init__(self, database: Probed, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._asking: asyncio.Task[str | None] | None = None
        self._answered_at = float("-inf")

    async def trouble(self) -> str | None:
        """The problem with reading or writing; None if there is none."""
        loop = asyncio.get_running_loop()
        asking = self._asking
        if asking is None or (asking.done() and not self._is_fresh(asking.result(), loop.time())):
            asking = self._asking = asyncio.create_task(self._ask(), name="database-probe")
        await asyncio.wait((asking,), timeout=KNOWN_PATIENCE if self._database.trouble else PATIENCE)
        if asking.done():
            return asking.result()
        return self._database.trouble or f"a write has not been answered for {PATIENCE:g} s"

    def _is_fresh(self, answer: str | None, now: float) -> bool:
        """Whether an answer is still valid: it is recent, and no other transaction had a different result since."""
        agrees = (answer is None) == (self._database.trouble is None)
        return agrees and now - self._answered_at <= FRESH

    async def _ask(self) -> str | None:
        try:
            await self._database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
            await self._database.write(_touch, durable=False)
        except UnavailableError as error:
            return str(error)
        finally:
            self._answered_at = asyncio.get_running_loop().time()
        # The probe is small: it may succeed on a disk that is too full for what has to be stored.
        refused_at, words = self._database.last_refusal
        return words if self._clock.steady() - refused_at < SETTLED else None


def _touch(connection: Connection) -> None:
    """Perform a write that changes nothing."""
    connection.execute(facts.update().values(value=facts.c.value).where(facts.c.name == "installation"))
