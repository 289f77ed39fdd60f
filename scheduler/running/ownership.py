"""Whose runs are whose, where several daemons use one database.

A daemon says again and again that it is alive; what one leaves behind that says so no more, another takes over. A
daemon that was frozen for longer than its lease finds its runs taken, and lets go of them without touching their
containers. What other daemons ask of this one's runs (a stop, a deletion) is found in the database, every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
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

#: Seconds between looks for what others ask of this daemon's runs.
WATCH_INTERVAL: Final = 1.0
#: Seconds between looks whether runs that another daemon looks after have ended.
ENDED_INTERVAL: Final = 0.25
#: Seconds between SIGTERM and SIGKILL for runs whose exec another daemon has deleted.
DELETED_GRACE: Final = 2
#: For how long a daemon is remembered after its lease has ended.
REMEMBERED: Final = timedelta(days=1)


class Ownership:
    """Keeps the lease, takes over what others leave behind, and gives way where others have taken over.

    Args:
        database: where leases, execs and wishes are.
        clock: tells the time.
        lease: this daemon's.
        dispatcher: starts looking after what is taken over.
        runner: looks after this daemon's runs.
    """

    def __init__(
        self, database: Database, clock: Clock, lease: Lease, dispatcher: Dispatcher, runner: Runner
    ) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._dispatcher = dispatcher
        self._runner = runner
        self._neglected: set[str] = set()

    async def keep(self) -> None:
        """Renew the lease in time and take over what others left, until cancelled."""
        while True:
            await asyncio.sleep(self._lease.seconds / 3)
            try:
                await self._lease.renew()
                await self.take_over()
            except UnavailableError as error:
                log.debug("daemon.lease_not_renewed", error=str(error))

    async def take_over(self, *, at_start: bool = False) -> None:
        """Look after the runs of daemons whose lease has ended; at the start after this one's own as well.

        Raises:
            UnavailableError: the database refused; nothing was taken.
        """
        now, me = self._clock.now(), self._lease.instance

        def work(connection: Connection) -> tuple[set[str], list[Exec]]:
            queue.lock(connection)
            live = identity.live_instances(connection, now)
            taken = []
            for one in queue.dispatched(connection):
                if one.owner == me:
                    if at_start:
                        taken.append(one)
                elif one.owner not in live and (mine := queue.adopt(connection, one, owner=me)):
                    taken.append(mine)
            identity.forget_instances(connection, ended_before=now - REMEMBERED)
            return live - {me}, taken

        peers, taken = await self._database.write(work)
        self._dispatcher.note_peers(are_there=bool(peers))
        for one in taken:
            point(Point.ADOPTED)
            log.info("daemon.adopted", exec=one.id, status=one.status.name.lower())
            await self._dispatcher.adopt(one)

    async def watch(self) -> None:
        """Do what others ask of this daemon's runs, and let go of those that are not its own any more."""
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
        """Look after runs that are this daemon's without its knowing, because the answer to their taking was lost.

        Seen so twice: the first time, the answer may still be on its way.
        """
        neglected = {exec_id for exec_id in mine if not self._runner.looks_after(exec_id)}
        for exec_id in neglected & self._neglected:
            one = await self._database.read(partial(execs.get, exec_id=exec_id))
            if one is not None and one.ended_at is None and one.owner == self._lease.instance:
                await self._dispatcher.adopt(one)
        self._neglected = neglected

    async def until_ended_elsewhere(self, exec_ids: Collection[str], *, patience: float) -> None:
        """Wait until those of the runs that other daemons look after have ended, but so many seconds at most."""
        left = [exec_id for exec_id in exec_ids if not self._runner.looks_after(exec_id)]
        deadline = asyncio.get_running_loop().time() + patience
        while left and asyncio.get_running_loop().time() < deadline:
            some = left[:500]
            known = await self._database.read(partial(queue.owners, exec_ids=some))
            going = [key for key in some if key in known and not known[key][1]]
            left = going + left[500:]
            if going:
                await asyncio.sleep(ENDED_INTERVAL)
