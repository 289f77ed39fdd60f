"""The engines: whether each answers us, what it has, how its clock stands, and whose containers it holds."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SettingsError
from scheduler.engine.errors import EngineError
from scheduler.engine.protocol import Engine, EngineFacts, Labelled
from scheduler.keeping.doctor.findings import Finding, ok, problem, warning
from scheduler.keeping.doctor.machine import names_of
from scheduler.settings.parts import RegionSettings

#: Seconds that an engine has to answer.
PATIENCE: Final = 15.0
#: By so much its clock may differ from ours: times of runs are the engine's, due times are ours.
SKEW, GREAT_SKEW = timedelta(seconds=2), timedelta(seconds=60)
#: Seconds after which a container without an exec is looked at again: one that has just ended is being removed.
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
    """All regions' engines, at the same time.

    Args:
        regions: by name.
        make_engine: as the daemon makes them.
        clock: ours.
        installation: our id; None before the first start.
        open_execs: which of these execs have not ended.
        is_served: whether a daemon is running that clears away what belongs to no exec.
    """

    async def one(name: str, region: RegionSettings) -> list[Finding]:
        try:
            engine = make_engine(region, installation or "")
        except SettingsError as error:
            return [problem(f"engine {name}", str(error), "Correct the region's settings")]
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
            _judge_orphans(name, orphans, is_served=is_served),
            *_strangers(name, facts, installation),
        ]

    found = await asyncio.gather(*(one(name, region) for name, region in regions.items()))
    return [finding for findings in found for finding in findings]


def _remedy(url: str) -> str:
    if url.startswith(UNIX):
        path = Path(url.removeprefix(UNIX))
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return f"This user may not use {path}: add it to the socket's group (usermod -aG docker USER)"
        return "Start the engine (systemctl start docker), or correct the region's url"
    return "See to it that the engine runs and listens there, or correct the region's url"


def _judge_skew(name: str, url: str, facts: EngineFacts, skew: timedelta | None) -> Finding:
    check = f"engine {name}"
    seconds = None if skew is None else round(skew.total_seconds(), 3)
    said = f"Engine {facts.version} at {url}, {facts.capacity.cpus:g} CPUs, {facts.capacity.memory_bytes >> 20} MiB"
    details = {
        "url": url,
        "version": facts.version,
        "api_version": facts.api_version,
        "cpus": facts.capacity.cpus,
        "memory_bytes": facts.capacity.memory_bytes,
        "clock_skew_seconds": seconds,
    }
    if skew is not None and abs(skew) > SKEW:
        said += f"; its clock differs from ours by {seconds} s"
        remedy = "Have both machines' clocks kept right (chrony, systemd-timesyncd)"
        make = problem if abs(skew) > GREAT_SKEW else warning
        return make(check, f"{said}: when runs began and ended is wrong by as much", remedy, **details)
    return ok(check, said, **details)


async def _orphans(
    engine: Engine,
    facts: EngineFacts,
    installation: str | None,
    open_execs: OpenExecs,
    *,
    is_served: bool,
) -> list[Labelled]:
    """Our containers without an exec that has not ended; under a running daemon only those that stay so."""

    async def of(facts: EngineFacts) -> list[Labelled]:
        ours = [one for one in facts.containers if one.installation == installation]
        going = await asyncio.to_thread(open_execs, [one.exec_id for one in ours])
        return [one for one in ours if one.exec_id not in going]

    found = await of(facts)
    if found and is_served:
        await asyncio.sleep(AGAIN)
        still = {one.exec_id for one in await of(await engine.examine())}
        found = [one for one in found if one.exec_id in still]
    return found


def _judge_orphans(name: str, orphans: list[Labelled], *, is_served: bool) -> Finding:
    check = f"orphans {name}"
    if not orphans:
        return ok(check, "Every container of ours belongs to a run that has not ended", containers=[])
    names = [one.name for one in orphans]
    when = "within a minute" if is_served else "when it starts"
    return warning(
        check,
        f"{len(orphans)} containers of ours belong to no run that goes on: {names_of(names)}",
        f"The daemon removes them {when}; look into its log if they stay",
        containers=names,
    )


def _strangers(name: str, facts: EngineFacts, installation: str | None) -> list[Finding]:
    others = Counter(one.installation for one in facts.containers if one.installation != installation)
    if not others:
        return []
    said = ", ".join(f"{count} of {other}" for other, count in sorted(others.items()))
    return [
        ok(
            f"strangers {name}",
            f"Containers of other Timeballs are on this engine, and left alone: {said}",
            installations=dict(others),
        )
    ]
