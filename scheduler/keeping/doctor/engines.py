"""Checks the engines: whether they answer, their capacity, their clocks, and the containers on them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SettingsError
from scheduler.engine.errors import EngineError
from scheduler.engine.judging import troubles_of
from scheduler.engine.profile import EngineProfile
from scheduler.engine.protocol import Engine
from scheduler.engine.types import EngineFacts, Labelled
from scheduler.keeping.doctor.findings import Finding, ok, problem, warning
from scheduler.keeping.doctor.machine import names_of
from scheduler.settings.parts import RegionSettings

#: Seconds within which an engine must answer.
PATIENCE: Final = 15.0
#: Accepted clock differences: start and end times of runs are the engine's, due times are the daemon's.
SKEW, GREAT_SKEW = timedelta(seconds=2), timedelta(seconds=60)
#: Seconds after which a container without a run is checked again, because one that has just ended is being removed.
AGAIN: Final = 3.0
UNIX: Final = "unix://"

MakeEngine = Callable[[RegionSettings, str], Engine]
OpenExecs = Callable[[list[str]], Collection[str]]


async def check_engines(
    regions: Mapping[str, RegionSettings],
    make_engine: MakeEngine,
    clock: Clock,
    *,
    installation: str | None,
    open_execs: OpenExecs,
    is_served: bool,
) -> list[Finding]:
    """Check the engines of all regions concurrently.

    Args:
        regions: the regions by name.
        make_engine: creates an engine in the same way as the daemon.
        clock: our clock.
        installation: our id; None before the first start.
        open_execs: returns those of the given runs that have not ended.
        is_served: whether a daemon is running, which removes containers without a run.
    """

    async def check(name: str, region: RegionSettings) -> list[Finding]:
        try:
            engine = make_engine(region, installation or "")
        except SettingsError as error:
            return [problem(f"engine {name}", str(error), "Fix the settings of the region")]
        try:
            async with asyncio.timeout(PATIENCE):
                before = clock.now()
                facts = await engine.examine()
                skew = None if facts.time is None else facts.time - (before + (clock.now() - before) / 2)
                orphans = await _orphans(engine, facts, installation, open_execs, is_served=is_served)
        except (EngineError, TimeoutError) as error:
            reason = str(error) or f"no answer within {PATIENCE:g} s"
            return [problem(f"engine {name}", f"{region.url}: {reason}", _remedy(region.url), url=region.url)]
        finally:
            await engine.close()
        return [
            _judge_skew(name, region.url, facts, skew),
            *_judge_profile(name, facts.profile, require_limits=region.require_limits),
            _judge_orphans(name, orphans, is_served=is_served),
            *_strangers(name, facts, installation),
        ]

    results = await asyncio.gather(*(check(name, region) for name, region in regions.items()))
    return [finding for findings in results for finding in findings]


def _remedy(url: str) -> str:
    if url.startswith(UNIX):
        path = Path(url.removeprefix(UNIX))
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return (
                f"Add this user, who has no access to {path}, to the socket's group (usermod -aG docker USER)"
            )
        return "Start the engine (systemctl start docker), or correct the region's url"
    return "Check that the engine is running and listening there, or correct the region's url"


def _judge_skew(name: str, url: str, facts: EngineFacts, skew: timedelta | None) -> Finding:
    check = f"engine {name}"
    seconds = None if skew is None else round(skew.total_seconds(), 3)
    memory = facts.capacity.memory_bytes >> 20
    profile = facts.profile
    summary = f"{profile.description}, at {url}, {facts.capacity.cpus:g} CPUs, {memory} MiB"
    details = {
        "url": url,
        **asdict(profile),
        "cpus": facts.capacity.cpus,
        "memory_bytes": facts.capacity.memory_bytes,
        "clock_skew_seconds": seconds,
    }
    if skew is not None and abs(skew) > SKEW:
        summary += f"; its clock differs from this machine's by {seconds} s"
        remedy = "Synchronize the clocks of both machines (chrony, systemd-timesyncd)"
        make = problem if abs(skew) > GREAT_SKEW else warning
        return make(check, f"{summary}: start and end times of runs are off by as much", remedy, **details)
    return ok(check, summary, **details)


def _judge_profile(name: str, profile: EngineProfile, *, require_limits: bool) -> list[Finding]:
    """One finding per known trouble of the engine; a trouble that refuses runs is a problem."""
    return [
        (problem if trouble.refuses_runs else warning)(
            f"{trouble.name} {name}",
            f"No run can be started: {trouble.summary}" if trouble.refuses_runs else trouble.summary,
            trouble.remedy,
        )
        for trouble in troubles_of(profile, require_limits=require_limits)
    ]


async def _orphans(
    engine: Engine,
    facts: EngineFacts,
    installation: str | None,
    open_execs: OpenExecs,
    *,
    is_served: bool,
) -> list[Labelled]:
    """Our containers without an open run; while a daemon is running, only those that remain after a pause."""

    async def of(facts: EngineFacts) -> list[Labelled]:
        ours = [container for container in facts.containers if container.installation == installation]
        going = await asyncio.to_thread(open_execs, [container.exec_id for container in ours])
        return [container for container in ours if container.exec_id not in going]

    orphans = await of(facts)
    if orphans and is_served:
        await asyncio.sleep(AGAIN)
        still = {container.exec_id for container in await of(await engine.examine())}
        orphans = [container for container in orphans if container.exec_id in still]
    return orphans


def _judge_orphans(name: str, orphans: list[Labelled], *, is_served: bool) -> Finding:
    check = f"orphans {name}"
    if not orphans:
        return ok(check, "Every container belongs to a run that has not ended", containers=[])
    names = [container.name for container in orphans]
    when = "within a minute" if is_served else "at its next start"
    subject, them, they = (
        ("1 container does", "it", "it remains")
        if len(names) == 1
        else (f"{len(names)} containers do", "them", "they remain")
    )
    return warning(
        check,
        f"{subject} not belong to an open run: {names_of(names)}",
        f"The daemon removes {them} {when}; if {they}, check its log",
        containers=names,
    )


def _strangers(name: str, facts: EngineFacts, installation: str | None) -> list[Finding]:
    others = Counter(
        container.installation for container in facts.containers if container.installation != installation
    )
    if not others:
        return []
    summary = ", ".join(f"{count} of {other}" for other, count in sorted(others.items()))
    return [
        ok(
            f"strangers {name}",
            f"The engine also has containers of other Timeball installations, which are ignored: {summary}",
            installations=dict(others),
        )
    ]
