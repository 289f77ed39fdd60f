"""Schedules written as crontab expressions, in a time zone.

cronsim finds the matching wall-clock times of a day; the days are found here, because cronsim walks through all
those between, which makes rare ones slow (``0 0 29 2 SAT``). Daylight saving is settled here as well, because
cronsim skips a job such as ``0 */2 * * *`` where the clocks go forward and repeats it where they go back. Pure.

Two kinds of job follow two rules, as crontab(5) has it:

- a job that does not run in every hour runs once for each wall-clock time it names: at the first moment after
  the gap if that time is skipped, the first time only if it comes twice;
- a job that runs in every hour (``*/5 * * * *``) runs at every real moment at which the clock shows a time it
  names, so that it neither pauses nor crowds.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache
from itertools import accumulate

from cronsim import CronSim

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

# Within which the zone is asked for its next or last change of offset (a year, less some margin).
_CHANGES_KNOWN = 200 * DAY


class CronSchedule:
    """A crontab expression in a time zone; see ``schedule.Schedule`` for what its methods promise.

    Attributes:
        fields: what the expression names.
        in_every_hour: which of the two rules above it follows.
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
        """The IANA zone whose wall clock the schedule follows, or None for UTC."""
        return self._timezone

    @property
    def needs_start(self) -> bool:
        """Never: a crontab expression has no start."""
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
        """How many occurrences lie in (after, until]."""
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
        # All that a gap skips falls on the first moment after it, which runs once.
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
        """What daylight saving did to the occurrence at ``moment``; None for any other moment."""
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
                # Nothing before the change. One that is near can bring back times already past; over later
                # ones the candidate is approached in one leap.
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
        # The named time of a day that comes first in the direction of the search, and the one that comes last.
        entry = pick(self.fields.hours) * HOUR + pick(self.fields.minutes) * MINUTE
        pick = min if reverse else max
        final = pick(self.fields.hours) * HOUR + pick(self.fields.minutes) * MINUTE
        today, time_of_day = divmod(ticks_of_naive(start), DAY)
        left_today = time_of_day > final if reverse else time_of_day < final
        if left_today and self.fields.matches_day(start.month, start.day, start.toordinal() % 7):
            return ticks_of_naive(next(CronSim(self.fields.canonical, start, reverse=reverse)))
        day = self._day_beyond(start, reverse=reverse)
        return None if day is None else (today + day - start.toordinal()) * DAY + entry

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
        """How many named wall-clock times there are from the year 1 through ``wall``."""
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
    """How many days match before each year (index: year less one) and each day of the 14 kinds of year.

    A kind of year is the weekday of its 1 January (Sunday is 0) and whether it is a leap year.
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
    """Reads a crontab expression and puts it into a zone.

    Raises:
        ScheduleError: the text is no crontab expression, or never runs.
        TimezoneError: there is no such zone.
    """
    wall_clock(timezone)
    return CronSchedule(text, timezone, read_cron(text))
