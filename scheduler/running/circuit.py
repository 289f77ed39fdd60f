"""Whether an engine is worth asking: a circuit that opens when it does not answer, and closes when it does again.

Pure: told what happened and when, it says what is so. While it is open nobody waits for the engine; after a pause
one probe is let through (half open), which closes it or opens it for a longer pause.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Calls one after the other that stay unanswered before the circuit opens.
FAILURES: Final = 3


class CircuitState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"  # all of them
    OPEN = "open"  # none
    HALF_OPEN = "half_open"  # the probe alone


class Circuit:
    """The circuit of one engine. It begins open, with its first probe due: nothing is known yet.

    Every moment is in seconds of any clock that only goes forward.

    Args:
        first_pause: seconds before an open circuit is probed; each further pause is twice the one before.
        longest_pause: at most so many.
        failures: calls one after the other that stay unanswered before it opens.

    Attributes:
        state: whether calls go through.
        reason: why they do not, for people; None while they do.
    """

    def __init__(self, *, first_pause: float, longest_pause: float, failures: int = FAILURES) -> None:
        self.state = CircuitState.OPEN
        self.reason: str | None = "The engine has not been asked yet"
        self._most_failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures = 0
        self._pause = first_pause
        self._probe_at = float("-inf")

    @property
    def lets_through(self) -> bool:
        """Whether an ordinary call may be made."""
        return self.state is CircuitState.CLOSED

    def answered(self) -> None:
        """An ordinary call was answered, if only with a refusal."""
        if self.state is CircuitState.CLOSED:
            self._failures = 0
            # Not with the probe: an engine that answers probes and nothing else is asked ever more rarely.
            self._pause = self._first_pause

    def failed(self, now: float, reason: str) -> bool:
        """An ordinary call was not answered; says whether the circuit opens for it."""
        if self.state is not CircuitState.CLOSED:
            return False  # begun before it opened: that is known already
        self._failures += 1
        if self._failures < self._most_failures:
            return False
        self.open(now, reason)
        return True

    def open(self, now: float, reason: str) -> None:
        """Let nothing through: a probe failed, or the engine is known to be gone."""
        self.reason = reason
        self.state = CircuitState.OPEN
        self._failures = 0
        self._probe_at = now + self._pause
        self._pause = min(self._pause * 2, self._longest_pause)

    def seconds_to_probe(self, now: float) -> float:
        """How long to wait before the next probe; 0 when it is due."""
        return max(self._probe_at - now, 0.0)

    def probe(self) -> None:
        """The probe is on its way."""
        self.state = CircuitState.HALF_OPEN

    def close(self) -> None:
        """The probe was answered."""
        self.state = CircuitState.CLOSED
        self.reason = None
        self._failures = 0
