"""Parses ISO 8601 moments strictly: calendar, ordinal and week dates, basic and extended form, any offset. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import NoReturn

from scheduler.domain.errors import ScheduleError
from scheduler.timing.instants import DAY, HOUR, MINUTE, SECOND

_DATES = (
    (re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})"), "calendar", "extended"),
    (re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})"), "calendar", "basic"),
    (re.compile(r"([0-9]{4})-([0-9]{3})"), "ordinal", "extended"),
    (re.compile(r"([0-9]{4})([0-9]{3})"), "ordinal", "basic"),
    (re.compile(r"([0-9]{4})-W([0-9]{2})-([0-9])"), "week", "extended"),
    (re.compile(r"([0-9]{4})W([0-9]{2})([0-9])"), "week", "basic"),
)
_EXTENDED_TIME = re.compile(r"([0-9]{2})(?::([0-9]{2})(?::([0-9]{2}))?)?(?:[.,]([0-9]+))?")
_BASIC_TIME = re.compile(r"([0-9]{2})(?:([0-9]{2})([0-9]{2})?)?(?:[.,]([0-9]+))?")
_OFFSET = re.compile(r"([+-])([0-9]{2})(?::?([0-9]{2}))?")
_EXAMPLE = "2026-01-31T09:00:00Z"
_FIRST_DAY = date(1, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class WrittenMoment:
    """A moment as written.

    Attributes:
        wall: the date and time of day, in ticks of the wall clock (see ``instants``).
        offset: its offset in ticks east of UTC, or None if there is none.
        position: its position in the schedule's text.
        text: its own text.
    """

    wall: int
    offset: int | None
    position: int
    text: str


def read_moment(text: str, position: int, part: str) -> WrittenMoment:
    """The moment ``part`` at ``position`` of ``text``.

    A date without a time is its midnight. ``24:00:00`` is the midnight at the end of the day. Seconds may have six
    decimals; further ones must be zeros, because the resolution is one microsecond.

    Raises:
        ScheduleError: the text is invalid; contains the position of the first error.
    """
    return _MomentReader(text, position, part).read()


class _MomentReader:
    def __init__(self, text: str, position: int, part: str) -> None:
        self._text = text
        self._position = position
        self._part = part

    def read(self) -> WrittenMoment:
        part = self._part
        if not part:
            self._refuse(0, "a moment is missing", f"write one, such as {_EXAMPLE}")
        date_text, separator, rest = part.partition("T")
        day, form = self._read_date(date_text)
        wall = (day - _FIRST_DAY) * DAY
        offset = None
        if separator:
            time_at = len(date_text) + 1
            offset_at = min((i for i in map(rest.find, "Z+-") if i >= 0), default=len(rest))
            wall += self._read_time(time_at, rest[:offset_at], form)
            if offset_at < len(rest):
                offset = self._read_offset(time_at + offset_at, rest[offset_at:])
        return WrittenMoment(wall, offset, self._position, part)

    def _read_date(self, written: str) -> tuple[int, str]:
        matches = ((pattern.fullmatch(written), kind, form) for pattern, kind, form in _DATES)
        match, kind, form = next((m for m in matches if m[0]), (None, "", ""))
        if match is None:
            self._refuse_date(written)
        return self._day_number(kind, *map(int, match.groups()), starts=match), form

    def _day_number(self, kind: str, year: int, *rest: int, starts: re.Match[str]) -> int:
        if year == 0:
            self._refuse(0, "the year 0000 is not supported", "write a year from 0001 to 9999")
        if kind == "ordinal":
            length = (date(year, 12, 31) - date(year, 1, 1)).days + 1
            if not 1 <= rest[0] <= length:
                self._refuse(starts.start(2), f"{year} has no day {rest[0]}", f"write 001 to {length}")
            return date(year, 1, 1).toordinal() + rest[0] - 1
        if kind == "week":
            try:
                return date.fromisocalendar(year, rest[0], rest[1]).toordinal()
            except ValueError:
                at, what = (3, f"day {rest[1]}") if 1 <= rest[0] <= 52 else (2, f"week {rest[0]}")
                remedy = "use weeks W01 to W52 or W53, and days 1 (Monday) to 7"
                self._refuse(starts.start(at), f"{year} has no {what}", remedy)
        month, day = rest
        if not 1 <= month <= 12:
            self._refuse(starts.start(2), f"there is no month {month:02}", "write 01 to 12")
        first = date(year, month, 1)
        last = 31 if month == 12 else (date(year, month + 1, 1) - timedelta(days=1)).day
        if not 1 <= day <= last:
            self._refuse(starts.start(3), f"{first:%Y-%m} has no day {day:02}", f"write 01 to {last}")
        return first.toordinal() + day - 1

    def _read_time(self, at: int, written: str, form: str) -> int:
        if not written:
            self._refuse(at, "the time of day is missing", f"write it after the T: {_EXAMPLE}")
        pattern, other = (
            (_EXTENDED_TIME, _BASIC_TIME) if form == "extended" else (_BASIC_TIME, _EXTENDED_TIME)
        )
        match = pattern.fullmatch(written)
        if match is None:
            if other.fullmatch(written):
                example = _EXAMPLE if form == "extended" else "20260131T090000Z"
                message = f"the date is in the {form} form, but the time of day is not"
                self._refuse(at, message, f"use the same form for both: {example}")
            self._refuse_time(at, written, form)
        hour, minute, second = (int(g) if g else 0 for g in match.group(1, 2, 3))
        decimals = match.group(4)
        unit = SECOND if match.group(3) else MINUTE if match.group(2) else HOUR
        extra = self._read_decimals(at + match.start(4), decimals, unit) if decimals else 0
        if hour > 24:
            self._refuse(at, f"there is no hour {hour}", "write 00 to 23, or 24:00:00 for the end of the day")
        if minute > 59:
            self._refuse(at + match.start(2), f"there is no minute {minute}", "write 00 to 59")
        if second > 59:
            remedy = "write 59, or 00 of the next minute"
            self._refuse(at + match.start(3), f"second {second} is not supported (leap seconds)", remedy)
        if hour == 24 and (minute or second or extra):
            self._refuse(
                at, "hour 24 is only allowed as 24:00:00", "write hour 00 of the next day with this time"
            )
        return hour * HOUR + minute * MINUTE + second * SECOND + extra

    def _read_decimals(self, at: int, decimals: str, unit: int) -> int:
        extra = Fraction(int(decimals), 10 ** len(decimals)) * unit
        if extra.denominator != 1:
            self._refuse(at, "times are limited to microseconds", "write at most six decimals of a second")
        return int(extra)

    def _read_offset(self, at: int, written: str) -> int:
        if written == "Z":
            return 0
        match = _OFFSET.fullmatch(written)
        if match is None:
            if written[0] == "Z":
                self._refuse(at + 1, "nothing may follow the Z", "remove it")
            self._refuse(at, f"{written!r} is not an offset from UTC", "write Z, +01:00, +0100 or +01")
        hours, minutes = int(match.group(2)), int(match.group(3) or 0)
        if hours > 23 or minutes > 59:
            self._refuse(at, f"the offset {written} is out of range", "write at most 23:59 hours")
        offset = hours * HOUR + minutes * MINUTE
        return -offset if match.group(1) == "-" else offset

    def _refuse_date(self, written: str) -> NoReturn:
        invalid = re.search(r"[^0-9W-]", written)
        if re.fullmatch(r"[0-9]{4}(-[0-9]{1,2}|-?W[0-9]{2})?", written):
            self._refuse(len(written), "the date has no day", f"write the whole date: {_EXAMPLE}")
        if written[:1] in {"+", "-"}:
            self._refuse(
                0, "a year must have four digits and no sign", f"write a year from 0001 to 9999: {_EXAMPLE}"
            )
        if re.fullmatch(r"[0-9]{1,2}(-[0-9]{2})?", written) or not written:
            self._refuse(0, "the date is abbreviated", f"write the whole moment: {_EXAMPLE}")
        if invalid and invalid.group() == ":":
            self._refuse(0, "the date is missing", f"write the whole moment: {_EXAMPLE}")
        at = invalid.start() if invalid else 0
        what = f"{invalid.group()!r} is not allowed in a date" if invalid else f"{written} is not a date"
        self._refuse(at, what, f"write a moment such as {_EXAMPLE} or 20260131T090000Z")

    def _refuse_time(self, at: int, written: str, form: str) -> NoReturn:
        invalid = re.search(r"[^0-9:.,]", written)
        example = "09:00:00" if form == "extended" else "090000"
        if invalid:
            what = f"{invalid.group()!r} is not allowed in a time of day"
            self._refuse(at + invalid.start(), what, f"write the time as {example}, then the offset")
        self._refuse(at, f"{written} is not a time of day", f"write two digits each, such as {example}")

    def _refuse(self, offset: int, message: str, remedy: str) -> NoReturn:
        raise ScheduleError(self._text, self._position + offset, message, remedy)
