"""The arithmetic of repeating intervals: the k-th occurrence, and the number of occurrences up to a moment.

Every occurrence is calculated from the anchor, never from the previous one, so nothing drifts and the cost does not
depend on the distance from the anchor. Pure; uses ticks (see ``instants``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scheduler.timing.instants import HOUR, MEAN_MONTH, add_months
from scheduler.timing.zones import Oddity, WallClock

# No zone has ever skipped more than a day (Samoa on 2011-12-30).
_LONGEST_GAP = 26 * HOUR


@dataclass(frozen=True, slots=True)
class DurationStep:
    """A duration, split by the clock it refers to.

    Attributes:
        months: years and months, added first on the wall clock, limited to the last day of the month.
        wall: weeks and days in ticks, added on the wall clock.
        elapsed: hours, minutes and seconds in ticks, added last as elapsed time.
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
    """The moment from which a progression is calculated.

    Attributes:
        at: the moment, in ticks of UTC.
        wall: the wall-clock time as written, in ticks of the wall clock; daylight saving may skip it.
        oddity: the effect of daylight saving on the wall-clock time, if it was written without an offset.
    """

    at: int
    wall: int
    oddity: Oddity | None = None


class Progression:
    """The moments ``anchor ± k × step`` for k = 0, 1, 2, …, without an end.

    They are monotonic: forward they ascend and backward they descend, except that several share one moment where
    daylight saving skips more than a step.
    """

    __slots__ = ("anchor", "clock", "direction", "step")

    def __init__(
        self, anchor: Anchor, step: DurationStep, clock: WallClock, direction: Literal[1, -1]
    ) -> None:
        if clock.zone is None:
            # In UTC, a day is always 24 elapsed hours; one kind less simplifies the arithmetic.
            step = DurationStep(step.months, 0, step.wall + step.elapsed)
        self.anchor = anchor
        self.step = step
        self.clock = clock
        self.direction = direction

    @property
    def on_wall_clock(self) -> bool:
        """Whether a part of the step refers to the wall clock."""
        return bool(self.step.months or self.step.wall)

    def at(self, k: int) -> int:
        """The k-th moment in ticks of UTC; may be outside the calendar."""
        if k == 0:
            return self.anchor.at
        elapsed = self.direction * k * self.step.elapsed
        if not self.on_wall_clock:
            return self.anchor.at + elapsed
        moment = self.clock.resolve(self._wall(k))[0] + elapsed
        # An anchor with an explicit offset may be in the second pass of a repeated hour, whereas moments calculated
        # from its wall-clock time would be in the first pass, on the wrong side of the anchor.
        return max(moment, self.anchor.at) if self.direction > 0 else min(moment, self.anchor.at)

    def oddity(self, k: int) -> Oddity | None:
        """The effect of daylight saving on the wall-clock time of the k-th moment."""
        if k == 0:
            # With an explicit offset it is unambiguous, in either pass of a repeated hour.
            return self.anchor.oddity
        return self.clock.resolve(self._wall(k))[1] if self.on_wall_clock else None

    def reach(self, limit: int) -> int:
        """The number of moments up to and including ``limit`` in the progression's own direction.

        Forward, those with ``at(k) <= limit``; backward, those with ``at(k) >= limit``. For a step of zero, one.
        """
        distance = self.direction * (limit - self.anchor.at)
        if distance < 0:
            return 0
        mean = self.step.mean
        if mean == 0:
            return 1
        if not self.on_wall_clock:
            return distance // mean + 1
        # The mean step leads to within a step or two; from there, doubling strides enclose the exact position.
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
