"""Time zones for schedules: offsets, skipped and repeated wall-clock times, transitions.

A thin layer over the standard library's zoneinfo that uses ticks (see ``instants``), never overflows at the limits of
the calendar, and reports every invalid name with the same error. Zone files are only read when a zone is first used.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from scheduler.domain.errors import FieldError, ScheduleError
from scheduler.timing.instants import DAY, FIRST_TICK, LAST_TICK, SECOND, moment_of, naive_of, ticks_of

Oddity = Literal["gap", "fold"]
"""``gap``: daylight saving skips the wall-clock time; ``fold``: the wall-clock time occurs twice."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]*(?:/[A-Za-z0-9][A-Za-z0-9_+.-]*)*")
_LONGEST_NAME = 64
# Files of the zone database that are not zones; those under 'right' count leap seconds and would shift every
# run by about 27 seconds.
_NOT_ZONES = re.compile(r"(?:posix|right)/.*|posixrules|localtime|Factory")
# zoneinfo is only used this far from the limits of the calendar, where no offset can exceed them.
_FIRST_ASKED = FIRST_TICK + 2 * DAY
_LAST_ASKED = LAST_TICK - 2 * DAY
# The earliest transitions in the zone database are from the 1830s.
_FIRST_YEAR_WITH_TRANSITIONS = 1800
# From this year on, every zone follows a yearly rule, which repeats with the Gregorian cycle. Zones that pause
# daylight saving for Ramadan, such as Africa/Casablanca, are listed year by year until 2087.
_FIRST_YEAR_BY_RULE = 2100
_CYCLE_YEARS = 400
_CYCLE = 146_097 * DAY

_NOT_A_ZONE = "is not the name of an IANA time zone"


class TimezoneError(ScheduleError):
    """A time zone's name is invalid; ``text`` is the name as given."""

    def __init__(self, name: str, message: str, remedy: str) -> None:
        super().__init__(name, 0, message, remedy)
        self.args = (f"{message} ({remedy})",)

    def as_field_error(self, field: str, noun: str = "") -> FieldError:  # noqa: ARG002 - it is always a zone
        """The error of a field that contains the name."""
        return FieldError(field, self.text, _NOT_A_ZONE, self.remedy)


def check_timezone(name: str) -> ZoneInfo:
    """The zone with an IANA name such as ``Europe/Berlin``.

    Raises:
        TimezoneError: there is no such zone; the remedy suggests similar names.
    """
    shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    message = f"{shown!r} {_NOT_A_ZONE}"
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or _NOT_ZONES.fullmatch(name):
        raise TimezoneError(name, message, _remedy(name))
    try:
        return ZoneInfo(name)
    # zoneinfo raises KeyError for unknown names, ValueError for files that are not zones, and OSError for
    # directories such as 'Europe'.
    except (KeyError, ValueError, OSError):
        raise TimezoneError(name, message, _remedy(name)) from None


def _remedy(name: str) -> str:
    example = "use a name such as 'Europe/Berlin', 'Asia/Shanghai' or 'UTC'"
    if len(name) > _LONGEST_NAME:
        return example
    known = _known_names()
    wanted = name.strip().replace(" ", "_").casefold()
    near = [known[wanted]] if wanted in known else []
    if not near:
        # People often know only the city.
        near = sorted(full for key, full in known.items() if wanted and key.rpartition("/")[2] == wanted)[:3]
    if not near:
        near = [known[key] for key in difflib.get_close_matches(wanted, known, n=3, cutoff=0.75)]
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else example


@lru_cache(maxsize=1)
def _known_names() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() if not _NOT_ZONES.fullmatch(name)}


@dataclass(frozen=True, slots=True)
class Transition:
    """A moment at which a zone's offset changes.

    Attributes:
        at: the first tick (UTC) of the new offset.
        before: the offset before, in ticks east of UTC.
        after: the offset from then on.
    """

    at: int
    before: int
    after: int


