"""A circuit breaker for an engine: opens when the engine does not answer, and closes when it answers again.

Pure: calculates the state from events and their times. While the circuit is open, nothing waits for the engine; after
a pause, one probe is let through (half open), which closes the circuit or opens it for a longer pause.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Consecutive calls without an answer after which the circuit opens.
FAILURES: Final = 3


class CircuitState(StrEnum):
    """Whether calls are let through."""

    CLOSED = "closed"  # all calls
    OPEN = "open"  # none
    HALF_OPEN = "half_open"  # only the probe


class Circuit:
    """The circuit of one engine. It begins open, with its first probe due, because nothing is known yet.

    All times are in seconds of a monotonic clock.

    Args:
        first_pause: seconds before an open circuit is probed; each further pause is twice as long.
        longest_pause: maximum pause in seconds.
        failures: consecutive calls without an answer after which the circuit opens.

    Attributes:
        state: whether calls are let through.
        reason: why they are not, for people; None while they are.
    """

    def __init__(self, *, first_pause: float, longest_pause: float, failures: int = FAILURES) -> None:
        self.state = CircuitState.OPEN
        self.reason: str | None = "The engine has not answered yet"
        self._most_failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures = 0
        self._pause = first_pause
        self._probe_at = float("-inf")

    @property
    def lets_through(self) -> bool:
        """Whether ordinary calls may be made."""
        return self.state is CircuitState.CLOSED

    def answered(self) -> None:
        """Record that an ordinary call was answered, even if with an error."""
        if self.state is CircuitState.CLOSED:
            self._failures = 0
            # Not when the probe succeeds: an engine that only answers probes is contacted less and less often.
            self._pause = self._first_pause

    def failed(self, now: float, reason: str) -> bool:
        """Record that an ordinary call was not answered; returns whether this opens the circuit."""
        if self.state is not CircuitState.CLOSED:
            return False  # the call began before the circuit opened, so it shows nothing new
        self._failures += 1
        if self._failures < self._most_failures:
            return False
        self.open(now, reason)
        return True

    def open(self, now: float, reason: str) -> None:
        """Open the circuit: a probe failed, or the engine is known to be unavailable."""
        self.reason = reason
        self.state = CircuitState.OPEN
        self._failures = 0
        self._probe_at = now + self._pause
        self._pause = min(self._pause * 2, self._longest_pause)

    def seconds_to_probe(self, now: float) -> float:
        """Seconds until the next probe; 0 if it is due."""
        return max(self._probe_at - now, 0.0)

    def probe(self) -> None:
        """Record that the probe is in progress."""
        self.state = CircuitState.HALF_OPEN

    def close(self) -> None:
        """Close the circuit: the probe was answered."""
        self.state = CircuitState.CLOSED
        self.reason = None
        self._failures = 0
