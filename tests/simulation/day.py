"""A whole day of an ordinary installation: `python -m tests.simulation.day --seeds 0-9`.

A few jobs are due every few minutes to hourly, users trigger, stop and change some, and the usual faults are spread
over the day. The world checks what it always checks.

Between two events, a daemon asks again and again whether there is something to do, most of it every second. In a
world of half a minute, that is part of what is tested; in a day, it would take almost all of the time. So the pauses
between such questions are longer here; nothing that a daemon is told at once depends on them.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from scheduler.notify import deliverer
from scheduler.planning import planner
from scheduler.running import dispatcher, orphans, ownership, regions, run
from tests.simulation.__main__ import private_folder
from tests.simulation.host import Kind
from tests.simulation.plan import Happening, JobPlan, Plan, Script, draw_fault, draw_fields, draw_operation
from tests.simulation.running import Report, make_template, simulate_in

DAY: Final = 86_400.0
#: Longer pauses, in seconds. The planner takes a longer one than `STANDSTILL` for a standstill.
PAUSES: Final[tuple[tuple[ModuleType, str, float], ...]] = (
    (planner, "WATCH_INTERVAL", 30.0),
    (planner, "STANDSTILL", 40.0),
    (ownership, "WATCH_INTERVAL", 30.0),
    (deliverer, "BACKSTOP", 30.0),
    (deliverer, "SWEEP_INTERVAL", 300.0),
    (dispatcher, "BACKSTOP", 300.0),
    (dispatcher, "PEER_INTERVAL", 30.0),
    (regions, "PING_INTERVAL", 60.0),
    (run, "INSPECT_INTERVAL", 60.0),
    (orphans, "INTERVAL", 600.0),
)
#: Settings of the daemons for the same reason.
SETTINGS: Final[dict[str, Any]] = {
    "horizon_seconds": 3600,
    "lease_seconds": 300,
    "retention_interval_seconds": 3600,
}
#: Seconds between two due times.
STEPS: Final = (300.0, 900.0, 1800.0, 3600.0, 3600.0)


@contextmanager
def long_pauses() -> Iterator[None]:
    """Context in which daemons make longer pauses."""
    before = [(module, name, getattr(module, name)) for module, name, _ in PAUSES]
    for module, name, seconds in PAUSES:
        setattr(module, name, seconds)
    try:
        yield
    finally:
        for module, name, seconds in before:
            setattr(module, name, seconds)


def draw_day(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"day {seed}")
    daemons = dice.choice((1, 1, 2))
    jobs = tuple(_draw_job(dice) for _ in range(dice.randint(5, 10)))
    happenings = [draw_operation(dice, jobs) for _ in range(dice.randint(10, 30))]
    happenings += [_longer(dice, draw_fault(dice, daemons)) for _ in range(dice.randint(15, 30))]
    spread = (replace(one, at=round(dice.uniform(60.0, DAY - 60.0), 3)) for one in happenings)
    return Plan(
        seed=seed,
        daemons=daemons,
        behaviour=dice.choice(list(Kind)),
        cpus=dice.choice((0.5, 1.0)),
        jobs=jobs,
        happenings=tuple(sorted(spread, key=lambda one: one.at)),
        length=DAY,
        settings=SETTINGS,
    )


def _draw_job(dice: random.Random) -> JobPlan:
    script = Script(
        lines=dice.choice((1, 4)),
        pause=dice.choice((0.1, 1.0, 5.0)),
        last=dice.choice((0.1, 5.0, 60.0)),
        exit_code=dice.choice((0, 0, 0, 3)),
        obeys=dice.random() < 0.7,
    )
    return JobPlan(
        step=dice.choice(STEPS),
        script=script,
        fields=draw_fields(dice),
        has_hook=dice.random() < 0.4,
        is_fixed=dice.random() < 0.6,
    )


def _longer(dice: random.Random, fault: Happening) -> Happening:
    """The same fault; some last minutes."""
    seconds = fault.options["seconds"] * dice.choice((1, 1, 1, 10, 40))
    return replace(fault, options=fault.options | {"seconds": round(seconds, 3)})


def live_through(folder: Path, template: Path, seed: int) -> Report:
    """Let a day happen in a new folder below this one."""
    with long_pauses():
        return simulate_in(folder, template, draw_day(seed))


def main() -> int:
    """Let the days happen that the command line names; 1 if one had problems."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.day", description=__doc__)
    parser.add_argument("--seeds", default="0", help="a seed, or the first and the last one: 0-9")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings must be the same everywhere
        command = [sys.executable, "-m", "tests.simulation.day", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    first, _, last = given.seeds.partition("-")
    failed = 0
    with private_folder() as folder:
        template = make_template(folder)
        for seed in range(int(first), int(last or first) + 1):
            began, began_processor = time.monotonic(), time.process_time()
            report = live_through(folder, template, seed)
            print(
                f"day {seed}: {report.runs:,} runs, {report.steps:,} steps, {time.monotonic() - began:.1f} s, "
                f"{time.process_time() - began_processor:.1f} s of them on a processor",
                *report.problems,
                sep="\n  ",
                flush=True,
            )
            failed += bool(report.problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
