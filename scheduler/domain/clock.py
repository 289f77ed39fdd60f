"""The one clock: every 'now' inside comes from here, so that tests can bring their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present moment by the wall clock, as an aware UTC datetime; it can be set and so jump."""
        ...

    def steady(self) -> float:
        """Seconds since some fixed moment; never set, and at rest while the machine sleeps."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment by the wall clock, as an aware UTC datetime."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Seconds since the machine started, its sleep left out."""
        return time.monotonic()
