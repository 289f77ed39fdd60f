"""When a failed delivery is retried, and when it is given up. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

#: Seconds until the second attempt; the pause doubles with each further attempt …
FIRST: Final = 1.0
#: … up to this limit.
LONGEST: Final = 1800.0
#: Time after the first attempt during which the delivery is retried.
PATIENCE: Final = timedelta(days=1)


def pause_after(tries: int) -> float:
    """Seconds between attempt number `tries`, counted from 1, and the next: 1, 2, 4, … 1024, then 1800."""
    return min(FIRST * 2.0 ** min(tries - 1, 30), LONGEST)


def next_attempt(
    *, tries: int, first_tried_at: datetime, now: datetime, wish: float | None = None
) -> datetime | None:
    """The time of the next attempt; None if the delivery is given up.

    Args:
        tries: number of attempts, including the one that has just failed.
        first_tried_at: when the first attempt began (UTC).
        now: the current time (UTC).
        wish: pause that the receiver asked for, in seconds; limited to the longest pause.
    """
    pause = max(pause_after(tries), min(wish or 0.0, LONGEST))
    following = now + timedelta(seconds=pause)
    return following if following <= first_tried_at + PATIENCE else None
