"""Finds out whether the database can be read and written just now, however many ask at once.

A database can be well to read and refuse every write (a full disk, a lock, a read-only mount), so a small write is
made. Whoever asks gets an answer soon: a probe that takes longer goes on for the next one who asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from sqlalchemy.engine import Connection

from scheduler.domain.errors import UnavailableError
from scheduler.store.tables import facts

#: Seconds that one who asks waits at most, where nothing is known to be wrong and where something is.
PATIENCE, KNOWN_PATIENCE = 2.0, 0.3
#: Seconds for which an answer is believed.
FRESH: Final = 0.25
#: Seconds without a refusal after which a database that refused counts as well again.
SETTLED: Final = 2.0


class Probed(Protocol):
    """What a probe needs of the database; `scheduler.store.database.Database` provides it."""

    trouble: str | None
    last_refusal: tuple[float, str]

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        """Run `work` in a transaction that reads."""

    async def write(self, work: Callable[[Connection], Any], *, durable: bool) -> Any:
        """Run `work` in a transaction that writes."""


class WriteProbe:
    """Asks one database, one question at a time."""

    def __init__(self, database: Probed) -> None:
        self._database = database
        self._asking: asyncio.Task[str | None] | None = None
        self._answered_at = float("-inf")

    async def trouble(self) -> str | None:
        """What is in the way of reading and writing; None if nothing is."""
        loop = asyncio.get_running_loop()
        asking = self._asking
        if asking is None or (asking.done() and not self._is_fresh(asking.result(), loop.time())):
            asking = self._asking = asyncio.create_task(self._ask(), name="database-probe")
        await asyncio.wait((asking,), timeout=KNOWN_PATIENCE if self._database.trouble else PATIENCE)
        if asking.done():
            return asking.result()
        return self._database.trouble or f"a write has not been answered for {PATIENCE:g} s"

    def _is_fresh(self, answer: str | None, now: float) -> bool:
        """Whether an answer still holds: it is young, and no other transaction has fared otherwise since."""
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
        # The probe is small: it may find room where what has to be stored does not.
        refused_at, words = self._database.last_refusal
        return words if time.monotonic() - refused_at < SETTLED else None


def _touch(connection: Connection) -> None:
    """Write something that changes nothing."""
    connection.execute(facts.update().values(value=facts.c.value).where(facts.c.name == "installation"))
