"""A daemon's word that it is alive, on which others rely before they take its runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.store import identity, queue
from scheduler.store.database import Database

#: The part of a lease after which it is no longer relied upon without asking the database.
RELIABLE: Final = 0.8


class Lease:
    """This daemon's word that it is alive.

    Args:
        database: where it is given.
        clock: tells the time.
        instance: this daemon's id.
        seconds: for how long each renewal holds.
    """

    def __init__(self, database: Database, clock: Clock, *, instance: str, seconds: float) -> None:
        self.instance = instance
        self.seconds = seconds
        self._database = database
        self._clock = clock
        self._renewed: float | None = None  # by the steady clock, which goes on while the process is frozen

    @property
    def is_reliable(self) -> bool:
        """Whether nobody can have taken this daemon's runs meanwhile."""
        return self._renewed is not None and self._clock.steady() - self._renewed < self.seconds * RELIABLE

    async def renew(self) -> None:
        """Give it anew.

        Raises:
            UnavailableError: the database refused.
        """
        before = self._clock.steady()
        await self._database.write(self._write, durable=False)
        self._renewed = before

    async def end(self) -> None:
        """Say that this daemon stops in order."""
        await self._database.write(lambda connection: identity.end_lease(connection, self.instance))

    async def owner_of(self, exec_id: str) -> tuple[str | None, bool] | None:
        """Who looks after an exec and whether it has ended; None if it is gone.

        If the answer is this daemon, that stays so for as long as a lease holds.

        Raises:
            UnavailableError: the database refused.
        """
        before = self._clock.steady()

        def work(connection: Connection) -> tuple[str | None, bool] | None:
            queue.lock(connection)  # against a daemon that is just about to take this one's runs
            self._write(connection)
            return queue.owners(connection, [exec_id]).get(exec_id)

        found = await self._database.write(work, durable=False)
        self._renewed = before
        return found

    def _write(self, connection: Connection) -> None:
        now = self._clock.now()
        until = now + timedelta(seconds=self.seconds)
        identity.renew_lease(connection, self.instance, now=now, until=until)
