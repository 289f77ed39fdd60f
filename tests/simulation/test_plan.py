"""Plans of simulated worlds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation import running
from tests.simulation.plan import Plan, draw


@pytest.mark.parametrize("seed", range(50))
def test_a_plan_is_the_same_after_it_was_written_down(seed: int) -> None:
    """So that a failing one can be kept and repeated."""
    plan = draw(seed)
    assert Plan.from_json(plan.to_json()) == plan
    assert draw(seed) == plan


def test_a_failing_plan_is_made_as_small_as_possible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what it needs to fail remains."""

    def fails_with_a_crash(_folder: Path, _template: Path, plan: Plan) -> running.Report:
        crashes = [one for one in plan.happenings if one.kind == "crash"]
        return running.Report(["it crashed"] if crashes and plan.jobs else [], [])

    monkeypatch.setattr(running, "simulate_in", fails_with_a_crash)
    plan = next(
        plan
        for plan in map(draw, range(1000))
        if plan.daemons > 1 and len(plan.jobs) > 2 and sum(one.kind == "crash" for one in plan.happenings) > 1
    )
    small, problems = running.shrink(tmp_path, tmp_path, plan)
    assert problems == ["it crashed"]
    assert [one.kind for one in small.happenings] == ["crash"]
    assert (len(small.jobs), small.daemons) == (1, 1)
