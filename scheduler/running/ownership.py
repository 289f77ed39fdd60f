"""Which daemon owns which runs, if several daemons use one database.

Each daemon keeps renewing a lease; if it stops doing so, another daemon takes over its runs. A daemon that was frozen
for longer than its lease finds its runs taken, and lets go of them without touching their containers. Requests of
other daemons for this daemon's runs (a stop, a deletion) are read from the database every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import Exec
from scheduler.process.faults import Point, point
from scheduler.running.dispatcher import Dispatcher
from scheduler.running.lease import Lease
from scheduler.running.runner import Runner
from scheduler.store import execs, identity, queue
from scheduler.store.database import Database

log = structlog.get_logger()

#: Seconds between checks for requests of other daemons.
WATCH_INTERVAL: Final = 1.0
#: Seconds between checks whether runs of other daemons have ended.
ENDED_INTERVAL: Final = 0.25
#: Seconds between SIGTERM and SIGKILL for runs that another daemon has deleted.
DELETED_GRACE: Final = 2
#: How long a daemon is remembered after its lease has expired.
REMEMBERED: Final = timedelta(days=1)


class Ownership:
    """Keeps the lease, takes over runs of dead daemons, and lets go of runs that others have taken over.

    Args:
        database: where leases, runs and requests are stored.
        clock: the source of the current time.
        lease: this daemon's lease.
        dispatcher: adopts the runs that are taken over.
        runner: manages this daemon's runs.
        on_peers: called with whether other daemons use the database.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        lease: Lease,
        dispatcher: Dispatcher,
        runner: Runner,
        *,
        on_peers: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._dispatcher = dispatcher
        self._runner = runner
        self._on_peers = on_peers
        self._neglected: dict[str, None] = {}

    async def keep(self) -> None:
        """Renew the lease in time and take over runs of dead daemons, until cancelled."""
        while True:
            await asyncio.sleep(self._lease.seconds / 3)
            try:
                await self._lease.renew()
                await self.take_over()
            except UnavailableError as error:
                log.debug("daemon.lease_not_renewed", error=str(error))

    async def take_over(self, *, at_start: bool = False) -> None:
        """Take over the runs of daemons whose lease has expired; at the start, this daemon's own runs as well.

        Raises:
            UnavailableError: the database failed; nothing was taken over.
        """
        now, me = self._clock.now(), self._lease.instance

        def work(connection: Connection) -> tuple[set[str], list[Exec], list[Exec]]:
            queue.lock(connection)
            live = identity.live_instances(connection, now)
            own, taken = list[Exec](), list[Exec]()
            for run in queue.dispatched(connection):
                if run.owner == me:
                    if at_start:
                        own.append(run)
                elif run.owner not in live and (mine := queue.adopt(connection, run, owner=me)):
                    taken.append(mine)
            identity.forget_instances(connection, ended_before=now - REMEMBERED)
            return live - {me}, own, taken

        peers, own, taken = await self._database.write(work)
        self._dispatcher.note_peers(are_there=bool(peers))
        self._on_peers(bool(peers))
        for run in [*own, *taken]:
            point(Point.ADOPTED)
            log.info("daemon.adopted", exec=run.id, status=run.status.name.lower())
            await self._dispatcher.adopt(run, is_own=run in own)

    async def watch(self) -> None:
        """Carry out requests for this daemon's runs, and let go of runs that it no longer owns."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            try:
                await self._look()
            except UnavailableError as error:
                log.debug("daemon.wishes_unread", error=str(error))

    async def _look(self) -> None:
        looked_after = self._runner.ids()
        wishes = await self._database.read(lambda connection: queue.wishes(connection, self._lease.instance))
        for exec_id, reason in wishes.items():
            if reason is not None:
                self._runner.stop(exec_id, reason or None)
        await self._take_up(wishes.keys())
        missing = [exec_id for exec_id in looked_after if exec_id not in wishes]
        if not missing:
            return
        known = await self._database.read(lambda connection: queue.owners(connection, missing))
        for exec_id in missing:
            if exec_id not in known:
                self._runner.drop(exec_id, grace_seconds=DELETED_GRACE)
            elif known[exec_id][0] != self._lease.instance:
                self._runner.let_go(exec_id)

    async def _take_up(self, mine: Collection[str]) -> None:
        """Adopt runs that this daemon owns without knowing it, because the database's answer was lost.

        They are adopted when they are seen twice: the first time, the answer may still be on its way.
        """
        neglected = dict.fromkeys(exec_id for exec_id in mine if not self._runner.looks_after(exec_id))
        for exec_id in [exec_id for exec_id in neglected if exec_id in self._neglected]:
            run = await self._database.read(partial(execs.get, exec_id=exec_id))
            if run is not None and run.ended_at is None and run.owner == self._lease.instance:
                await self._dispatcher.adopt(run)
        self._neglected = neglected

    async def until_ended_elsewhere(self, exec_ids: Collection[str], *, patience: float) -> None:
        """Wait until those of the runs that other daemons own have ended, but only for a limited time."""
        left = [exec_id for exec_id in exec_ids if not self._runner.looks_after(exec_id)]
        deadline = asyncio.get_running_loop().time() + patience
        while left and asyncio.get_running_loop().time() < deadline:
            chunk = left[:500]
            known = await self._database.read(partial(queue.owners, exec_ids=chunk))
            going = [key for key in chunk if key in known and not known[key][1]]
            left = going + left[500:]
            if going:
                await asyncio.sleep(ENDED_INTERVAL)
