"""A clock for tests: runs like the machine's own, and can be set."""

from __future__ import annotations

from datetime import datetime, timedelta

from scheduler.domain.clock import SystemClock


class SettableClock:
    """The machine's clock, plus whatever it was set by."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self._offset = timedelta(0)
        self._stood_still = 0.0

    def now(self) -> datetime:
        """The wall clock, as it was set."""
        return self._real.now() + self._offset

    def steady(self) -> float:
        """Never set."""
        return self._real.steady() + self._stood_still

    def jump(self, by: timedelta) -> None:
        """Set the wall clock, forward or back."""
        self._offset += by

    def stand_still(self, long: timedelta) -> None:
        """Let time pass at once, as for a process that was stopped meanwhile."""
        self._offset += long
        self._stood_still += long.total_seconds()
