"""Run simulated worlds: `python -m tests.simulation --seeds 0-199`; see ``--help``."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation import mutations


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-9", help="a seed, or the first and the last one: 0-199")
    parser.add_argument("--plan", type=Path, help="a plan in JSON instead of seeds")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    parser.add_argument(
        "--shrink", action="store_true", help="make the plan of a failing seed as small as possible"
    )
    parser.add_argument("--mutation", help="plant one of the defects of mutations.py")
    parser.add_argument("--until-found", action="store_true", help="stop at the first seed with problems")
    parser.add_argument("--digest", action="store_true", help="print the hash of each trace")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of strings must be the same everywhere
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    if given.mutation:
        mutations.plant(mutations.by_name(given.mutation))
    # Loaded only now, so that the defect is in what they load.
    from tests.simulation.plan import Plan, draw  # noqa: PLC0415
    from tests.simulation.running import make_template, shrink, simulate_in  # noqa: PLC0415

    folder = Path(
        tempfile.mkdtemp(prefix="timeball-simulation-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    failed = 0
    try:
        template = make_template(folder)
        first, _, last = given.seeds.partition("-")
        seeds = range(int(first), int(last or first) + 1)
        plans = [Plan.from_json(given.plan.read_text())] if given.plan else (draw(seed) for seed in seeds)
        began, count = time.process_time(), 0
        for plan in plans:
            report = simulate_in(folder, template, plan)
            count += 1
            if given.trace:
                print("\n".join(report.trace))
            if given.digest:
                print(plan.seed, hashlib.sha256("\n".join(report.trace).encode()).hexdigest()[:16])
            if report.problems:
                failed += 1
                print(f"seed {plan.seed}:", *report.problems, sep="\n  ", flush=True)
                if given.shrink:
                    small, problems = shrink(folder, template, plan)
                    print(small.to_json(), *problems, sep="\n  ", flush=True)
                if given.until_found:
                    break
        print(
            f"{count} worlds, {failed} with problems, {time.process_time() - began:.1f} s of processor time"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
