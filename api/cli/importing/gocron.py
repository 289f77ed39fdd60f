"""Schedules in the dialect of Go's robfig/cron, which Ofelia and Kubernetes use. Pure.

It differs from crontab: Ofelia's schedules may start with seconds, `?` means `*`, `@every 1h30m` is an interval,
`CRON_TZ=` may come first, and if both day fields are set, both must match only if one of them is a plain `*`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from api.cli.importing.common import schedule_error

_ZONE: Final = re.compile(r"(?:CRON_TZ|TZ)=(\S+)[ \t]+(.*)", re.ASCII)
_EVERY: Final = re.compile(r"@every[ \t]+(\S+)", re.ASCII)
_PART: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(ns|us|µs|μs|ms|h|m|s)")
#: Intervals that do not depend on the time zone.
_SET_IN_TIME: Final = re.compile(r"R[0-9]*/(?:/|[^/]*(?:Z|[+-][0-9]{2}:?[0-9]{2})/)", re.ASCII)
_PARTS_OF_A_MINUTE: Final = {length for length in range(1, 60) if 60 % length == 0}
_SECONDS: Final = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ns": 1e-9,
}


@dataclass(frozen=True, slots=True)
class Translated:
    """A schedule converted to Timeball's syntax.

    Attributes:
        schedule: the schedule; None if it cannot be converted.
        zone: the time zone that the schedule itself names.
        notes: the differences, or why it cannot be converted.
    """

    schedule: str | None
    zone: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def follows_wall_clock(self) -> bool:
        """Whether the schedule depends on a time zone that it does not name."""
        return self.schedule is not None and self.zone is None and not _SET_IN_TIME.match(self.schedule)


def translate(text: str, *, seconds: bool = False) -> Translated:
    """Convert a schedule of robfig/cron.

    Args:
        text: the schedule as written.
        seconds: whether it may start with a field for seconds.
    """
    text, zone = text.strip(), None
    if (match := _ZONE.fullmatch(text)) is not None:
        zone, text = match[1], match[2].strip()
    if text.startswith("@every"):
        return _every(text, zone)
    notes: list[str] = []
    if not text.startswith("@"):
        fields = text.split()
        if seconds and len(fields) == 6:
            first, *fields = fields
            found = _seconds(first, fields, text)
            if found is not None:
                return found if found.schedule is None else Translated(found.schedule, zone, found.notes)
        if len(fields) == 5:
            fields = [_starred(text) for text in fields]
            notes += _days(fields)
        text = " ".join(fields)
    if (error := schedule_error(text, zone)) is not None:
        return Translated(None, zone, (f"the schedule {text!r} cannot be imported: {error}",))
    return Translated(text, zone, tuple(notes))


def go_duration(text: str) -> float | None:
    """The seconds of a duration such as `1h30m`; None if it is not valid."""
    position, total = 0, 0.0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return None
        total += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    return total if text else None


def iso_duration(seconds: int) -> str:
    """Whole seconds as ISO 8601: 5400 is PT1H30M."""
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "H"), (minutes, "M"), (rest, "S"))
    return "PT" + "".join(f"{number}{unit}" for number, unit in parts if number)


def _every(text: str, zone: str | None) -> Translated:
    match = _EVERY.fullmatch(text)
    length = None if match is None else go_duration(match[1])
    if length is None or length > 366 * 24 * 3600 * 100:
        return Translated(None, zone, (f"the schedule {text!r} is not valid; write it like '@every 1h30m'",))
    whole = max(1, int(length))  # robfig/cron drops fractions of a second, with a minimum of one second
    notes = () if whole == length else (f"{text!r} is rounded to {whole} s, as in robfig/cron",)
    return Translated(f"R//{iso_duration(whole)}", None, notes)


def _seconds(first: str, fields: list[str], text: str) -> Translated | None:
    """The schedule with a field for seconds; None if that field makes no difference."""
    if first in {"0", "00"}:
        return None
    schedule = _interval(first, [_starred(other) for other in fields])
    if schedule is not None:
        return Translated(schedule)
    remedy = "remove them, or use an ISO 8601 interval"
    return Translated(
        None, None, (f"the schedule {text!r} has seconds, which cron expressions do not support; {remedy}",)
    )


def _interval(first: str, others: list[str]) -> str | None:
    """A second of every minute, hour, day or week, as an interval that starts in the past."""
    minute, hour, *rest = others
    every = ["*"] * 5
    step = re.fullmatch(r"(?:\*|\?|0)/([0-9]{1,2})", first)
    if others == every and (first in {"*", "?"} or (step is not None and int(step[1]) in _PARTS_OF_A_MINUTE)):
        return f"R/1970-01-01T00:00:00Z/{iso_duration(int(step[1]) if step else 1)}"
    second, minutes, hours = (_below(60, first), _below(60, minute), _below(24, hour))
    found = None
    if second is not None and others == every:
        found = f"01T00:00:{second}Z/PT1M"
    elif second is not None and minutes is not None and others[1:] == every[1:]:
        found = f"01T00:{minutes}:{second}/PT1H"
    elif second is not None and minutes is not None and hours is not None and rest[:2] == ["*", "*"]:
        if rest[2] == "*":
            found = f"01T{hours}:{minutes}:{second}/P1D"
        elif _below(7, rest[2]) is not None:
            found = f"{4 + int(rest[2]):02}T{hours}:{minutes}:{second}/P1W"  # the 4th was a Sunday
    return None if found is None else f"R/1970-01-{found}"


def _below(limit: int, text: str) -> str | None:
    """A single number with two digits; None for anything else."""
    return f"{int(text):02}" if re.fullmatch(r"[0-9]{1,2}", text) and int(text) < limit else None


def _starred(field_text: str) -> str:
    return re.sub(r"(?<![^,])\?", "*", field_text)


def _days(fields: list[str]) -> list[str]:
    """The difference in meaning if both day fields are set."""
    day, weekday = fields[2], fields[4]
    stepped = [text for text in (day, weekday) if re.match(r"\*/0*(?!1$)[0-9]+", text)]
    if stepped and "*" not in (day, weekday):
        difference = "robfig/cron requires one of them to match, Timeball both, as one starts with '*'"
        return [f"day of month {day} and day of week {weekday}: {difference}"]
    return []
