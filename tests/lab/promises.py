"""What Timeball promises of runs, and on which engines tests have shown it: the table in `docs/engines.md`.

A test on a real engine that shows a promise is marked ``@pytest.mark.promise("started-once")``. With
``--record-engines``, a test run writes the result of each such test into `tests/engines.json`, under the engine
that it ran on, and renders the page anew: an engine gets its column by one such run, and nothing else has to be done
for it. A test that is expected to fail there (``xfail`` with a reason) is a promise that does not hold, for that
reason; one that is skipped was not tried.

The file is ``{column: {"version": "26.1.5", "results": {promise: {node id of a test: result}}}}``. A result is
``passed``, or ``failed`` or ``skipped``, for which a reason may follow a colon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.lab.engine import EngineKind
from tests.manual.pages import ROOT, with_part

RECORD = ROOT / "tests" / "engines.json"
PAGE = ROOT / "docs" / "engines.md"

PROMISES: Final = {
    "created-once": "A run has one container, however often it is asked for",
    "started-once": "No run is carried out twice or lost when the engine is killed right after a start",
    "engine-death": "An engine that dies, hangs or comes late is noticed and waited for, and costs only what it ran",
    "exit-codes": "A run ends with its own exit code, and a command that cannot be started says why",
    "out-of-memory": "A run that exceeded its memory is told apart from one that was killed",
    "output": "Output is complete and unchanged, each stream in its order",
    "output-after": "Output of an outage is fetched afterwards, and an engine's death loses none that was stored",
    "limits": "Memory, processors and rights are what the job says, and nothing gets out of a container",
    "stop": "A stop asks first and kills after the grace period",
    "secrets": "Secrets in files are in memory only, and gone with the container",
    "private-images": "A private image stays with those who have a credential for it",
    "same-image": "Pins and replays run the same image, whatever its tag stands for by now",
    "pulls": "A pull is repeated where that can help, and fails with the registry's words where not",
    "events": "Events tell of starts, ends and removals, and go on after a broken connection",
    "own-only": "Containers of others are left alone",
    "far": "An engine over TLS or ssh is like a local one",
}

#: How the reason begins for which a test is left out that runs only with an option; that says nothing of an engine.
ON_REQUEST: Final = "runs only with"

Record = dict[str, dict[str, Any]]


def names_of(item: pytest.Item) -> list[str]:
    """The promises that a test shows on a real engine.

    Raises:
        KeyError: a mark names none that there is.
    """
    if item.get_closest_marker("engine") is None:
        return []
    names = [str(mark.args[0]) for mark in item.iter_markers("promise")]
    for name in names:
        _ = PROMISES[name]
    return names


class Recorder:
    """Collects the results of marked tests, from whichever process they come."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a phase of a test came to; what it said first stays."""
        names = [str(value) for key, value in report.user_properties if key == "promise"]
        result = result_of(report)
        for name in names if result else ():
            known = self.results.setdefault(name, {})
            if known.get(report.nodeid, "passed") == "passed":
                known[report.nodeid] = result


def result_of(report: pytest.TestReport) -> str:
    """The result that a phase gives a test: none from a set-up or clearing up that went well."""
    if reason := getattr(report, "wasxfail", ""):
        return f"failed: {reason.removeprefix('reason: ')}" if report.skipped else "passed"
    if report.failed:
        return "failed"
    if report.skipped:
        said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return f"skipped: {said.removeprefix('Skipped: ')}"
    return "passed" if report.when == "call" else ""


def read() -> Record:
    """What is recorded."""
    found: Record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return found


def record(kind: EngineKind, results: Mapping[str, Mapping[str, str]]) -> None:
    """Put the results in place of older ones of the same tests, and forget tests that are no more."""
    found = read()
    column = found.setdefault(kind.column, {"version": kind.version, "results": {}})
    column["version"] = kind.version
    for promise, tests in results.items():
        column["results"].setdefault(promise, {}).update(tests)
    for known in found.values():
        known["results"] = {
            promise: {
                test: result
                for test, result in sorted(tests.items())
                if is_there(test) and not result.startswith(f"skipped: {ON_REQUEST}")
            }
            for promise, tests in sorted(known["results"].items())
            if promise in PROMISES
        }
    text = json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False)
    RECORD.write_text(text + "\n", encoding="utf-8")
    PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8"), "promises", table()), encoding="utf-8")


def is_there(test: str) -> bool:
    """Whether there still is such a test."""
    path, _, name = test.partition("::")
    file = ROOT / path
    return file.exists() and f"def {name.partition('[')[0]}(" in file.read_text(encoding="utf-8")


def table(found: Record | None = None) -> str:
    """The table of promises by engine, and why some do not hold."""
    found = read() if found is None else found
    columns = sorted(found, key=_place)
    shown = [f"{column.partition(',')[0]}{_store(column)}" for column in columns]
    lines = ["| | " + " | ".join(shown) + " |", "|---" * (len(columns) + 1) + "|"]
    lines.append("| *version* | " + " | ".join(found[column]["version"] for column in columns) + " |")
    notes: list[str] = []
    for promise, sentence in PROMISES.items():
        cells = []
        for column in columns:
            cell, reasons = _cell(found[column]["results"].get(promise, {}))
            cells.append(cell)
            notes += [f"- {column}, “{sentence}”: {reason}" for reason in reasons]
        lines.append(f"| {sentence} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes]).rstrip()


def _place(column: str) -> tuple[str, list[int], str]:
    numbers = [int(number) for number in re.findall(r"\d+", column.partition(",")[0])]
    return column.partition(" ")[0], numbers, column


def _store(column: str) -> str:
    store = column.partition(", ")[2]
    return f"<br>{store}" if store else ""


def _cell(tests: Mapping[str, str]) -> tuple[str, list[str]]:
    """What a cell says, and what is to be said about it."""
    failed = [test for test, result in tests.items() if result.startswith("failed")]
    passed = [test for test, result in tests.items() if result == "passed"]
    reasons = list(_reasons(tests))
    if failed:
        return "**does not hold**", reasons
    return ("holds" if passed else "not tried"), reasons


def _reasons(tests: Mapping[str, str]) -> Iterator[str]:
    told = set()
    for test, result in tests.items():
        outcome, _, reason = result.partition(": ")
        sentence = test.rpartition("::test_")[2].partition("[")[0].replace("_", " ")
        text = {
            "failed": f"does not hold: {reason}" if reason else f"the test “{sentence}” fails",
            "skipped": f"“{sentence}” was not tried ({reason})",
        }.get(outcome)
        if text is not None and text not in told:
            told.add(text)
            yield text
