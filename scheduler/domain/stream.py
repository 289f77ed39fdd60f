"""The streams that a run's log is made of; the numbers are those of the engine's own framing."""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """Where a piece of output came from."""

    SYSTEM = 0  # Timeball's own lines about the run
    STDOUT = 1
    STDERR = 2

    @property
    def label(self) -> str:
        """The name on the wire: ``system``, ``stdout`` or ``stderr``."""
        return self.name.lower()
