"""Options and fixtures of the whole suite; what needs a missing part is left out, and named at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.lab import durations, promises
from tests.lab.databases import migrated
from tests.lab.engine import (
    busybox_image,
    engine_client,
    engine_kind,
    engine_url,
    find_engine_url,
    installation,
    registry,
    why_no_engine,
    why_no_registry,
)
from tests.lab.killing import dice
from tests.lab.loop_time import loop_time
from tests.lab.nursery import nursery
from tests.lab.postgresql import postgresql, postgresql_url, private_postgresql, why_no_postgresql
from tests.lab.private_engines import private_engine, small_engine

__all__ = [
    "busybox_image",
    "dice",
    "engine_client",
    "engine_url",
    "installation",
    "loop_time",
    "migrated",
    "nursery",
    "postgresql",
    "postgresql_url",
    "private_engine",
    "private_postgresql",
    "registry",
    "small_engine",
]

# For each mark that stands for a real part: what tells why there is none (None if there is one).
PARTS: dict[str, Callable[[], str | None]] = {
    "engine": cache(why_no_engine),
    "registry": cache(why_no_registry),
    "postgresql": cache(why_no_postgresql),
}
# Marks of tests that only run when asked for, by the option of the same name.
ON_REQUEST = ("slow", "bench")

LEFT_OUT = pytest.StashKey[Counter[tuple[str, str]]]()
SPENT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's own options."""
    group = parser.getgroup("timeball")
    group.addoption(
        "--require-engine",
        action="store_true",
        help="fail where a real engine or registry is missing, instead of leaving those tests out "
        "(also TIMEBALL_REQUIRE_ENGINE=1)",
    )
    group.addoption("--slow", action="store_true", help="include tests that take more than a minute")
    group.addoption("--bench", action="store_true", help="include tests that measure speed")
    group.addoption(
        "--record-durations",
        action="store_true",
        help="write down how long each file takes, for the order in which they are shared out",
    )
    group.addoption(
        "--record-engines",
        action="store_true",
        help="write down which promises hold on this engine, for the table in docs/engines.md",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the tallies, and let no example of hypothesis fail for having taken long on a busy machine."""
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
    config.stash[LEFT_OUT] = Counter()
    config.stash[SPENT] = Counter()
    config.pluginmanager.register(Tallies(config))
    config.pluginmanager.register(promises.Recorder(), "promises")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only runs on request; where several share the tests out, begin with the longest files."""
    if hasattr(config, "workerinput"):
        durations.longest_first(items)
    for item in items:
        item.user_properties += [("promise", name) for name in promises.names_of(item)]
        for mark in ON_REQUEST:
            if item.get_closest_marker(mark) and not config.getoption(f"--{mark}"):
                item.add_marker(pytest.mark.skip(reason=f"{promises.ON_REQUEST} --{mark}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out, or fail, what needs a part that is not there."""
    for mark, why_missing in PARTS.items():
        if item.get_closest_marker(mark) is None or (reason := why_missing()) is None:
            continue
        if item.config.getoption("--require-engine") or os.environ.get("TIMEBALL_REQUIRE_ENGINE") == "1":
            pytest.fail(f"needs a real {mark}: {reason}", pytrace=False)
        item.config.stash[LEFT_OUT][mark, reason] += 1
        pytest.skip(reason)


class Tallies:
    """Counts over all reports, from whichever process they come."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test's time to its file's."""
        if not hasattr(report, "context"):  # a subtest's time is in its test's as well
            self._config.stash[SPENT][report.nodeid.partition("::")[0]] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the tally to the process that shares the tests out, or write down how long the files took."""
    config = session.config
    if (output := getattr(config, "workeroutput", None)) is not None:
        output["left_out"] = [[*what, count] for what, count in config.stash[LEFT_OUT].items()]
        return
    if config.getoption("--record-durations"):
        durations.record(config.stash[SPENT])
    if config.getoption("--record-engines"):
        shown: promises.Recorder = config.pluginmanager.get_plugin("promises")
        promises.record(engine_kind(find_engine_url()), shown.results)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the tally of a process that ran a share of the tests."""
    for mark, reason, count in getattr(node, "workeroutput", {}).get("left_out", ()):
        node.config.stash[LEFT_OUT][mark, reason] += count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name how many tests were left out for want of a part, and why."""
    for (mark, reason), count in config.stash[LEFT_OUT].items():
        tests = "1 test that needs" if count == 1 else f"{count} tests that need"
        terminalreporter.write_line(f"LEFT OUT: {tests} a real {mark}: {reason}", yellow=True, bold=True)
    if why_no_engine() is None:
        terminalreporter.write_line(f"ENGINE: {engine_kind(find_engine_url())}", bold=True)
    if note := os.environ.get("TIMEBALL_TEST_ENGINE_NOTE"):
        terminalreporter.write_line(f"ENGINE: {note}", yellow=True, bold=True)
