"""Deletes entries of the audit log when their time is over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.store import audit
from scheduler.store.database import Database

log = structlog.get_logger()

#: Seconds between two rounds.
INTERVAL: Final = 3600.0
#: Number of entries that one transaction deletes, so that it holds up no other write.
BATCH: Final = 500


async def keep_audit(database: Database, clock: Clock, days: int) -> None:
    """Delete entries that are older than that many days, until cancelled."""

    def work(connection: Connection) -> int:
        return audit.forget(connection, clock.now() - timedelta(days=days), limit=BATCH)

    while True:
        deleted = 0
        try:
            deleted = await database.write(work)
        except UnavailableError as error:
            log.warning("audit.not_cleared", error=str(error))
        await asyncio.sleep(0 if deleted == BATCH else INTERVAL)
