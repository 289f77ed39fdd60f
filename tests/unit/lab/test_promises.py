"""The table of promises by engine says what test runs have recorded, and only of tests that there are."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab import promises
from tests.lab.engine import EngineKind
from tests.lab.promises import PROMISES, is_there, read, record, result_of, table

TRIXIE = EngineKind(name="Docker", version="26.1.5", store="containerd", api="1.45", cgroup="1")
PULL = "tests/integration/test_pull_trouble.py::test_a_registry_that_denies_is_asked_once"
STOP = "tests/contract/test_engine_contract.py::test_a_kill_does_not_wait[docker]"


def report(**what: Any) -> Any:
    """A phase of a test as pytest reports it."""
    facts = {"when": "call", "failed": False, "skipped": False, "longrepr": None}
    return SimpleNamespace(**(facts | what))


@pytest.mark.parametrize(
    ("phase", "result"),
    [
        (report(), "passed"),
        (report(when="setup"), ""),
        (report(failed=True), "failed"),
        (report(when="teardown", failed=True), "failed"),
        (report(when="setup", skipped=True, longrepr=("f", 1, "Skipped: no sshd")), "skipped: no sshd"),
        (report(skipped=True, wasxfail="it has no such events"), "failed: it has no such events"),
    ],
)
def test_each_phase_of_a_test_gives_it_a_result_or_none(phase: Any, result: str) -> None:
    """An expected failure is one all the same."""
    assert result_of(phase) == result


def test_a_promise_holds_where_all_its_tests_pass_and_says_why_where_not() -> None:
    """What nobody has tried is told apart from both."""
    found = {
        "Podman 5.4": {"version": "5.4.2", "results": {"pulls": {PULL: "skipped: no registry"}}},
        "Docker 26.1, containerd": {
            "version": "26.1.5",
            "results": {"pulls": {PULL: "failed"}, "stop": {STOP: "passed"}},
        },
    }
    lines = table(found).splitlines()
    assert lines[0] == "| | Docker 26.1<br>containerd | Podman 5.4 |"
    assert lines[2] == "| *version* | 26.1.5 | 5.4.2 |"
    assert f"| {PROMISES['stop']} | holds | not tried |" in lines
    assert f"| {PROMISES['pulls']} | **does not hold** | not tried |" in lines
    denied = "“a registry that denies is asked once”"
    assert lines[-2:] == [
        f"- Docker 26.1, containerd, “{PROMISES['pulls']}”: the test {denied} fails",
        f"- Podman 5.4, “{PROMISES['pulls']}”: {denied} was not tried (no registry)",
    ]


def test_a_record_keeps_what_was_not_tried_again_and_forgets_tests_that_are_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of single files add up to a column."""
    monkeypatch.setattr(promises, "RECORD", tmp_path / "engines.json")
    monkeypatch.setattr(promises, "PAGE", tmp_path / "engines.md")
    promises.PAGE.write_text("<!-- begin promises -->\n<!-- end promises -->\n", encoding="utf-8")
    gone = "tests/contract/test_engine_contract.py::test_what_was_once"
    record(TRIXIE, {"stop": {STOP: "failed", gone: "passed"}})
    slow = STOP.replace("docker", "slow")
    record(
        TRIXIE, {"stop": {STOP: "passed", slow: "skipped: runs only with --slow"}, "pulls": {PULL: "passed"}}
    )
    assert json.loads(promises.RECORD.read_text(encoding="utf-8")) == {
        "Docker 26.1, containerd": {
            "version": "26.1.5",
            "results": {"pulls": {PULL: "passed"}, "stop": {STOP: "passed"}},
        }
    }
    assert "| Docker 26.1<br>containerd |" in promises.PAGE.read_text(encoding="utf-8")


def test_what_is_recorded_is_of_tests_that_there_are() -> None:
    """Otherwise: deploy/test --record-engines."""
    recorded = [test for column in read().values() for tests in column["results"].values() for test in tests]
    assert [test for test in recorded if not is_there(test)] == []
