"""Run simulated worlds: `python -m tests.simulation --seeds 0-199`; see ``--help``."""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.simulation import mutations

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - every folder in it is private


def main() -> int:
    """Run what the command line asks for; 1 if a world had problems."""
    given = _parser().parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings must be the same everywhere
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    if given.tracebacks:
        os.environ["SIMULATION_TRACEBACKS"] = "1"
    if given.mutation:
        mutations.plant(mutations.by_name(given.mutation))
    # Loaded only now, so that the defect is in what it loads.
    from tests.simulation.plan import Plan, draw  # noqa: PLC0415
    from tests.simulation.running import make_template  # noqa: PLC0415

    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    plans = [Plan.from_json(given.plan.read_text())] if given.plan else map(draw, seeds)
    began, worlds, runs, steps, seconds, failed = time.monotonic(), 0, 0, 0, 0.0, 0
    with private_folder() as folder, _pool(given.jobs) as pool:
        template = make_template(folder)
        work = ((plan, given.shrink, template) for plan in plans)
        for plan, report, small in pool(_run, work):
            worlds += 1
            runs, steps, seconds = runs + report.runs, steps + report.steps, seconds + report.seconds
            if given.trace:
                print("\n".join(report.trace))
            if given.digest:
                print(plan.seed, hashlib.sha256("\n".join(report.trace).encode()).hexdigest()[:16])
            if report.problems:
                failed += 1
                print(f"seed {plan.seed}:", *report.problems, sep="\n  ", flush=True)
                if small is not None:
                    print(small[0].to_json(), *small[1], sep="\n  ", flush=True)
                if given.until_found:
                    break
    print(
        f"{worlds} worlds, {failed} with problems: {runs:,} runs and {steps:,} steps in {seconds / 3600:.1f} "
        f"simulated hours, {time.monotonic() - began:.1f} s"
    )
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-9", help="a seed, or the first and the last one: 0-199")
    parser.add_argument("--plan", type=Path, help="a plan in JSON instead of seeds")
    parser.add_argument("--jobs", type=int, default=1, help="number of worlds at once")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    parser.add_argument(
        "--tracebacks", action="store_true", help="print tracebacks of what daemons log as errors"
    )
    parser.add_argument("--digest", action="store_true", help="print a hash of each trace")
    parser.add_argument("--shrink", action="store_true", help="make failing plans as small as possible")
    parser.add_argument("--mutation", help="plant one of the defects of mutations.py")
    parser.add_argument("--until-found", action="store_true", help="stop at the first seed with problems")
    return parser


@contextmanager
def _pool(jobs: int) -> Iterator[Any]:
    """What calls a function for each piece of work, in order, on so many processes."""
    if jobs == 1:
        yield map
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield pool.imap


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder in memory, if there is a place for it: nothing here is worth a real disk's time."""
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="timeball-simulation-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(work: tuple[Any, bool, Path]) -> tuple[Any, Any, Any]:
    """Let a plan happen; the plan, what came of it, and the smallest plan with problems if that is wanted."""
    from tests.simulation.running import shrink, simulate_in  # noqa: PLC0415 - as above

    plan, is_to_shrink, template = work
    folder = template.with_name(f"process-{os.getpid()}")
    report = simulate_in(folder, template, plan)
    if is_to_shrink and report.problems:
        return plan, report, shrink(folder, template, plan)
    return plan, report, None


if __name__ == "__main__":
    sys.exit(main())
