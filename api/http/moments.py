"""Moments in queries: as ISO 8601, or as Unix seconds where that is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from scheduler.domain.errors import FieldError, InvalidInputError, ScheduleError
from scheduler.timing.preview import parse_moment

#: Between a time of day and the figures of its offset.
_LOST_PLUS: Final = re.compile(r"(?<=[0-9])(T[0-9:.,]+) (?=[0-9])")
_SECONDS: Final = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,6})?", re.ASCII)
_MILLISECONDS: Final = re.compile(r"[0-9]{13}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def with_plus(text: str) -> str:
    """Undo what URL decoding does to the '+' of an offset that was not encoded."""
    return _LOST_PLUS.sub(r"\1+", text)


def moment_of(query: Mapping[str, str], name: str, zone: str | None = None) -> datetime | None:
    """A parameter that is an ISO 8601 moment; without an offset it is on the zone's wall clock, or in UTC.

    Raises:
        InvalidInputError: it is none.
    """
    text = query.get(name)
    if text is None:
        return None
    try:
        return parse_moment(with_plus(text), zone)
    except ScheduleError as error:
        raise InvalidInputError(
            FieldError(name, text, f"{error.message} (at position {error.position + 1})", error.remedy)
        ) from error


def instant_of(query: Mapping[str, str], name: str) -> datetime | None:
    """A parameter that is an ISO 8601 moment or a number of Unix seconds.

    Raises:
        InvalidInputError: it is neither.
    """
    text = query.get(name)
    if text is not None and _MILLISECONDS.fullmatch(text):
        seconds = f"{text[:-3]}.{text[-3:]}"
        raise InvalidInputError(
            FieldError(name, text, "has 13 digits, as milliseconds have", f"give seconds: {seconds}")
        )
    if text is not None and _SECONDS.fullmatch(text) and len(text) != 8:  # eight digits are a date: 20260131
        whole, _, decimals = text.partition(".")
        micros = int(decimals.ljust(6, "0")) if decimals else 0
        return _EPOCH + timedelta(seconds=int(whole), microseconds=micros)
    return moment_of(query, name)
