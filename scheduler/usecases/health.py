"""Whether the daemon is ready: its database and its engines answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.running.regions import Region
from scheduler.store.database import Database


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """The state of each part: 'ok', or the problem."""

    checks: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether all parts are ok."""
        return all(state == "ok" for state in self.checks.values())


async def readiness(database: Database, regions: Mapping[str, Region]) -> ReadinessReport:
    """Check the database now with a read and a write; regions have checked their engines within the last seconds."""
    checks = {"database": await database.probe.trouble() or "ok"}
    for name, region in regions.items():
        checks[f"engine {name}"] = "ok" if region.up.is_set() else (region.problem or "does not answer")
    return ReadinessReport(checks)
