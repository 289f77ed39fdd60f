"""Removes containers of this installation that belong to no run that is still open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from scheduler.domain.errors import UnavailableError
from scheduler.engine.errors import EngineError
from scheduler.process.faults import Point, point
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.store import execs
from scheduler.store.database import Database

log = structlog.get_logger()

#: Seconds between two rounds. A region is also cleared when its engine comes up.
INTERVAL: Final = 60.0


class Orphans:
    """Finds and removes orphaned containers.

    Args:
        database: knows the open runs.
        regions: all regions by name.
        runner: knows the runs that this daemon manages.
    """

    def __init__(self, database: Database, regions: Mapping[str, Region], runner: Runner) -> None:
        self._database = database
        self._regions = regions
        self._runner = runner

    async def remove_from(self, region: Region) -> None:
        """Remove the orphans of a region; those that cannot be removed now are left for a later round."""
        try:
            containers = await region.engine.list_ours()
            ids = [container.exec_id for container in containers]
            open_ids = await self._database.read(lambda connection: execs.existing_open(connection, ids))
            for container in containers:
                if container.exec_id not in open_ids and not self._runner.looks_after(container.exec_id):
                    point(Point.CLEARING)
                    await region.engine.remove(container.handle)
                    log.info("region.orphan_removal_asked", region=region.name, exec=container.exec_id)
        except (EngineError, UnavailableError) as error:
            log.warning("region.orphans_left", region=region.name, error=str(error))

    async def run(self) -> None:
        """Remove orphans from all regions whose engines are up, again and again, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            for region in self._regions.values():
                if region.up.is_set():
                    await self.remove_from(region)
