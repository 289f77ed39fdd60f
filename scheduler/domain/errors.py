"""One tree of errors. Each says what was wrong, with which value, and what to do about it.

Pure: imports nothing of the project. The API turns these into problem details; nothing else in the core
knows of HTTP statuses.
"""

from __future__ import annotations

from dataclasses import dataclass


class TimeballError(Exception):
    """Any failure that Timeball itself explains to its user."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field of an input.

    Attributes:
        field: the field's name as the user wrote it, with dots for nesting (``runtime_vars.DB HOST``).
        value: the offending value, as given; shortened by whoever shows it.
        message: what is wrong with it.
        remedy: what to write instead.
    """

    field: str
    value: object
    message: str
    remedy: str


class InvalidInputError(TimeballError):
    """Something the user sent cannot be accepted."""

    def __init__(self, *errors: FieldError) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{e.field}: {e.message} ({e.remedy})" for e in errors))


class ScheduleError(TimeballError):
    """A schedule's text cannot be accepted.

    Attributes:
        text: the whole text as given.
        position: where it goes wrong, counted from 0 in ``text``.
        message: what is wrong there.
        remedy: what to write instead.
    """

    def __init__(self, text: str, position: int, message: str, remedy: str) -> None:
        self.text = text
        self.position = position
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} (at position {position + 1}; {remedy})")


class NotFoundError(TimeballError):
    """No such thing exists, or not for this caller."""


class ConflictError(TimeballError):
    """The request contradicts what is already so; the message says how to go on."""


class UnauthorizedError(TimeballError):
    """No valid token came with the request."""


class ForbiddenError(TimeballError):
    """The token is valid, but not for this."""


class TooManyError(TimeballError):
    """Too many attempts failed; more are not looked at for a while.

    Attributes:
        retry_after: seconds after which another try is looked at.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UnavailableError(TimeballError):
    """The request cannot be served just now; trying again later may help.

    Attributes:
        retry_after: seconds after which another try makes sense.
    """

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class SettingsError(TimeballError):
    """The daemon's settings cannot be used; the message names the setting and the remedy."""
