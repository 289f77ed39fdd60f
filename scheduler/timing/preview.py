"""Previews a schedule: its next due times and a description.

Pure. The command and the API show the same preview.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from scheduler.timing.describe import Language, describe
from scheduler.timing.instants import FIRST_TICK, moment_of, ticks_of
from scheduler.timing.iso8601_moment import read_moment
from scheduler.timing.schedule import Schedule, check_timezone, parse_schedule, start_schedule
from scheduler.timing.zones import Oddity, wall_clock

__all__ = ["MOST_OCCURRENCES", "Language", "PreviewedTime", "describe", "parse_moment", "preview"]

MOST_OCCURRENCES = 1000
"""Maximum number of due times in a preview."""


@dataclass(frozen=True, slots=True)
class PreviewedTime:
    """A due time in a preview.

    Attributes:
        at: the moment, in UTC.
        local: the same moment on the wall clock of the schedule's zone, with its offset.
        note: ``gap`` if daylight saving skips the intended wall-clock time, so that the run moves to the first
            moment after the gap; ``fold`` if the wall-clock time occurs twice and this is the first; otherwise None.
    """

    at: datetime
    local: datetime
    note: Oddity | None


def preview(schedule: Schedule, after: datetime, count: int) -> list[PreviewedTime]:
    """The next ``count`` due times strictly after ``after``; fewer if there are no more.

    A schedule that starts when it is switched on (``Rn//<duration>``) is shown as if it were switched on at
    ``after``, including its start.
    """
    zone = UTC if schedule.timezone is None else check_timezone(schedule.timezone)
    if schedule.needs_start:
        started = start_schedule(schedule.text, schedule.timezone, after)
        schedule = parse_schedule(started, schedule.timezone)
        after = moment_of(max(ticks_of(after) - 1, FIRST_TICK))
    return [
        PreviewedTime(at, at.astimezone(zone), schedule.oddity(at))
        for at in islice(schedule.occurrences(after), count)
    ]


def parse_moment(text: str, timezone: str | None = None) -> datetime:
    """The moment of an ISO 8601 text, in UTC; without an offset, it is on the zone's wall clock.

    Raises:
        ScheduleError: the text is not a moment between the years 1 and 9999.
        TimezoneError: there is no such zone.
    """
    clock = wall_clock(timezone)
    written = read_moment(text, 0, text)
    at = clock.resolve(written.wall)[0] if written.offset is None else written.wall - written.offset
    return moment_of(min(max(at, clock.first), clock.last))
