"""Parses ISO 8601 durations strictly into steps.

isodate parses the integers. What it accepts or parses wrongly is checked before: signs, an empty ``PT``, fractions in
several places, fractional months (which it truncates), and fractions and numbers beyond the precision of its
floats. Pure.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import NoReturn

import isodate

from scheduler.domain.errors import ScheduleError
from scheduler.timing.instants import DAY, HOUR, MINUTE, SECOND
from scheduler.timing.progression import DurationStep

_COMPONENT = re.compile(r"(?P<whole>[0-9]+)(?P<fraction>[.,][0-9]*)?(?P<unit>[A-Z]?)")
_DATE_UNITS = "YMWD"
_TIME_UNITS = "HMS"
_NAMES = {"Y": "years", "M": "months", "W": "weeks", "D": "days", "H": "hours", "S": "seconds"}
_TICKS = {"W": 7 * DAY, "D": DAY, "H": HOUR, "M": MINUTE, "S": SECOND}
# A step that leaves the calendar from any moment in it. 10¹² seconds, the smallest unit, are 31,700 years.
_BEYOND = DurationStep(12 * 10_000, 0, 0)
_MOST_DIGITS = 12


def read_duration(text: str, position: int, part: str) -> DurationStep:
    """The step of a duration such as ``P1M`` or ``P1DT2H`` at ``position`` of ``text``.

    Only the last number may be a fraction, and not of years or months. Weeks may be combined with other units, as in
    ISO 8601-2. A duration longer than the calendar becomes a step that leaves it.

    Raises:
        ScheduleError: the text is invalid; contains the position of the first error.
    """
    reader = _DurationReader(text, position, part)
    reader.check()
    if reader.too_long:
        return _BEYOND
    whole = re.sub(r"[.,][0-9]+", "", part)
    date_part, _, time_part = whole.partition("T")
    try:
        calendar = (
            isodate.parse_duration(date_part, as_timedelta_if_possible=False) if date_part != "P" else None
        )
        elapsed = _ticks(isodate.parse_duration("PT" + time_part)) if time_part else 0
    except OverflowError:
        # The limit of a timedelta is 10⁹ days.
        return _BEYOND
    months = 0 if calendar is None else int(calendar.years) * 12 + int(calendar.months)
    wall = 0 if calendar is None else _ticks(calendar.tdelta)
    if reader.fraction:
        extra = reader.fraction * _TICKS[reader.unit]
        if extra.denominator != 1:
            raise ScheduleError(
                text,
                position,
                f"{part} is not a whole number of microseconds",
                "use smaller units, such as PT20M for a third of an hour",
            )
        if time_part:
            elapsed += int(extra)
        else:
            wall += int(extra)
    return DurationStep(months, wall, elapsed)


def _ticks(delta: timedelta) -> int:
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


class _DurationReader:
    """Checks the grammar of a duration in one pass.

    Attributes:
        fraction: the fraction of the last component, 0 if there is none.
        unit: the last component's unit.
        too_long: whether a number has too many digits for any step within the calendar.
    """

    def __init__(self, text: str, position: int, part: str) -> None:
        self._text = text
        self._position = position
        self._part = part
        self._in_time = False
        self._units_left = _DATE_UNITS
        self.fraction = Fraction(0)
        self.unit = ""
        self.too_long = False
        self._has_fraction = False

    def check(self) -> None:
        part = self._part
        if part[0] != "P":
            self._refuse(0, "a duration must not have a sign", f"remove it: {part.lstrip('+-')}")
        if len(part) == 1:
            self._refuse(1, "the duration is empty", "write a number and a unit, such as P1D or PT1H")
        cursor = 1
        while cursor < len(part):
            if part[cursor] == "T" and not self._in_time:
                cursor = self._begin_time(cursor)
            else:
                cursor = self._component(cursor)

    def _begin_time(self, cursor: int) -> int:
        self._in_time = True
        self._units_left = _TIME_UNITS
        cursor += 1
        if cursor == len(self._part):
            self._refuse(cursor, "nothing follows the T", "remove the T, or write PT1H, PT5M or PT30S")
        return cursor

    def _component(self, cursor: int) -> int:
        match = _COMPONENT.match(self._part, cursor)
        if match is None:
            self._refuse_no_number(cursor)
        if self._has_fraction:
            self._refuse(cursor, "only the last number may be a fraction", "use smaller units instead")
        whole, fraction, unit = match.group("whole", "fraction", "unit")
        self._check_unit(match.end() - len(unit), unit, whole + (fraction or ""))
        if fraction is not None:
            self._read_fraction(match.start("fraction"), fraction, unit)
        self.too_long = self.too_long or len(whole.lstrip("0")) > _MOST_DIGITS
        self.unit = unit
        self._units_left = self._units_left[self._units_left.index(unit) + 1 :]
        return match.end()

    def _read_fraction(self, at: int, fraction: str, unit: str) -> None:
        if len(fraction) == 1:
            self._refuse(
                at, f"no digits follow {fraction!r}", f"write digits after it, or remove the {fraction!r}"
            )
        if unit == "Y" or (unit == "M" and not self._in_time):
            name = _NAMES[unit]
            self._refuse(
                at,
                f"{name} cannot be fractional, because they differ in length",
                "use smaller units: P6M for half a year, P15D for half a month",
            )
        self._has_fraction = True
        self.fraction = Fraction(int(fraction[1:]), 10 ** (len(fraction) - 1))

    def _check_unit(self, at: int, unit: str, number: str) -> None:
        if not unit:
            after = self._part[at : at + 1]
            units = "H, M or S" if self._in_time else "Y, M, W or D"
            if after == "-":
                remedy = "write units, such as P1Y2M3DT4H5M6S"
                self._refuse(at, "the form P0001-01-01 is not supported", remedy)
            what = f"{after!r} is not a unit" if after else f"the unit of {number} is missing"
            self._refuse(at, what, f"write {units} after {number}")
        if unit in self._units_left:
            return
        if not self._in_time and unit in "HS":
            name = _NAMES[unit]
            self._refuse(at, f"{name} must be after the T", f"write PT{number}{unit}")
        if self._in_time and unit in "YWD":
            self._refuse(at, f"{_NAMES[unit]} must be before the T", f"write P{number}{unit}")
        order = _TIME_UNITS if self._in_time else _DATE_UNITS
        if unit not in order:
            self._refuse(at, f"{unit!r} is not a valid unit here", f"use the units {', '.join(order)}")
        hint = "; minutes come after the T: PT5M" if unit == "M" and not self._in_time else ""
        self._refuse(at, f"{unit} is repeated or out of order", f"use the order {', '.join(order)}{hint}")

    def _refuse_no_number(self, cursor: int) -> NoReturn:
        character = self._part[cursor]
        if character in "+-":
            self._refuse(cursor, "a duration must not have a sign", f"remove the {character!r}")
        if character == "T":
            self._refuse(cursor, "there is a second T", "write T once, before hours, minutes and seconds")
        self._refuse(
            cursor,
            f"{character!r} is not allowed where a number is expected",
            "write the number before its unit, with the digits 0-9: P1D, PT5M",
        )

    def _refuse(self, offset: int, message: str, remedy: str) -> NoReturn:
        raise ScheduleError(self._text, self._position + offset, message, remedy)
