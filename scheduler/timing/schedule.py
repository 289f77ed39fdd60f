"""Schedules: their common interface, and how a stored text is parsed.

Pure. The planner, the preview and the API use schedules only through this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from scheduler.domain.errors import ScheduleError
from scheduler.timing.cron import CronSchedule, parse_cron
from scheduler.timing.instants import moment_of, ticks_of
from scheduler.timing.interval import IntervalSchedule, parse_interval
from scheduler.timing.zones import Oddity, TimezoneError, check_timezone, wall_clock

__all__ = [
    "CronSchedule",
    "IntervalSchedule",
    "Schedule",
    "TimezoneError",
    "check_timezone",
    "parse_schedule",
    "start_schedule",
]

LONGEST_TEXT = 256
"""Maximum length as users write it, without an added start; the longest useful schedules have about 60 characters."""

# A start as added by ``start_schedule``.
_WRITTEN_IN = re.compile(r"R[0-9]*/([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z)/P")
_LONGEST_STORED = LONGEST_TEXT + len("2026-01-31T09:00:00.000Z")


class Schedule(Protocol):
    """When a job runs: an ascending sequence of distinct moments.

    All arguments are aware moments (in any zone), all results are aware moments in UTC. Nothing here raises
    OverflowError: moments outside the years 1 to 9999, in UTC or in the schedule's zone, do not occur.
    """

    @property
    def text(self) -> str:
        """The text as stored."""

    @property
    def timezone(self) -> str | None:
        """The IANA zone whose wall clock the schedule follows, or None for UTC."""

    @property
    def needs_start(self) -> bool:
        """Whether it has no occurrences until ``start_schedule`` adds its start to the text."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first occurrence strictly after ``moment``, or None if there is none."""

    def last_before(self, moment: datetime) -> datetime | None:
        """The last occurrence strictly before ``moment``, or None if there is none."""

    def count_between(self, after: datetime, until: datetime) -> int:
        """The number of occurrences in (after, until]; the cost does not grow with their number."""

    def occurrences(self, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """The occurrences strictly after ``after``, up to and including ``until``, ascending."""

    def oddity(self, moment: datetime) -> Oddity | None:
        """The effect of daylight saving on the occurrence at ``moment``; None for any other moment."""


def parse_schedule(text: str, timezone: str | None = None) -> Schedule:
    """The schedule that ``text`` describes: an ISO 8601 repeating interval or a crontab expression.

    Args:
        text: see docs/schedules.md; such as ``R5/2026-01-31T09:00:00/P1M`` or ``0 9 * * MON-FRI``.
        timezone: the IANA zone of moments written without an offset and of the wall clock; None for UTC.

    Raises:
        ScheduleError: the text is neither; the error says where it is wrong and what to write instead.
        TimezoneError: (a ScheduleError) there is no such zone.
    """
    return _parse(text, timezone)


def start_schedule(text: str, timezone: str | None, now: datetime) -> str:
    """The text with its start added, if it lacks one (``Rn//<duration>``); any other text is unchanged.

    The start is ``now``, rounded up to the next whole millisecond so that it is never before ``now``.

    Raises:
        ScheduleError: as for ``parse_schedule``.
    """
    if not parse_schedule(text, timezone).needs_start:
        return text
    # Near the limits of the calendar it stays within what the zone's clock can show.
    clock = wall_clock(timezone)
    ticks = min(-(-max(ticks_of(now), clock.first) // 1_000), clock.last // 1_000) * 1_000
    start = moment_of(ticks).replace(tzinfo=None).isoformat(timespec="milliseconds")
    head, _, duration = text.partition("//")
    return f"{head}/{start}Z/{duration}"


@lru_cache(maxsize=4096)
def _parse(text: str, timezone: str | None) -> IntervalSchedule | CronSchedule:
    if len(text) > (_LONGEST_STORED if _WRITTEN_IN.match(text[:_LONGEST_STORED]) else LONGEST_TEXT):
        raise ScheduleError(
            text,
            LONGEST_TEXT,
            f"the schedule is longer than {LONGEST_TEXT} characters",
            "use ranges and steps, such as */5 or 1-5",
        )
    _check_characters(text)
    # No crontab begins with R or P, and no interval without white space begins with anything else.
    if text[0] in "RrPp" or (text[0] not in "@*" and " " not in text and "\t" not in text):
        return parse_interval(text, timezone)
    return parse_cron(text, timezone)


def _check_characters(text: str) -> None:
    if not text.strip():
        raise ScheduleError(
            text, 0, "the schedule is empty", "write R5/2026-01-31T09:00:00Z/P1M or 0 9 * * MON-FRI"
        )
    for position, character in enumerate(text):
        if not (" " <= character <= "~" or character == "\t"):
            what = (
                f"{character!r} is a digit other than 0-9"
                if character.isdigit()
                else f"{character!r} is not an ASCII character"
            )
            remedy = "use plain ASCII letters, digits and signs"
            raise ScheduleError(text, position, what, remedy)
    if text[0] in " \t" or text[-1] in " \t":
        position = 0 if text[0] in " \t" else len(text.rstrip())
        raise ScheduleError(text, position, "there is white space around the schedule", "remove it")
