"""The query of a request: the only way in which routes read it.

A route declares its parameters (`api.operations`); `query_of` accepts these and no others, and the typed readers take
defaults and limits from the declaration. A parameter without a value counts as not given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from aiohttp import web
from multidict import MultiMapping

from api.operations.operation import Operation, operation_of
from api.schemas.fields import NAMESPACE_REMEDY, is_namespace
from scheduler.domain.errors import FieldError, InvalidInputError, ScheduleError
from scheduler.domain.views import Page
from scheduler.timing.preview import parse_moment

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)

_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})
#: Between a time of day and the digits of its offset.
_LOST_PLUS: Final = re.compile(r"(?<=[0-9])(T[0-9:.,]+) (?=[0-9])")
_SECONDS: Final = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,6})?", re.ASCII)
_MILLISECONDS: Final = re.compile(r"[0-9]{13}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Query(Mapping[str, str]):
    """The parameters of a query by name, without those that can be repeated; see `several` for these.

    Args:
        given: the query as it was sent.
        operation: declares the parameters.

    Raises:
        InvalidInputError: a parameter is not declared, or is given twice and cannot be repeated.
    """

    def __init__(self, given: MultiMapping[str], operation: Operation) -> None:
        self._declared = operation.parameters
        self._single: dict[str, str] = {}
        self._several: dict[str, list[str]] = {}
        allowed = operation.query_names
        errors: list[FieldError] = []
        for name, value in given.items():
            declared = self._declared.get(name)
            if name not in allowed:
                remedy = f"use {', '.join(allowed)}" if allowed else "remove it"
                errors.append(
                    FieldError(name or "query", value, "is not a parameter of this request", remedy)
                )
            elif declared is not None and declared.is_repeatable:
                values = value.split(",") if declared.has_words else [value]
                self._several.setdefault(name, []).extend(text for text in values if text)
            elif name in self._single:
                errors.append(FieldError(name, value, "is given twice", "give it once"))
            else:
                self._single[name] = value
        if errors:
            raise InvalidInputError(*errors)
        self._single = {name: value for name, value in self._single.items() if value}

    def __getitem__(self, name: str) -> str:
        return self._single[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._single)

    def __len__(self) -> int:
        return len(self._single)

    def several(self, name: str) -> list[str]:
        """All values of a parameter that can be repeated."""
        return self._several.get(name, [])

    def number(self, name: str) -> int:
        """A parameter that is declared with `api.operations.parameters.number`.

        Raises:
            InvalidInputError: it is not a whole number within its limits.
        """
        schema = self._declared[name].schema
        least, largest = schema["minimum"], schema["maximum"]
        text = self.get(name)
        if text is None:
            return int(schema["default"])
        if text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= largest:
            return int(text)
        raise InvalidInputError(
            FieldError(
                name, text, f"is not a whole number from {least} to {largest}", f"use {least} to {largest}"
            )
        )

    def page(self) -> Page:
        """The page of a list that is declared with `api.http.paging.PAGE`.

        Raises:
            InvalidInputError: `page` or `page_size` is not a whole number within its limits.
        """
        return Page(self.number("page"), self.number("page_size"))

    def flag(self, name: str) -> bool:
        """A parameter that is true or false; false if it is not given.

        Raises:
            InvalidInputError: it is neither.
        """
        text = self.get(name, "").lower()
        if text not in _TRUE | _FALSE:
            raise InvalidInputError(
                FieldError(name, self[name], "is neither true nor false", "use true or false")
            )
        return text in _TRUE

    def moment(self, name: str, zone: str | None = None) -> datetime | None:
        """A parameter that is an ISO 8601 time. Without an offset, it is in the zone, or in UTC.

        Raises:
            InvalidInputError: it is not.
        """
        text = self.get(name)
        if text is None:
            return None
        try:
            return parse_moment(with_plus(text), zone)
        except ScheduleError as error:
            raise InvalidInputError(replace(error.as_field_error(name, "time"), value=text)) from error

    def instant(self, name: str) -> datetime | None:
        """A parameter that is an ISO 8601 time or a number of Unix seconds.

        Raises:
            InvalidInputError: it is neither.
        """
        text = self.get(name)
        if text is not None and _MILLISECONDS.fullmatch(text):
            seconds = f"{text[:-3]}.{text[-3:]}"
            raise InvalidInputError(
                FieldError(name, text, "has 13 digits and looks like milliseconds", f"use seconds: {seconds}")
            )
        # Eight digits are a date: 20260131.
        if text is not None and _SECONDS.fullmatch(text) and len(text) != 8:
            whole, _, decimals = text.partition(".")
            micros = int(decimals.ljust(6, "0")) if decimals else 0
            return _EPOCH + timedelta(seconds=int(whole), microseconds=micros)
        return self.moment(name)

    def word(self, name: str, words: type[Word]) -> Word | None:
        """A parameter that is one of a few words; None if it is not given.

        Raises:
            InvalidInputError: it is none of them.
        """
        text = self.get(name)
        if text is None:
            return None
        if text not in tuple(words):
            raise InvalidInputError(
                FieldError(name, text, "is not an allowed value", f"use one of {', '.join(words)}")
            )
        return words(text)

    def words(self, name: str, words: type[Word]) -> frozenset[Word]:
        """A parameter that is one of a few words or several, repeated or separated by commas.

        Raises:
            InvalidInputError: one of them is unknown; all that are unknown are named.
        """
        given = self[name].split(",") if name in self else self.several(name)
        known = {word.value: word for word in words}
        meaning = ", ".join(_explained(word) for word in words)
        errors = [
            FieldError(name, text, "is not an allowed value", f"use {meaning}; separate several with commas")
            for text in given
            if text not in known
        ]
        if errors:
            raise InvalidInputError(*errors)
        return frozenset(known[text] for text in given)

    def namespace(self) -> str | None:
        """The parameter `namespace`; None if it is not given.

        Raises:
            InvalidInputError: it cannot be the name of a namespace.
        """
        name = self.get("namespace")
        if name is not None and not is_namespace(name):
            raise InvalidInputError(
                FieldError("namespace", name, "is not a valid name of a namespace", NAMESPACE_REMEDY)
            )
        return name


def query_of(request: web.Request) -> Query:
    """The query of a request.

    Raises:
        InvalidInputError: it has parameters that the route does not declare, or some twice.
        LookupError: the route declares nothing; a bug.
    """
    operation = operation_of(request.match_info.handler)
    if operation is None:
        msg = f"the handler of {request.path} has no declaration; put @described before it"
        raise LookupError(msg)
    return Query(request.query, operation)


def collect(errors: list[FieldError], read: Callable[[], T]) -> T | None:
    """What `read` returns. If it raises InvalidInputError, its errors are added to `errors`, and None is returned."""
    try:
        return read()
    except InvalidInputError as error:
        errors.extend(error.errors)
        return None


def _explained(word: StrEnum) -> str:
    name = word.name.lower()
    return word.value if word.value == name else f"{word.value} ({name})"


def with_plus(text: str) -> str:
    """Restore the '+' of an offset that was sent without encoding and decoded to a space."""
    return _LOST_PLUS.sub(r"\1+", text)
