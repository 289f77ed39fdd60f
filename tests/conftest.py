"""Options and fixtures of the whole suite; what needs a missing part is left out, and named at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from tests.lab.engine import (
    busybox_image,
    engine_client,
    engine_url,
    installation,
    registry,
    why_no_engine,
    why_no_registry,
)
from tests.lab.nursery import nursery
from tests.lab.postgresql import postgresql, postgresql_url, private_postgresql, why_no_postgresql
from tests.lab.private_engine import private_engine, small_engine

__all__ = [
    "busybox_image",
    "engine_client",
    "engine_url",
    "installation",
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


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the tally of what is left out."""
    config.stash[LEFT_OUT] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only runs on request."""
    for item in items:
        for mark in ON_REQUEST:
            if item.get_closest_marker(mark) and not config.getoption(f"--{mark}"):
                item.add_marker(pytest.mark.skip(reason=f"runs only with --{mark}"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out, or fail, what needs a part that is not there."""
    for mark, why_missing in PARTS.items():
        if item.get_closest_marker(mark) is None or (reason := why_missing()) is None:
            continue
        if item.config.getoption("--require-engine") or os.environ.get("TIMEBALL_REQUIRE_ENGINE") == "1":
            pytest.fail(f"needs a real {mark}: {reason}", pytrace=False)
        item.config.stash[LEFT_OUT][mark, reason] += 1
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name how many tests were left out for want of a part, and why."""
    for (mark, reason), count in config.stash[LEFT_OUT].items():
        tests = "1 test that needs" if count == 1 else f"{count} tests that need"
        terminalreporter.write_line(f"LEFT OUT: {tests} a real {mark}: {reason}", yellow=True, bold=True)
