"""The streams of a run's log; the numbers are those of the engine's own framing."""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """The stream that a piece of output belongs to."""

    SYSTEM = 0  # Timeball's own lines about the run
    STDOUT = 1
    STDERR = 2

    @property
    def label(self) -> str:
        """The name on the wire: ``system``, ``stdout`` or ``stderr``."""
        return self.name.lower()
