"""The arithmetic of repeating intervals: the k-th occurrence, and how many have come by a moment.

Every occurrence is reckoned from the anchor, never from the one before it, so nothing drifts; and none is
walked through to reach another, so the distance from the anchor costs nothing. Pure; works on ticks (see
``instants``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scheduler.timing.instants import HOUR, MEAN_MONTH, add_months
from scheduler.timing.zones import Oddity, WallClock

# No zone ever skipped more than a day (Samoa on 2011-12-30).
_LONGEST_GAP = 26 * HOUR


@dataclass(frozen=True, slots=True)
class DurationStep:
    """A duration, split by how it moves.

    Attributes:
        months: years and months, stepped on the wall clock first, clamped to the month's last day.
        wall: weeks and days in ticks, stepped on the wall clock.
        elapsed: hours, minutes and seconds in ticks, elapsed time, added last.
    """

    months: int
    wall: int
    elapsed: int

    @property
    def mean(self) -> int:
        """The mean length in ticks."""
        return self.months * MEAN_MONTH + self.wall + self.elapsed


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a progression is reckoned from.

    Attributes:
        at: the moment, in ticks of UTC.
        wall: the wall-clock time as written, in ticks of the wall clock; daylight saving may skip it.
        oddity: what was odd about the wall-clock time, if it was written without an offset.
    """

    at: int
    wall: int
    oddity: Oddity | None = None


class Progression:
    """The moments ``anchor ± k × step`` for k = 0, 1, 2, …, with no end of their own.

    They never turn back: forward they ascend and backward they descend, except that several may share one
    moment where daylight saving skips more than a step.
    """

    __slots__ = ("anchor", "clock", "direction", "step")

    def __init__(
        self, anchor: Anchor, step: DurationStep, clock: WallClock, direction: Literal[1, -1]
    ) -> None:
        if clock.zone is None:
            # On UTC's clock a day is 24 elapsed hours; one kind less keeps the arithmetic closed.
            step = DurationStep(step.months, 0, step.wall + step.elapsed)
        self.anchor = anchor
        self.step = step
        self.clock = clock
        self.direction = direction

    @property
    def on_wall_clock(self) -> bool:
        """Whether some part of the step moves on the wall clock."""
        return bool(self.step.months or self.step.wall)

    def at(self, k: int) -> int:
        """The k-th moment in ticks of UTC; may lie outside the calendar."""
        if k == 0:
            return self.anchor.at
        elapsed = self.direction * k * self.step.elapsed
        if not self.on_wall_clock:
            return self.anchor.at + elapsed
        moment = self.clock.resolve(self._wall(k))[0] + elapsed
        # An anchor written with its offset may lie in the second pass of a doubled hour; what is reckoned
        # from its reading would lie in the first, on the wrong side of it.
        return max(moment, self.anchor.at) if self.direction > 0 else min(moment, self.anchor.at)

    def oddity(self, k: int) -> Oddity | None:
        """What daylight saving does to the wall-clock time of the k-th moment."""
        if k == 0:
            # Written with its offset, it is one moment alone, in either pass of a doubled hour.
            return self.anchor.oddity
        return self.clock.resolve(self._wall(k))[1] if self.on_wall_clock else None

    def reach(self, limit: int) -> int:
        """How many moments lie at or before ``limit`` in the progression's own direction.

        Forward, those with ``at(k) <= limit``; backward, those with ``at(k) >= limit``. With a step of
        zero, one.
        """
        distance = self.direction * (limit - self.anchor.at)
        if distance < 0:
            return 0
        mean = self.step.mean
        if mean == 0:
            return 1
        if not self.on_wall_clock:
            return distance // mean + 1
        # The mean step leads to within a step or two; from there the true place is closed in by doubling strides.
        stride = 1
        high = distance // mean
        if self._within(high, limit):
            low, high = high, high + stride
            while self._within(high, limit):
                stride *= 2
                low, high = high, high + stride
        else:
            low = high - stride
            while low > 0 and not self._within(low, limit):
                stride *= 2
                low, high = low - stride, low
            low = max(low, 0)
        while high - low > 1:
            middle = (low + high) // 2
            if self._within(middle, limit):
                low = middle
            else:
                high = middle
        return high

    def may_share_moments(self) -> bool:
        """Whether two different k can have the same moment."""
        return self.on_wall_clock and self.step.months == 0 and self.step.wall <= _LONGEST_GAP

    def _wall(self, k: int) -> int:
        moved = self.direction * k
        wall = self.anchor.wall
        if self.step.months:
            wall = add_months(wall, moved * self.step.months)
        return wall + moved * self.step.wall

    def _within(self, k: int, limit: int) -> bool:
        return self.direction * (self.at(k) - limit) <= 0
