"""Moments as integers: microseconds since 0001-01-01T00:00:00, called ticks here.

Python's datetime is limited to the years 1 to 9999 and raises an error when a sum exceeds them. Integers do not, so
all arithmetic of schedules uses ticks, and only results within the calendar are converted back. Pure.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MEAN_MONTH = 146_097 * DAY // 4_800
"""A 400th of the Gregorian cycle of 146,097 days, divided by twelve: exactly 2,629,746 seconds."""

FIRST_TICK = 0
LAST_TICK = 3_652_059 * DAY - 1
"""The last microsecond of the year 9999."""

_ORIGIN = datetime(1, 1, 1)  # noqa: DTZ001  the origin of wall clocks has no zone
_ORIGIN_UTC = datetime(1, 1, 1, tzinfo=UTC)
_DAYS_BEFORE_YEAR_ONE = 306  # from 0000-03-01, where the years of the civil algorithm begin


def ticks_of(moment: datetime) -> int:
    """The ticks of an aware moment in any zone; raises TypeError for a naive one."""
    since = moment - _ORIGIN_UTC
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def moment_of(ticks: int) -> datetime:
    """The aware UTC moment of ``ticks``; raises OverflowError outside the years 1 to 9999."""
    return _ORIGIN_UTC + timedelta(microseconds=ticks)


def naive_of(ticks: int) -> datetime:
    """The wall-clock reading of ``ticks`` of a wall clock; raises OverflowError outside the calendar."""
    return _ORIGIN + timedelta(microseconds=ticks)


def ticks_of_naive(reading: datetime) -> int:
    """The wall-clock ticks of a naive reading."""
    since = reading - _ORIGIN
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def add_months(ticks: int, months: int) -> int:
    """``ticks`` moved by whole months, the day limited to the last of the month (31 January + 1 is 28 February).

    Works for any year, even beyond the calendar's limits, so that callers need no special cases there.
    Civil-from-days and back: Howard Hinnant, 'chrono-Compatible Low-Level Date Algorithms'.
    """
    day_number, time_of_day = divmod(ticks, DAY)
    shifted = day_number + _DAYS_BEFORE_YEAR_ONE
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    year = era * 400 + year_of_era

    year_shift, month_from_march = divmod(month_from_march + months, 12)
    year += year_shift
    day = min(day, _days_in_month(year, month_from_march))
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * month_from_march + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return (era * 146_097 + day_of_era - _DAYS_BEFORE_YEAR_ONE) * DAY + time_of_day


def _days_in_month(march_year: int, month_from_march: int) -> int:
    """The number of days of a month, counted from March (0) to February (11), in a year that begins in March."""
    if month_from_march != 11:
        return (31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31)[month_from_march]
    year = march_year + 1
    return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
