"""Whether the daemon is ready, that is, its database and its engines answer; and what its engines are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.access.callers import Caller, Role
from scheduler.domain.views import EngineView
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


def engine_views(regions: Mapping[str, Region], caller: Caller) -> list[EngineView]:
    """The engines of all regions, as much of them as the caller may see."""
    sees_all = caller.namespace is None and caller.role >= Role.ADMIN
    return [_engine_view(region, sees_all=sees_all) for region in regions.values()]


def _engine_view(region: Region, *, sees_all: bool) -> EngineView:
    profile, is_up = region.profile, region.up.is_set()
    if profile is None or not sees_all:
        return EngineView(region=region.name, is_up=is_up)
    troubles = region.troubles
    return EngineView(
        region=region.name,
        is_up=is_up,
        product=profile.product,
        version=profile.version,
        api_version=profile.api_version,
        image_store=profile.image_store,
        log_driver=profile.log_driver,
        cgroup_version=profile.cgroup_version,
        is_rootless=profile.is_rootless,
        has_userns_remap=profile.has_userns_remap,
        has_live_restore=profile.has_live_restore,
        missing_limits=profile.missing_limits,
        refuses_runs=any(trouble.refuses_runs for trouble in troubles),
        warnings=[f"{trouble.summary}. {trouble.remedy}." for trouble in troubles],
    )
