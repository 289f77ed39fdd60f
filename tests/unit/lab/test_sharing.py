"""Tests in several processes: what each leaves out is told at the end, and the longest files come first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab import durations

ROOT = Path(__file__).parents[3]
#: Three tests, of which each needs an engine.
FILE = "tests/integration/test_escapes.py"


def shared_out(*options: str) -> subprocess.CompletedProcess[str]:
    """Run these tests in two processes where no engine is."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("TIMEBALL_", "PYTEST_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", *options, FILE],
        cwd=ROOT,
        env={**plain, "DOCKER_HOST": "unix:///nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_every_process_left_out_is_counted_in_the_end():
    """Once over all of them, with what is missing and what to do about it."""
    done = shared_out()
    assert done.returncode == 0, done.stdout
    assert "LEFT OUT: 3 tests that need a real engine: no engine at unix:///nowhere" in done.stdout


def test_an_engine_that_is_required_is_required_of_every_process():
    """None of the tests is left out."""
    done = shared_out("--require-engine")
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("needs a real engine: no engine at unix:///nowhere") >= 3
    assert "LEFT OUT" not in done.stdout


@dataclass
class Item:
    """Stands for a test."""

    nodeid: str


def test_the_longest_files_come_first_and_new_ones_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The tests of a file stay together, and in their order."""
    monkeypatch.setattr(durations, "RECORD", tmp_path / "record.json")
    (tmp_path / "record.json").write_text(json.dumps({"short.py": 1.0, "long.py": 100.0}))
    names = ["short.py::b", "short.py::a", "new.py::a", "long.py::b[x::y]", "long.py::a"]
    items: list[Any] = [Item(name) for name in names]
    durations.longest_first(items)
    assert [item.nodeid for item in items] == [*names[3:], names[2], *names[:2]]


def test_durations_are_kept_of_files_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of those that were run now, what was measured; of the others, what was known before."""
    monkeypatch.setattr(durations, "ROOT", tmp_path)
    monkeypatch.setattr(durations, "RECORD", tmp_path / "record.json")
    for name in ("old.py", "now.py"):
        (tmp_path / name).touch()
    (tmp_path / "record.json").write_text(json.dumps({"old.py": 3.0, "now.py": 1.0, "gone.py": 9.0}))
    durations.record(Counter({"now.py": 2.04}))
    assert json.loads((tmp_path / "record.json").read_text()) == {"now.py": 2.0, "old.py": 3.0}
