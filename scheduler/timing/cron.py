"""Schedules written as crontab expressions, in a time zone.

Days and times are found directly in the sets of the fields, so that rare ones (``0 0 29 2 SAT``) cost no more than
others. Pure.

Daylight saving follows crontab(5), which has a rule for each of two kinds of job:

- A job that does not run every hour runs once for each wall-clock time it names. If daylight saving skips that time,
  it runs at the first moment after the gap; if the time comes twice, it runs only the first time.
- A job that runs every hour (``*/5 * * * *``) runs at every real moment at which the clock shows a time it names, so
  that it neither pauses nor runs more often.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache
from itertools import accumulate

from scheduler.timing.cron_fields import CronFields, read_cron
from scheduler.timing.instants import (
    DAY,
    FIRST_TICK,
    HOUR,
    LAST_TICK,
    MINUTE,
    SECOND,
    moment_of,
    naive_of,
    ticks_of,
    ticks_of_naive,
)
from scheduler.timing.zones import Oddity, wall_clock

# How far ahead the zone knows its next change of offset: a year, with a margin.
_CHANGES_KNOWN = 200 * DAY


class CronSchedule:
    """A crontab expression in a time zone; see ``schedule.Schedule`` for the contract of its methods.

    Attributes:
        fields: the values that the expression names.
        in_every_hour: whether the second of the two rules above applies.
    """

    __slots__ = ("_clock", "_text", "_timezone", "fields", "in_every_hour")

    def __init__(self, text: str, timezone: str | None, fields: CronFields) -> None:
        self._text = text
        self._timezone = timezone
        self._clock = wall_clock(timezone)
        self.fields = fields
        self.in_every_hour = len(fields.hours) == 24

    @property
    def text(self) -> str:
        """The expression as written."""
        return self._text

    @property
    def timezone(self) -> str | None:
        """The IANA time zone of the schedule, or None for UTC."""
        return self._timezone

    @property
    def needs_start(self) -> bool:
        """Always false: a crontab expression has no start."""
        return False

    def next_after(self, moment: datetime) -> datetime | None:
        """The first occurrence strictly after ``moment``, in UTC, or None."""
        after = max(ticks_of(moment), self._clock.first - 1)
        if after >= self._clock.last:
            return None
        at = self._next_real(after) if self.in_every_hour else self._next_named(after)
        return None if at is None or at > self._clock.last else moment_of(at)

    def last_before(self, moment: datetime) -> datetime | None:
        """The last occurrence strictly before ``moment``, in UTC, or None."""
        before = min(ticks_of(moment), self._clock.last + 1)
        if before <= self._clock.first:
            return None
        if self.in_every_hour:
            at = self._last_real(before)
        else:
            wall = self._wall_before(self._clock.reached(before - 1) + 1)
            at = None if wall is None else self._clock.resolve(wall)[0]
        return None if at is None or at < self._clock.first else moment_of(at)

    def count_between(self, after: datetime, until: datetime) -> int:
        """The number of occurrences in (after, until]."""
        low = max(ticks_of(after), self._clock.first - 1)
        high = min(ticks_of(until), self._clock.last)
        if high <= low:
            return 0
        transitions = self._clock.transitions_between(low, high)
        if self.in_every_hour:
            edges = [low, *(t.at - 1 for t in transitions), high]
            offsets = [self._clock.offset_at(low + 1), *(t.after for t in transitions)]
            return sum(
                self._named_through(end + offset) - self._named_through(start + offset)
                for start, end, offset in zip(edges[:-1], edges[1:], offsets, strict=True)
            )
        named = self._named_through(self._clock.reached(high)) - self._named_through(self._clock.reached(low))
        # All times that a gap skips fall on the first moment after it, which runs once.
        for transition in transitions:
            if transition.after > transition.before:
                skipped_from = transition.at + transition.before
                skipped = self._named_through(transition.at + transition.after) - self._named_through(
                    skipped_from - 1
                )
                named -= max(0, skipped - 1)
        return named

    def occurrences(self, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """The occurrences strictly after ``after``, up to and including ``until``, ascending."""
        moment = self.next_after(after)
        while moment is not None and (until is None or moment <= until):
            yield moment
            moment = self.next_after(moment)

    def oddity(self, moment: datetime) -> Oddity | None:
        """How daylight saving affected the occurrence at ``moment``; None for any other moment."""
        at = ticks_of(moment)
        if self.in_every_hour or self._next_named(at - 1) != at:
            return None
        # The earliest of the named times that fall on this moment.
        wall = self._wall_after(self._clock.reached(at - 1))
        return None if wall is None else self._clock.resolve(wall)[1]

    def _next_named(self, after: int) -> int | None:
        wall = self._wall_after(self._clock.reached(after))
        return None if wall is None else self._clock.resolve(wall)[0]

    def _next_real(self, after: int) -> int | None:
        while True:
            offset = self._clock.offset_at(after + 1)
            wall = self._wall_after(after + offset)
            if wall is None:
                return None
            at = wall - offset
            change = self._clock.transition_after(after + 1)
            if change is not None and at >= change.at:
                # There is nothing before the change. A change that is near can bring back times that have
                # passed; a later one is approached in one step.
                near = change.at - after <= 2 * DAY
                after = change.at - 1 if near else max(change.at - 1, at - 2 * DAY)
            elif at - after > _CHANGES_KNOWN:
                after = at - 2 * DAY
            else:
                return at

    def _last_real(self, before: int) -> int | None:
        while True:
            offset = self._clock.offset_at(before - 1)
            wall = self._wall_before(before + offset)
            if wall is None:
                return None
            at = wall - offset
            change = self._clock.transition_until(before - 1)
            if change is not None and at < change.at:
                near = before - change.at <= 2 * DAY
                before = change.at if near else min(change.at, at + 2 * DAY)
            elif before - at > _CHANGES_KNOWN:
                before = at + 2 * DAY
            else:
                return at

    def _wall_after(self, wall: int) -> int | None:
        """The first named wall-clock time after ``wall``."""
        return self._search(wall // SECOND * SECOND, reverse=False)

    def _wall_before(self, wall: int) -> int | None:
        """The last named wall-clock time before ``wall``."""
        return self._search(-(-wall // SECOND) * SECOND, reverse=True)

    def _search(self, wall: int, *, reverse: bool) -> int | None:
        start = naive_of(min(max(wall, FIRST_TICK), LAST_TICK // SECOND * SECOND))
        pick = max if reverse else min
        # The named times of a day that come first and last in the direction of the search.
        entry = pick(self.fields.hours) * HOUR + pick(self.fields.minutes) * MINUTE
        pick = min if reverse else max
        final = pick(self.fields.hours) * HOUR + pick(self.fields.minutes) * MINUTE
        today, time_of_day = divmod(ticks_of_naive(start), DAY)
        left_today = time_of_day > final if reverse else time_of_day < final
        if left_today and self.fields.matches_day(start.month, start.day, start.toordinal() % 7):
            return today * DAY + self._time_beyond(time_of_day, reverse=reverse)
        day = self._day_beyond(start, reverse=reverse)
        return None if day is None else (today + day - start.toordinal()) * DAY + entry

    def _time_beyond(self, time_of_day: int, *, reverse: bool) -> int:
        """The nearest named time of day after ``time_of_day``, or before it if ``reverse``; there must be one."""
        hours = sorted(self.fields.hours, reverse=reverse)
        minutes = sorted(self.fields.minutes, reverse=reverse)
        farthest = minutes[-1] * MINUTE
        for hour in hours:
            begin = hour * HOUR
            if (begin + farthest < time_of_day) if reverse else (begin + farthest > time_of_day):
                times = (begin + minute * MINUTE for minute in minutes)
                return next(at for at in times if (at < time_of_day if reverse else at > time_of_day))
        msg = f"no named time of day beyond {time_of_day}"
        raise ValueError(msg)

    def _day_beyond(self, reading: datetime, *, reverse: bool) -> int | None:
        """The ordinal of the nearest matching day after that of ``reading``, or before it if ``reverse``."""
        today = reading.toordinal()
        direction = -1 if reverse else 1
        months = sorted(self.fields.months)[::direction]
        days = sorted(self.fields.days if self.fields.both_days else range(1, 32))[::direction]
        for year in range(reading.year, 0 if reverse else 10_000, direction):
            for month in months:
                if year == reading.year and (month - reading.month) * direction < 0:
                    continue
                before = date(year, month, 1).toordinal() - 1
                last = calendar.monthrange(year, month)[1]
                for day in days:
                    found = before + day
                    if (
                        day <= last
                        and (found - today) * direction > 0
                        and self.fields.matches_day(month, day, found % 7)
                    ):
                        return found
        return None

    def _named_through(self, wall: int) -> int:
        """The number of named wall-clock times from the year 1 through ``wall``."""
        if wall < FIRST_TICK:
            return 0
        reading = naive_of(min(wall, LAST_TICK))
        day = reading.toordinal()
        days_before_year, days_of_kind = _day_counts(self.fields)
        first = reading.replace(month=1, day=1).toordinal()
        within_year = days_of_kind[first % 7, calendar.isleap(reading.year)]
        days = days_before_year[reading.year - 1] + within_year[day - first]
        times = days * len(self.fields.hours) * len(self.fields.minutes)
        if not self.fields.matches_day(reading.month, reading.day, day % 7):
            return times
        times += sum(hour < reading.hour for hour in self.fields.hours) * len(self.fields.minutes)
        if reading.hour in self.fields.hours:
            times += sum(minute <= reading.minute for minute in self.fields.minutes)
        return times


@lru_cache(maxsize=64)
def _day_counts(fields: CronFields) -> tuple[tuple[int, ...], dict[tuple[int, bool], tuple[int, ...]]]:
    """The number of matching days before each year (index: year - 1) and before each day of the 14 kinds of year.

    A kind of year is defined by the weekday of its 1 January (Sunday is 0) and by whether it is a leap year.
    """
    kinds: dict[tuple[int, bool], tuple[int, ...]] = {}
    for year in range(2000, 2028):
        first, leap = date(year, 1, 1).toordinal(), calendar.isleap(year)
        if (first % 7, leap) not in kinds:
            days = (date.fromordinal(first + n) for n in range(365 + leap))
            matches = (fields.matches_day(d.month, d.day, d.toordinal() % 7) for d in days)
            kinds[first % 7, leap] = tuple(accumulate(matches, initial=0))
    total, weekday, totals = 0, 1, []  # 0001-01-01 was a Monday
    for year in range(1, 10_000):
        totals.append(total)
        leap = calendar.isleap(year)
        total += kinds[weekday, leap][-1]
        weekday = (weekday + 365 + leap) % 7
    return tuple(totals), kinds


def parse_cron(text: str, timezone: str | None) -> CronSchedule:
    """Parse a crontab expression in a time zone.

    Raises:
        ScheduleError: the text is not a valid crontab expression, or never runs.
        TimezoneError: the zone does not exist.
    """
    wall_clock(timezone)
    return CronSchedule(text, timezone, read_cron(text))
