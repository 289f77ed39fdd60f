"""A long time with very many due times, and a day of an ordinary installation."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def _soak(*arguments: str) -> dict[str, Any]:
    """What came of a soak, in a process of its own, whose memory is looked at."""
    command = [sys.executable, "-m", "tests.simulation.soak", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[:4_000] + done.stderr[-2_000:]
    outcome: dict[str, Any] = json.loads(done.stdout)
    assert outcome["problems"] == []
    assert sum(outcome["outcomes"].values()) == outcome["due"]
    assert outcome["crashes"] >= 4
    assert outcome["engine_deaths"] >= 3
    return outcome


def test_some_thousand_due_times_have_one_outcome_each() -> None:
    """A small form of the test below."""
    outcome = _soak("--hours", "0.4", "--due", "2500")
    assert outcome["due"] >= 2_500
    assert outcome["outcomes"]["skipped"] > outcome["outcomes"]["ran"] > 100
    assert outcome["outcomes"]["missed"] > 0


@pytest.mark.slow
def test_a_million_due_times_in_a_day_have_one_outcome_each_in_the_same_memory() -> None:
    """Although the daemon and its engine die now and then; memory that grew is among the problems."""
    outcome = _soak()
    assert outcome["due"] >= 1_000_000
    assert outcome["outcomes"]["ran"] > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_day_keeps_every_promise(seed: int) -> None:
    """It takes some tens of seconds."""
    command = [sys.executable, "-m", "tests.simulation.day", "--seeds", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
