"""Schedules written as ISO 8601 repeating intervals: a progression, limited to its runs and to the calendar.

Pure. The text is parsed by ``iso8601``; this module applies the time zone and calculates the occurrences.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from scheduler.domain.errors import ScheduleError
from scheduler.timing.instants import LAST_TICK, moment_of, ticks_of
from scheduler.timing.iso8601 import RepeatingInterval, read_repeating_interval
from scheduler.timing.iso8601_moment import WrittenMoment
from scheduler.timing.progression import Anchor, DurationStep, Progression
from scheduler.timing.zones import Oddity, WallClock, wall_clock


class IntervalSchedule:
    """A repeating interval in a time zone; its methods are described in ``schedule.Schedule``.

    Attributes:
        interval: the parts of the text.
        progression: the moments, or None while the schedule has no start.
    """

    __slots__ = ("_first", "_last", "_limit", "_text", "_timezone", "interval", "progression")

    def __init__(
        self, text: str, timezone: str | None, interval: RepeatingInterval, progression: Progression | None
    ) -> None:
        self._text = text
        self._timezone = timezone
        self.interval = interval
        self.progression = progression
        self._limit = interval.count
        clock = wall_clock(timezone)
        self._first, self._last = clock.first, clock.last

    @property
    def text(self) -> str:
        """The text as written."""
        return self._text

    @property
    def timezone(self) -> str | None:
        """The IANA zone whose wall clock the schedule follows, or None for UTC."""
        return self._timezone

    @property
    def needs_start(self) -> bool:
        """Whether the start is still to be added (``Rn//<duration>``)."""
        return self.progression is None

    def next_after(self, moment: datetime) -> datetime | None:
        """The first occurrence strictly after ``moment``, in UTC, or None."""
        if self.progression is None:
            return None
        after = ticks_of(moment)
        if self.progression.direction > 0:
            k = self._reach(min(after, self._last))
            return self._moment(k)
        return self._moment(self._reach(max(after + 1, self._first)) - 1)

    def last_before(self, moment: datetime) -> datetime | None:
        """The last occurrence strictly before ``moment``, in UTC, or None."""
        if self.progression is None:
            return None
        before = ticks_of(moment)
        if self.progression.direction > 0:
            return self._moment(self._reach(min(before - 1, self._last)) - 1)
        return self._moment(self._reach(before))

    def count_between(self, after: datetime, until: datetime) -> int:
        """The number of occurrences in (after, until]."""
        if self.progression is None:
            return 0
        low, high = ticks_of(after), ticks_of(until)
        if high <= low:
            return 0
        return self._reached_between(low, high) - self._shared_between(self.progression, low, high)

    def occurrences(self, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """The occurrences strictly after ``after``, up to and including ``until``, ascending."""
        if self.progression is None:
            return
        low = ticks_of(after)
        high = self._last if until is None else min(ticks_of(until), self._last)
        forward = self.progression.direction > 0
        k = self._reach(min(low, self._last)) if forward else self._reach(max(low + 1, self._first)) - 1
        previous = low
        while k >= 0 and (self._limit is None or k < self._limit):
            at = self.progression.at(k)
            if at > high:
                return
            # If a daylight-saving gap skips several steps, they share one moment, which runs once.
            if at > previous:
                yield moment_of(at)
            previous = at
            k += self.progression.direction

    def oddity(self, moment: datetime) -> Oddity | None:
        """The effect of daylight saving on the occurrence at ``moment``; None for any other moment."""
        if self.progression is None:
            return None
        at = ticks_of(moment)
        # If several steps share the moment, the one with the earliest wall-clock time is the one that was skipped.
        k = self._reach(at - 1) if self.progression.direction > 0 else self._reach(at) - 1
        if self._moment(k) != moment:
            return None
        return self.progression.oddity(k)

    def _reach(self, limit: int) -> int:
        if self.progression is None:
            return 0
        reached = self.progression.reach(limit)
        return reached if self._limit is None else min(reached, self._limit)

    def _moment(self, k: int) -> datetime | None:
        if self.progression is None or k < 0 or (self._limit is not None and k >= self._limit):
            return None
        at = self.progression.at(k)
        return moment_of(at) if self._first <= at <= self._last else None

    def _reached_between(self, low: int, high: int) -> int:
        """The number of k whose moment is in (low, high]."""
        if self.progression is not None and self.progression.direction > 0:
            return self._reach(min(high, self._last)) - self._reach(min(low, self._last))
        return self._reach(max(low + 1, self._first)) - self._reach(max(high + 1, self._first))

    def _shared_between(self, progression: Progression, low: int, high: int) -> int:
        """The number of k in (low, high] whose moment is shared with another k that is already counted."""
        if not progression.may_share_moments():
            return 0
        ends = [progression.anchor.at]
        if self._limit:
            ends.append(progression.at(self._limit - 1))
        elif progression.direction > 0:
            ends.append(self._last)
        else:
            ends.append(self._first)
        first, last = max(low, min(ends) - 1), min(high, max(ends))
        step = progression.step
        shared_at = {
            transition.at
            for transition in progression.clock.transitions_between(first, last)
            if not step.elapsed and transition.after - transition.before >= step.wall
        }
        if low < progression.anchor.at <= high:
            shared_at.add(progression.anchor.at)
        return sum(max(0, self._reached_between(at - 1, at) - 1) for at in shared_at)


def parse_interval(text: str, timezone: str | None) -> IntervalSchedule:
    """Parse a repeating interval in a time zone.

    Raises:
        ScheduleError: the text is not a repeating interval, or its moments are out of range.
        TimezoneError: there is no such zone.
    """
    clock = wall_clock(timezone)
    interval = read_repeating_interval(text)
    start = None if interval.start is None else _anchor(text, interval.start, clock)
    end = None if interval.end is None else _anchor(text, interval.end, clock)
    step = interval.step
    if start is not None and end is not None and interval.end is not None:
        step = _difference(text, start, end, interval)
    progression = None
    if step is not None and start is not None:
        progression = Progression(start, step, clock, 1)
    elif step is not None and end is not None:
        progression = Progression(end, step, clock, -1)
    return IntervalSchedule(text, timezone, interval, progression)


def _difference(text: str, start: Anchor, end: Anchor, interval: RepeatingInterval) -> DurationStep:
    """The step of ``Rn/<start>/<end>``: the time between the two."""
    position = 0 if interval.end is None else interval.end.position
    elapsed = end.at - start.at
    if elapsed < 0:
        raise ScheduleError(text, position, "the end is before the start", "write the earlier moment first")
    if elapsed == 0 and interval.count != 1:
        raise ScheduleError(
            text,
            position,
            "the end is the same as the start, so the step would be zero",
            "write a later end, or R1 for a single run",
        )
    if 0 < elapsed < 1_000_000:
        raise ScheduleError(
            text, position, "the step is shorter than one second", "write an end at least one second later"
        )
    return DurationStep(0, 0, elapsed)


def _anchor(text: str, written: WrittenMoment, clock: WallClock) -> Anchor:
    if written.offset is None:
        at, oddity = clock.resolve(written.wall)
        anchor = Anchor(at, written.wall, oddity)
    else:
        at = written.wall - written.offset
        anchor = Anchor(at, at + clock.offset_at(at))
    if not clock.first <= at <= clock.last:
        edge = "after the year 9999" if at > LAST_TICK // 2 else "before the year 1"
        raise ScheduleError(
            text,
            written.position,
            f"the moment is {edge} in UTC or in the schedule's time zone",
            "write a moment between the years 1 and 9999",
        )
    return anchor
