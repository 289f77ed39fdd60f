"""How large the next batch may be, so that none holds the database for long.

Pure: it is told how long each batch took.
"""

from __future__ import annotations

from typing import Final

#: Seconds that a batch should take. The database has one writer: what is due waits for a batch that has begun.
TARGET: Final = 0.006
#: Of each second, clearing takes so much at most.
SHARE: Final = 0.25
#: The shortest pause between two batches, in seconds.
SHORTEST_PAUSE: Final = 0.004


class Pace:
    """The size of the batches of one kind of work.

    Args:
        first: how many things the first batch takes.
        most: how many any batch takes at most.
    """

    def __init__(self, first: int, most: int) -> None:
        self.size = first
        self._most = most

    def took(self, seconds: float) -> float:
        """Adapt to how long a batch took; answers for how many seconds to pause after it."""
        if seconds > TARGET:
            self.size = max(1, int(self.size * TARGET / seconds))
        elif seconds < TARGET / 2:
            self.size = min(self._most, self.size * 2)
        return max(SHORTEST_PAUSE, seconds * (1 / SHARE - 1))
