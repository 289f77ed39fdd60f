"""The lease by which a daemon shows that it is alive; others wait for its expiry before they take its runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.store import identity, queue
from scheduler.store.database import Database

#: The part of a lease after which it is only relied upon after asking the database.
RELIABLE: Final = 0.8


class Lease:
    """This daemon's lease.

    Args:
        database: where the lease is stored.
        clock: the source of the current time.
        instance: this daemon's id.
        seconds: how long each renewal is valid.
    """

    def __init__(self, database: Database, clock: Clock, *, instance: str, seconds: float) -> None:
        self.instance = instance
        self.seconds = seconds
        self._database = database
        self._clock = clock
        self._renewed: float | None = None  # by the steady clock, which continues while the process is frozen

    @property
    def is_reliable(self) -> bool:
        """Whether no other daemon can have taken this daemon's runs."""
        return self._renewed is not None and self._clock.steady() - self._renewed < self.seconds * RELIABLE

    async def renew(self) -> None:
        """Renew the lease.

        Raises:
            UnavailableError: the database failed.
        """
        before = self._clock.steady()
        await self._database.write(self._write, durable=False)
        self._renewed = before

    async def end(self) -> None:
        """Release the lease, because this daemon stops."""
        await self._database.write(lambda connection: identity.end_lease(connection, self.instance))

    async def owner_of(self, exec_id: str) -> tuple[str | None, bool] | None:
        """Who owns a run and whether it has ended; None if it does not exist.

        If the owner is this daemon, it remains the owner for the duration of a lease.

        Raises:
            UnavailableError: the database failed.
        """
        before = self._clock.steady()

        def work(connection: Connection) -> tuple[str | None, bool] | None:
            queue.lock(connection)  # excludes a daemon that is about to take this daemon's runs
            self._write(connection)
            return queue.owners(connection, [exec_id]).get(exec_id)

        owner = await self._database.write(work, durable=False)
        self._renewed = before
        return owner

    def _write(self, connection: Connection) -> None:
        now = self._clock.now()
        until = now + timedelta(seconds=self.seconds)
        identity.renew_lease(connection, self.instance, now=now, until=until)