class WallClock:
    """The wall clock of a zone, or of UTC.

    Attributes:
        zone: the zone, or None for UTC.
        first: the earliest tick (UTC) that is within the years 1 to 9999 both in UTC and on this clock.
        last: the latest such tick.
    """

    __slots__ = ("first", "last", "zone")

    def __init__(self, zone: ZoneInfo | None) -> None:
        self.zone = zone
        self.first = FIRST_TICK + max(0, -self.offset_at(FIRST_TICK))
        self.last = LAST_TICK - max(0, self.offset_at(LAST_TICK))

    def offset_at(self, ticks: int) -> int:
        """The offset, in ticks east of UTC, at a moment given in ticks of UTC."""
        if self.zone is None:
            return 0
        moment = moment_of(min(max(ticks, _FIRST_ASKED), _LAST_ASKED))
        return _ticks_of_offset(moment.astimezone(self.zone).utcoffset())

    def resolve(self, wall: int) -> tuple[int, Oddity | None]:
        """The moment (ticks of UTC) at which the clock shows ``wall``, and the effect of daylight saving on it.

        A skipped time gives the first moment after the gap; a time that occurs twice gives the first.
        """
        if self.zone is None:
            return wall, None
        reading = naive_of(min(max(wall, _FIRST_ASKED), _LAST_ASKED)).replace(tzinfo=self.zone)
        first = _ticks_of_offset(reading.utcoffset())
        second = _ticks_of_offset(reading.replace(fold=1).utcoffset())
        if first == second:
            return wall - first, None
        if first > second:
            return wall - first, "fold"
        return self._transition_between(wall - second, wall - first), "gap"

    def reached(self, ticks: int) -> int:
        """The latest wall-clock time whose moment (see ``resolve``) has been reached at ``ticks``.

        This is what the clock shows, except while it repeats an hour: then all of that hour has already been reached.
        """
        if self.zone is None:
            return ticks
        moment = moment_of(min(max(ticks, _FIRST_ASKED), _LAST_ASKED))
        local = moment.astimezone(self.zone)
        offset = _ticks_of_offset(local.utcoffset())
        if not local.fold:
            return ticks + offset
        before = _ticks_of_offset(local.replace(fold=0).utcoffset())
        return self._transition_between(ticks - (before - offset), ticks) + before - 1

    def transition_after(self, ticks: int) -> Transition | None:
        """The first change of offset after ``ticks`` in the same or the next year, if there is one."""
        year = _year_of(ticks)
        return next((t for y in (year, year + 1) for t in self.transitions(y) if t.at > ticks), None)

    def transition_until(self, ticks: int) -> Transition | None:
        """The last change of offset at or before ``ticks`` in the same or the previous year, if there is one."""
        year = _year_of(ticks)
        return next(
            (t for y in (year, year - 1) for t in reversed(self.transitions(y)) if t.at <= ticks), None
        )

    def transitions_between(self, after: int, until: int) -> list[Transition]:
        """All changes of offset in (after, until], ascending."""
        if self.zone is None or until <= after:
            return []
        years = range(max(_year_of(after), _FIRST_YEAR_WITH_TRANSITIONS), _year_of(until) + 1)
        return [t for year in years for t in self.transitions(year) if after < t.at <= until]

    def transitions(self, year: int) -> tuple[Transition, ...]:
        """The changes of offset in a year of UTC."""
        if self.zone is None or not _FIRST_YEAR_WITH_TRANSITIONS <= year <= 9999:
            return ()
        cycles = max(0, (year - _FIRST_YEAR_BY_RULE) // _CYCLE_YEARS)
        transitions_found = _transitions_of_year(self.zone, year - cycles * _CYCLE_YEARS)
        if not cycles:
            return transitions_found
        return tuple(Transition(t.at + cycles * _CYCLE, t.before, t.after) for t in transitions_found)

    def _transition_between(self, before: int, until: int) -> int:
        """The tick in (before, until] at which the offset changes; offsets change at whole seconds."""
        low, high = before // SECOND, until // SECOND
        old = self.offset_at(low * SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset_at(middle * SECOND) == old:
                low = middle
            else:
                high = middle
        return high * SECOND


@lru_cache(maxsize=1024)
def wall_clock(name: str | None) -> WallClock:
    """The wall clock of an IANA zone, or of UTC for None.

    Raises:
        TimezoneError: there is no such zone.
    """
    return WallClock(None if name is None else check_timezone(name))


@lru_cache(maxsize=8192)
def _transitions_of_year(zone: ZoneInfo, year: int) -> tuple[Transition, ...]:
    # zoneinfo does not expose its transitions, so the offset is checked once a day; no zone has ever changed its
    # offset back and forth within a day.
    clock = WallClock(zone)
    start = ticks_of(datetime(year, 1, 1, tzinfo=moment_of(0).tzinfo))
    end = start + (366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365) * DAY
    changes = []
    offset = clock.offset_at(start - SECOND)
    previous = start - SECOND
    for tick in (*range(start, end, DAY), end - SECOND):
        now = clock.offset_at(tick)
        if now != offset:
            changes.append(Transition(clock._transition_between(previous, tick), offset, now))  # noqa: SLF001
        previous, offset = tick, now
    return tuple(changes)


def _year_of(ticks: int) -> int:
    return naive_of(min(max(ticks, FIRST_TICK), LAST_TICK)).year


def _ticks_of_offset(offset: timedelta | None) -> int:
    # A zone always knows its offset, although the type of utcoffset() allows None.
    return 0 if offset is None else (offset.days * 86_400 + offset.seconds) * SECOND
