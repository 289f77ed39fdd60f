"""Parses ISO 8601 repeating intervals strictly: errors are reported with their position.

Pure. The moments and durations in them are parsed by ``iso8601_moment`` and ``iso8601_duration``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from scheduler.domain.errors import ScheduleError
from scheduler.timing.instants import SECOND
from scheduler.timing.iso8601_duration import read_duration
from scheduler.timing.iso8601_moment import WrittenMoment, read_moment
from scheduler.timing.progression import DurationStep

_FORMS = "R5/2026-01-31T09:00:00Z/P1M (five runs), R/… (no end) or R5//PT1H (starts when it is switched on)"


@dataclass(frozen=True, slots=True)
class RepeatingInterval:
    """The parts of a repeating interval, as written.

    Attributes:
        count: the number of runs, or None for no limit.
        start: the start, if one is written.
        end: the end, if one is written.
        step: the duration, if one is written.
        duration: the duration's text, or ''.
    """

    count: int | None
    start: WrittenMoment | None
    end: WrittenMoment | None
    step: DurationStep | None
    duration: str


def read_repeating_interval(text: str) -> RepeatingInterval:
    """The parts of ``R[n]/<start>/<duration>`` and its other forms.

    Raises:
        ScheduleError: the text is invalid; contains the position of the first error.
    """
    count, first, second = _split(text)
    first_at = text.index("/") + 1
    second_at = first_at + len(first) + 1
    if not second:
        raise ScheduleError(
            text,
            second_at,
            "the part after the second '/' is missing",
            "write a duration there, such as PT1H",
        )
    if not first:
        if not _is_duration(second):
            raise ScheduleError(
                text, second_at, "without a start, a duration must follow", f"write {text[:first_at]}/PT1H"
            )
        return RepeatingInterval(count, None, None, _read_step(text, second_at, second, count), second)
    if _is_duration(first):
        if _is_duration(second):
            raise ScheduleError(
                text,
                second_at,
                "there are two durations and no start or end",
                f"write {text[:first_at]}/{second} to start when the schedule is switched on",
            )
        step = _read_step(text, first_at, first, count)
        return RepeatingInterval(count, None, read_moment(text, second_at, second), step, first)
    start = read_moment(text, first_at, first)
    if _is_duration(second):
        return RepeatingInterval(count, start, None, _read_step(text, second_at, second, count), second)
    return RepeatingInterval(count, start, read_moment(text, second_at, second), None, "")


def _split(text: str) -> tuple[int | None, str, str]:
    """The number of runs and the texts of the two parts after it."""
    _check_letters(text)
    parts = text.split("/")
    if not parts[0].startswith("R"):
        if len(parts) == 1 and _is_duration(text):
            read_duration(text, 0, text)
            raise ScheduleError(text, 0, "a duration alone does not repeat", f"write R//{text}")
        raise ScheduleError(text, 0, "a repeating interval must begin with R", f"write {_FORMS}")
    count = _read_count(text, parts[0])
    if len(parts) < 3:
        _refuse_missing_part(text, parts)
    if len(parts) > 3:
        position = len("/".join(parts[:3]))
        raise ScheduleError(
            text, position, "nothing may follow the third part", f"end the schedule here: {text[:position]}"
        )
    return count, parts[1], parts[2]


def _check_letters(text: str) -> None:
    for position, character in enumerate(text):
        if character.islower():
            raise ScheduleError(
                text, position, f"{character!r} is a lower-case letter", f"write it as {character.upper()!r}"
            )
        if character.isspace():
            remedy = "write a T between date and time" if 0 < position < len(text) - 1 else "remove it"
            raise ScheduleError(text, position, "white space is not allowed in an interval", remedy)


def _read_count(text: str, part: str) -> int | None:
    digits = part[1:]
    if not digits:
        return None
    position = next((i for i, c in enumerate(part) if i and c not in "0123456789"), None)
    if position is None:
        return int(digits)
    if digits[0] == "-":
        remedy = "omit the number for no end (R/…), or write the total number of runs (R5/…)"
        raise ScheduleError(text, 1, "the number of runs cannot be negative", remedy)
    if digits[0] == "+":
        raise ScheduleError(
            text, 1, "the number of runs must not have a sign", f"remove the '+': R{digits[1:]}/…"
        )
    raise ScheduleError(
        text,
        position,
        f"{part[position]!r} is not allowed in the number of runs",
        "write R, the number with the digits 0-9, and a '/': R5/…",
    )


def _refuse_missing_part(text: str, parts: list[str]) -> NoReturn:
    head = parts[0]
    if len(parts) == 2 and _is_duration(parts[1]):
        raise ScheduleError(
            text,
            len(head) + 1,
            "the start is missing",
            f"write {head}//{parts[1]} to start when it is switched on, or {head}/<start>/{parts[1]}",
        )
    if len(parts) == 2 and parts[1]:
        raise ScheduleError(
            text, len(text), "the duration is missing", f"write it after another '/': {text}/PT1H"
        )
    raise ScheduleError(text, len(text), "the start and the duration are missing", f"write {_FORMS}")


def _is_duration(part: str) -> bool:
    return part.lstrip("+-").startswith("P")


def _read_step(text: str, position: int, part: str, count: int | None) -> DurationStep:
    step = read_duration(text, position, part)
    if step.months or step.wall + step.elapsed >= SECOND:
        return step
    if step.wall + step.elapsed == 0:
        if count == 1:
            return step
        raise ScheduleError(
            text, position, "the duration is zero", "write a longer one, or R1 for a single run"
        )
    raise ScheduleError(text, position, "the duration is shorter than one second", "write at least PT1S")
