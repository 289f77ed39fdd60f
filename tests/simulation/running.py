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
import sys
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import apscheduler.schedulers.base
import structlog

from scheduler.domain import chance
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade
from tests.simulation.loop import PROCESS, WORLD
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

_world: World | None = None


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


def _simulate(plan: Plan, folder: Path, template: Path) -> Report:
    global _world  # noqa: PLW0603 - one world at a time
    structlog.configure(
        processors=[_heard],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    source = chance.draw_from(random.Random(f"{plan.seed} chance"))
    moments, apscheduler.schedulers.base.datetime = apscheduler.schedulers.base.datetime, _Datetime
    gc.disable()  # what it frees would run at moments that are not in the plan
    _world = world = World(plan, folder, template)
    try:
        world.loop.run_until_complete(world.live())
    except Exception as error:  # noqa: BLE001 - a world that cannot end is a problem as others
        world.witness.wrong(f"the world ended with {error!r}")
        if os.environ.get(TRACEBACKS):
            traceback.print_exception(error)
    finally:
        _world = None
        _bury(world)
        chance.draw_from(source)
        apscheduler.schedulers.base.datetime = moments
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
    graves = [process for machine in world.machines for process in (*machine.buried, machine.process)]
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for process in (*graves, WORLD):
                if process is None:
                    continue
                for task in list(process.tasks):
                    task._log_destroy_pending = False
                    with suppress(BaseException):
                        task.get_coro().close()  # type: ignore[union-attr]
                process.tasks.clear()
                process.ready.clear()
            world.disk.close()
    finally:
        sys.unraisablehook = hook
