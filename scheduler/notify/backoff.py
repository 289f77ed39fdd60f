"""When a delivery that failed is tried again, and when it is given up. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

#: Seconds until the second attempt; the time doubles with each further one …
FIRST: Final = 1.0
#: … up to this many.
LONGEST: Final = 1800.0
#: From the first attempt on, so long it is tried.
PATIENCE: Final = timedelta(days=1)


def pause_after(tries: int) -> float:
    """Seconds between the attempt of that number, counted from 1, and the next: 1, 2, 4, … 1024, then 1800."""
    return min(FIRST * 2.0 ** min(tries - 1, 30), LONGEST)


def next_attempt(
    *, tries: int, first_tried_at: datetime, now: datetime, wish: float | None = None
) -> datetime | None:
    """When to try again; None if it is given up.

    Args:
        tries: how many attempts there were, the one that has just failed included.
        first_tried_at: when the first began (UTC).
        now: the present (UTC).
        wish: seconds that the receiver asked for; it gets no more than the longest pause.
    """
    pause = max(pause_after(tries), min(wish or 0.0, LONGEST))
    following = now + timedelta(seconds=pause)
    return following if following <= first_tried_at + PATIENCE else None
