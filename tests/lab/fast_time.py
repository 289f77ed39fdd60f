"""Time that runs faster: a clock, an event loop that keeps to it, and APScheduler told of it.

For tests of a whole daemon in one process, on the engine in memory: half an hour of its timers in some seconds. What
happens on threads (the database) takes as long as ever, so that by such a clock everything is slow; tests assert
what must not come too early, and never how late it came.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar

import pytest
from apscheduler.schedulers import base as apscheduler_base

T = TypeVar("T")


class FastClock:
    """The machine's clock from now on, so many times as fast; the wall clock can be set.

    Args:
        factor: how many of its seconds pass in one.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._wall = datetime.now(UTC)
        self._began = time.monotonic()

    def now(self) -> datetime:
        """The wall clock."""
        return self._wall + timedelta(seconds=self.steady() - self._began)

    def steady(self) -> float:
        """Seconds since some moment; never set."""
        return self._began + (time.monotonic() - self._began) * self.factor

    def jump(self, by: timedelta) -> None:
        """Set the wall clock, forward or back."""
        self._wall += by


class _FastSelector(selectors.DefaultSelector):
    """Waits for as long as fast seconds take."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As ever, with the time limit in fast seconds."""
        return super().select(None if timeout is None else timeout / self._factor)


class _FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers count fast seconds."""

    def __init__(self, clock: FastClock) -> None:
        self._fast = clock
        super().__init__(_FastSelector(clock.factor))

    def time(self) -> float:
        """Fast seconds."""
        return self._fast.steady()


def run_fast(clock: FastClock, work: Coroutine[Any, Any, T], monkeypatch: pytest.MonkeyPatch) -> T:
    """Run something by that clock, until it is over."""

    class _Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override] # a plain one, as elsewhere
            return clock.now().astimezone(tz)

    # APScheduler asks for the time by itself, and only so.
    monkeypatch.setattr(apscheduler_base, "datetime", _Now)
    with asyncio.Runner(loop_factory=lambda: _FastLoop(clock)) as runner:
        return runner.run(work)
