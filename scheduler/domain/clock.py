"""The clock. Every current time in the core comes from here, so that tests can replace it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The current time of the wall clock, as an aware UTC datetime; jumps when the clock is set."""
        ...

    def steady(self) -> float:
        """Seconds since some fixed moment; never set, and paused while the machine sleeps."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The current time of the wall clock, as an aware UTC datetime."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Seconds since the machine started, without the time it slept."""
        return time.monotonic()
