"""Adapts the size of batches, so that none of them holds the database for long.

Pure: it is given the duration of each batch.
"""

from __future__ import annotations

from typing import Final

#: Target duration of a batch in seconds. The database has one writer, so due runs wait for a batch in progress.
TARGET: Final = 0.006
#: Maximum share of the time that deleting may take.
SHARE: Final = 0.25
#: The shortest pause between two batches, in seconds.
SHORTEST_PAUSE: Final = 0.004


class Pace:
    """The batch size of one kind of work.

    Args:
        first: size of the first batch.
        most: maximum size of a batch.
    """

    def __init__(self, first: int, most: int) -> None:
        self.size = first
        self._most = most

    def took(self, seconds: float) -> float:
        """Adapt to the duration of a batch; returns the seconds to pause after it."""
        if seconds > TARGET:
            self.size = max(1, int(self.size * TARGET / seconds))
        elif seconds < TARGET / 2:
            self.size = min(self._most, self.size * 2)
        return max(SHORTEST_PAUSE, seconds * (1 / SHARE - 1))
