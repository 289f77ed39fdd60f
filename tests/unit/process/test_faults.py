"""Fault points do nothing unless somebody arms one, and exactly what was asked for if somebody does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.domain.errors import SettingsError
from scheduler.process import faults
from scheduler.process.faults import FaultAction, InjectedFaultError, Point
from scheduler.settings.settings import load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No fault outlives its test."""
    yield
    faults.disarm()


@pytest.mark.parametrize("where", Point)
def test_a_point_where_nothing_is_armed_is_passed(where: Point) -> None:
    """The environment of a user says nothing of faults."""
    faults.arm_from({"TIMEBALL_PORT": "1"})
    faults.point(where)


def test_a_fault_takes_effect_at_its_own_point_at_the_passing_asked_for_and_once() -> None:
    """The third time at this point, not at another, and not again."""
    faults.arm_from({faults.VARIABLE: "created:3:raise"})
    passed = []
    for number in range(1, 6):
        faults.point(Point.STARTED)
        try:
            faults.point(Point.CREATED)
        except InjectedFaultError as error:
            passed.append((number, str(error)))
    assert passed == [(3, "a test requested a failure at created")]


@pytest.mark.parametrize(
    "text",
    ["", "nowhere", "created:0", "created:-1", "created:x", "created:1:smile", "created:1:kill:", " created"],
)
def test_a_fault_that_there_is_not_is_refused_with_what_there_is(text: str) -> None:
    """A misspelt one would be without effect, and the test that relies on it without sense."""
    with pytest.raises(SettingsError) as refused:
        faults.arm_from({faults.VARIABLE: text})
    assert "TIMEBALL_TEST_FAULT" in str(refused.value)
    assert repr(text) in str(refused.value)
    assert all(point.value in str(refused.value) for point in Point)
    assert all(action.value in str(refused.value) for action in FaultAction)


def test_no_setting_arms_a_fault_but_its_own_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration does not know the word, and the variable alone is no unknown one."""
    for name in list(os.environ):
        if name.startswith("TIMEBALL_"):
            monkeypatch.delenv(name)
    config = tmp_path / "timeball.toml"
    config.write_text("test_fault = 'created'\n")
    with pytest.raises(SettingsError, match="test_fault"):
        load_settings(config)
    monkeypatch.setenv(faults.VARIABLE, "created")
    load_settings()


def test_every_point_lies_somewhere_in_the_code_once() -> None:
    """One that is passed nowhere, or in two places, would show nothing by its test."""
    passed: dict[str, int] = dict.fromkeys(Point.__members__, 0)
    for path in (ROOT / "scheduler").rglob("*.py"):
        if path.name != "faults.py":
            text = path.read_text(encoding="utf-8")
            for name in passed:
                passed[name] += text.count(f"Point.{name} ") + text.count(f"Point.{name})")
    assert passed == dict.fromkeys(Point.__members__, 1)
