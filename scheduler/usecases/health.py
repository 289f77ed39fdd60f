"""Whether the daemon can do its work: does its database answer, do its engines?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.running.regions import Region
from scheduler.store.database import Database


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """What was found of each part: 'ok', or what is in the way."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether nothing is in the way."""
        return all(state == "ok" for state in self.checks.values())


async def readiness(database: Database, regions: Mapping[str, Region]) -> ReadinessReport:
    """Ask the database now, for a read and a write; each region has asked its engine within the last seconds."""
    checks = {"database": await database.probe.trouble() or "ok"}
    for name, region in regions.items():
        checks[f"engine {name}"] = "ok" if region.up.is_set() else (region.problem or "does not answer")
    return ReadinessReport(checks)
