"""One tree of errors. Each says what is wrong, with which value, and what to do.

Pure: imports nothing of the project. The API turns these errors into problem details; nothing else in the core knows
about HTTP statuses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

#: The maximum length of a rejected value that is shown.
LONGEST_VALUE: Final = 200


class How(StrEnum):
    """Placeholders for what callers do differently in each interface; `api.wording` has the words for them."""

    FORCE = "{how:force}"
    ALL = "{how:all}"
    NAME = "{how:name}"
    AUTHENTICATE = "{how:authenticate}"


def shown(value: object) -> Any:
    """A value as it can be shown: itself if it is short and can be JSON, else the beginning of its text."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "…"
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # JSON has no NaN and no infinity
        return str(value)[:LONGEST_VALUE]
    return value if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


class TimeballError(Exception):
    """A failure that Timeball can explain to its users."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """An invalid field of an input. As a text it is a sentence: field, value, message; remedy.

    Attributes:
        field: the field's name as the user wrote it, with dots for nesting (``runtime_vars.DB HOST``).
        value: the invalid value; None if it is missing or must not be shown.
        message: what is wrong, as a predicate without a full stop: ``is not a configured size``.
        remedy: what to do, as an imperative without a full stop: ``use one of XXS, XS``.
    """

    field: str
    value: object
    message: str
    remedy: str

    def __str__(self) -> str:
        value = "" if self.value is None else f" {json.dumps(shown(self.value), ensure_ascii=False)}"
        end = "" if self.remedy.endswith(("?", ".")) else "."
        return f"{shown(self.field)}{value} {self.message}; {self.remedy}{end}"


class InvalidInputError(TimeballError):
    """An input is invalid; each error names a field."""

    def __init__(self, *errors: FieldError) -> None:
        self.errors = errors
        super().__init__(" ".join(map(str, errors)))


class ScheduleError(TimeballError):
    """The text of a schedule is invalid.

    Attributes:
        text: the whole text.
        position: where the error is, counted from 0.
        message: what is wrong there.
        remedy: what to write instead.
    """

    def __init__(self, text: str, position: int, message: str, remedy: str) -> None:
        self.text = text
        self.position = position
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} (at position {position + 1}; {remedy})")

    def as_field_error(self, field: str, noun: str) -> FieldError:
        """The error of a field that contains the text.

        Args:
            field: its name.
            noun: what the text should have been, such as ``schedule``.
        """
        message = f"is not a valid {noun}: {self.message} (at position {self.position + 1})"
        return FieldError(field, self.text, message, self.remedy)


class NotFoundError(TimeballError):
    """Something does not exist, or is not visible to the caller."""


class ConflictError(TimeballError):
    """The request conflicts with the current state; the message says what to do."""


class UnauthorizedError(TimeballError):
    """The request has no valid token."""


class ForbiddenError(TimeballError):
    """The token is valid, but does not allow the request."""


class TooManyError(TimeballError):
    """Too many attempts have failed, so further attempts are rejected for a while.

    Attributes:
        retry_after: seconds until another attempt is accepted.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UnavailableError(TimeballError):
    """The request cannot be processed now; a later attempt may succeed.

    Attributes:
        retry_after: seconds after which another attempt makes sense.
    """

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class SettingsError(TimeballError):
    """The settings are invalid; the message names the setting and says what to do."""
