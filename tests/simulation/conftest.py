"""Fixtures of the simulation's own tests: each simulates in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

Simulate = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def simulate() -> Simulate:
    """Runs `python -m tests.simulation` with these arguments, and returns how it ended and what it printed."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.simulation", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run
