"""Lets plans happen, one after another, and makes a failing one smaller.

report = simulate_in(folder, make_template(folder), draw(17))
assert not report.problems
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import shutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import apscheduler.schedulers.base
import structlog

from scheduler.domain import chance
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade
from tests.simulation.checks import Witness
from tests.simulation.loop import PROCESS, WORLD, Process
from tests.simulation.machines import Machine
from tests.simulation.plan import Plan
from tests.simulation.world import World

#: Set this variable to print the tracebacks of what daemons log as errors; `--tracebacks` does.
TRACEBACKS: Final = "SIMULATION_TRACEBACKS"
_ADDRESS: Final = re.compile(r"0x[0-9a-f]+")


@dataclass(slots=True)
class Report:
    """What came of a plan.

    Attributes:
        problems: what was wrong; empty if nothing was.
        trace: what happened, line by line.
        runs: how many runs there were.
        steps: how many steps were made.
        seconds: how long it took in the simulation.
        busiest: the most steps within two seconds.
    """

    problems: list[str]
    trace: list[str]
    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    busiest: int = 0


def make_template(folder: Path) -> Path:
    """A database with all tables and nothing in them."""
    path = folder / "template.db"
    database = Database(f"sqlite:///{path}")
    database.migrate(upgrade)
    asyncio.run(database.close())
    return path


def simulate_in(folder: Path, template: Path, plan: Plan) -> Report:
    """Let a plan happen in a new folder below this one, which is removed afterwards."""
    place = folder / "world"
    try:
        return _simulate(plan, place, template)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def shrink(folder: Path, template: Path, plan: Plan) -> tuple[Plan, list[str]]:
    """The smallest plan that can be had by leaving out parts and still has problems, with these."""
    problems = simulate_in(folder, template, plan).problems
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for other in plan.smaller():
            if found := simulate_in(folder, template, other).problems:
                plan, problems, is_smaller = other, found, True
                break
    return plan, problems


# ---- one world ------------------------------------------------------------------------------------------------


class Place(Protocol):
    """What the code below needs of a world."""

    witness: Witness

    def machine_of(self, process: Process) -> Machine:
        """The machine on which a process runs."""


_world: Place | None = None


class _Datetime(datetime):
    """What APScheduler reads the time from: the clock of the machine on which it runs."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        assert _world is not None
        return _world.machine_of(PROCESS.get()).clock.now().astimezone(tz)


def _heard(_: Any, __: str, entry: dict[str, Any]) -> Any:
    """Keep what the daemons log as errors: each is a defect."""
    if _world is not None and PROCESS.get().is_alive:
        error = entry.get("exc_info")
        if isinstance(error, BaseException) and os.environ.get(TRACEBACKS):
            traceback.print_exception(error)
        _world.witness.wrong(f"{entry.get('event')}: {_ADDRESS.sub('…', repr(error or entry))}")
    raise structlog.DropEvent


@contextmanager
def installed(world: Place, seed: object) -> Iterator[None]:
    """Context in which daemons have the world's clocks, draw their chances from a seed, and log to its witness."""
    global _world  # noqa: PLW0603 - one world at a time
    structlog.configure(
        processors=[_heard],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    source = chance.draw_from(random.Random(f"{seed} chance"))
    moments, apscheduler.schedulers.base.datetime = apscheduler.schedulers.base.datetime, _Datetime
    _world = world
    try:
        yield
    finally:
        _world = None
        chance.draw_from(source)
        apscheduler.schedulers.base.datetime = moments


def _simulate(plan: Plan, folder: Path, template: Path) -> Report:
    gc.disable()  # what it frees would run at moments that are not in the plan
    try:
        world = World(plan, folder, template)
        with installed(world, plan.seed):
            try:
                world.loop.run_until_complete(world.live())
            except Exception as error:  # noqa: BLE001 - a world that cannot end is a problem as others
                world.witness.wrong(f"the world ended with {error!r}")
                if os.environ.get(TRACEBACKS):
                    traceback.print_exception(error)
        _bury(world)
    finally:
        gc.enable()
    for context in world.loop.errors:
        world.witness.wrong(f"unhandled: {context.get('message')}: {context.get('exception')!r}")
    return Report(
        world.witness.problems,
        world.trace,
        len(world.witness.printed),
        world.loop.steps,
        world.loop.time(),
        world.loop.busiest,
    )


def _bury(world: World) -> None:
    """Close the tasks of all processes, without effect on anything."""
    world.loop.close()
    for machine in world.machines:
        for process in (*machine.buried, machine.process):
            if process is not None:
                world.loop.bury(process)
    world.loop.bury(WORLD)
    world.disk.close()
