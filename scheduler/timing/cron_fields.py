"""Parses crontab expressions strictly into the sets of minutes, hours, days and months that they name. Pure.

The grammar is that of Debian's crontab(5): five fields of lists, ranges, steps and English names, or one of
the ``@`` words. Extensions of other systems (``L``, ``W``, ``#``, ``?``, seconds) are rejected by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from scheduler.domain.errors import ScheduleError

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    "JAN": 1,
    "FEB": 2,
    "MAR": 3,
    "APR": 4,
    "MAY": 5,
    "JUN": 6,
    "JUL": 7,
    "AUG": 8,
    "SEP": 9,
    "OCT": 10,
    "NOV": 11,
    "DEC": 12,
}
_WEEKDAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
_LONGEST_MONTH = {month: 30 if month in {4, 6, 9, 11} else 29 if month == 2 else 31 for month in range(1, 13)}
_FOREIGN = {
    "?": "crontab does not support '?'",
    "#": "crontab does not support '#' (the n-th weekday)",
    "L": "crontab does not support 'L' (the last)",
    "W": "crontab does not support 'W' (the nearest weekday)",
    "H": "crontab does not support 'H'",
    "~": "'~' (a random value) is not supported",
}
_FOREIGN_REMEDIES = {
    "?": "write *",
    "L": "for the last day of the month, write R/2026-01-31T09:00:00/P1M",
}
_MOST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    low: int
    high: int
    names: dict[str, int]


_KINDS = (
    _Kind("minute", 0, 59, {}),
    _Kind("hour", 0, 23, {}),
    _Kind("day of month", 1, 31, {}),
    _Kind("month", 1, 12, _MONTHS),
    _Kind("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class CronFields:
    """The values that a crontab expression names.

    Attributes:
        minutes: of an hour.
        hours: of a day.
        days: of a month.
        months: of a year, from 1.
        weekdays: Sunday is 0.
        both_days: whether a day must match both of its fields. In crontab it must if one of the two begins with a
            star; otherwise one match is enough.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both_days: bool

    def matches_day(self, month: int, day: int, weekday: int) -> bool:
        """Whether the job runs on a day; ``weekday`` counts from Sunday, 0."""
        if month not in self.months:
            return False
        if self.both_days:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


def read_cron(text: str) -> CronFields:
    """The fields of a crontab expression.

    Raises:
        ScheduleError: with the position of the first thing wrong.
    """
    if text.startswith("@"):
        return _read_alias(text)
    words = list(re.finditer(r"[^ \t]+", text))
    if len(words) != 5:
        _refuse_count(text, words)
    sets = [
        _Field(text, word.start(), word.group(), kind).read()
        for word, kind in zip(words, _KINDS, strict=True)
    ]
    minutes, hours, days, months, weekdays = sets
    both = any(words[field].group().startswith("*") for field in (2, 4))
    if both and min(days) > max(_LONGEST_MONTH[month] for month in months):
        raise ScheduleError(
            text,
            words[2].start(),
            f"these months have no day {min(days)}, so the schedule never runs",
            "use a day that exists in at least one of the months",
        )
    return CronFields(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(day % 7 for day in weekdays),
        both_days=both,
    )


def _read_alias(text: str) -> CronFields:
    if text in ALIASES:
        return read_cron(ALIASES[text])
    if text.lower() in ALIASES:
        raise ScheduleError(text, 1, "this word must be in lower case", f"write {text.lower()}")
    if text == "@reboot":
        remedy = "write R1//PT0S to run once when the schedule is switched on"
        raise ScheduleError(text, 0, "@reboot does not name a time", remedy)
    if text.startswith("@every"):
        raise ScheduleError(
            text, 0, "crontab does not support @every", "write R//PT5M for every five minutes"
        )
    raise ScheduleError(text, 0, "this word is unknown", f"use one of {', '.join(ALIASES)}")


def _refuse_count(text: str, words: list[re.Match[str]]) -> NoReturn:
    if len(words) > 5:
        raise ScheduleError(
            text,
            words[5].start(),
            f"the expression has {len(words)} fields, but crontab has five",
            "remove seconds, years and commands; for steps of seconds, write R//PT10S",
        )
    missing = _KINDS[len(words)].name
    raise ScheduleError(
        text,
        len(text),
        f"the expression has {len(words)} fields, but crontab has five; the {missing} is missing",
        "write minute, hour, day of month, month and day of week, such as 0 9 * * MON-FRI",
    )


class _Field:
    """One field of an expression."""

    def __init__(self, text: str, position: int, written: str, kind: _Kind) -> None:
        self._text = text
        self._position = position
        self._written = written.upper()
        self._kind = kind

    def read(self) -> frozenset[int]:
        """The values that the field names."""
        values: set[int] = set()
        at = 0
        for term in self._written.split(","):
            values.update(self._read_term(at, term))
            at += len(term) + 1
        return frozenset(values)

    def _read_term(self, at: int, term: str) -> range:
        kind = self._kind
        span, slash, step_text = term.partition("/")
        if not span:
            self._refuse(at, f"the {kind.name} has an empty entry", f"write * or {kind.low}-{kind.high}")
        step = self._read_step(at + len(span) + 1, step_text) if slash else 1
        if span == "*":
            return range(kind.low, kind.high + 1, step)
        first_text, dash, last_text = span.partition("-")
        first = self._read_value(at, first_text)
        if not dash:
            # As in cronie: a single value with a step runs to the field's end.
            last = kind.high if slash else first
            return range(first, last + 1, step)
        last_at = at + len(first_text) + 1
        last = self._read_value(last_at, last_text)
        if last < first:
            self._refuse(
                last_at,
                f"the range {span} ends before it starts",
                f"write two ranges: {first_text}-{kind.high},{kind.low}-{last_text}",
            )
        return range(first, last + 1, step)

    def _read_value(self, at: int, written: str) -> int:
        kind = self._kind
        if written in kind.names:
            return kind.names[written]
        names = f", or {', '.join(kind.names)}" if kind.names else ""
        remedy = f"write {kind.low} to {kind.high}{names}"
        if not written:
            self._refuse(at, f"a {kind.name} is missing", remedy)
        wrong = re.search(r"[^0-9]", written)
        if wrong:
            self._refuse_value(at, written, wrong.start(), remedy)
        if len(written.lstrip("0")) > _MOST_DIGITS or not kind.low <= int(written) <= kind.high:
            self._refuse(at, f"the {kind.name} {written[:9]} is out of range", remedy)
        return int(written)

    def _refuse_value(self, at: int, written: str, wrong: int, remedy: str) -> NoReturn:
        foreign = next((c for c in written if c in "?#~"), None) or (
            written.lstrip("0123456789")[:1] if re.fullmatch(r"[0-9]*(L|LW|W|H)", written) else None
        )
        if foreign:
            self._refuse(at, _FOREIGN[foreign], _FOREIGN_REMEDIES.get(foreign, remedy))
        self._refuse(at + wrong, f"{written[:9]!r} is not a valid {self._kind.name}", remedy)

    def _read_step(self, at: int, written: str) -> int:
        if not written or re.search(r"[^0-9]", written):
            self._refuse(at, f"the step of the {self._kind.name} is not a number", "write it like */5")
        digits = written.lstrip("0")
        if not digits:
            self._refuse(at, f"the step of the {self._kind.name} is zero", "use at least 1")
        if len(digits) > _MOST_DIGITS:
            self._refuse(
                at, f"the step of the {self._kind.name} is too long", f"write 1 to {self._kind.high}"
            )
        return int(digits)

    def _refuse(self, offset: int, message: str, remedy: str) -> NoReturn:
        raise ScheduleError(self._text, self._position + offset, message, remedy)
