"""Query parameters that lists share, and the envelope they answer in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from api.http.answers import answer
from api.operations.operation import Parameter, query_names_of
from api.operations.parameters import number
from api.schemas.common import ListOut
from scheduler.domain.errors import FieldError, InvalidInputError, NotFoundError
from scheduler.domain.views import Page

DEFAULT_PAGE_SIZE: Final = 20
LARGEST_PAGE_SIZE: Final = 1_000
#: Pages beyond this would count through more rows than any list has.
LAST_PAGE: Final = 10**9
PAGE: Final[tuple[Parameter, ...]] = (
    number("page", "Which page, from 1 on.", default=1, largest=LAST_PAGE),
    number("page_size", "How much is on a page.", default=DEFAULT_PAGE_SIZE, largest=LARGEST_PAGE_SIZE),
)
_TRUE: Final = frozenset({"true", "1", "yes"})
_FALSE: Final = frozenset({"false", "0", "no", ""})


def query_of(request: web.Request) -> Mapping[str, str]:
    """The query's parameters by name; one that is given empty counts as not given.

    Raises:
        InvalidInputError: a parameter is not one that the route is described with, or comes twice.
    """
    allowed = query_names_of(request)
    found: dict[str, str] = {}
    errors: list[FieldError] = []
    for name, value in request.query.items():
        if name not in allowed:
            remedy = f"use {', '.join(allowed)}" if allowed else "leave it out"
            errors.append(
                FieldError(name or "query", value, "is not a query parameter of this request", remedy)
            )
        elif name in found:
            errors.append(FieldError(name, value, "is given twice", "give it once"))
        found[name] = value
    if errors:
        raise InvalidInputError(*errors)
    return {name: value for name, value in found.items() if value != ""}


def page_of(query: Mapping[str, str]) -> Page:
    """The page that a query asks for.

    Raises:
        InvalidInputError: `page` or `page_size` is not a number in its range.
    """
    return Page(
        number_of(query, "page", 1, LAST_PAGE),
        number_of(query, "page_size", DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE),
    )


def number_of(query: Mapping[str, str], name: str, default: int, largest: int, *, least: int = 1) -> int:
    """A parameter that is a whole number from `least` on.

    Raises:
        InvalidInputError: it is not, or larger than `largest`.
    """
    text = query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= largest:
        return int(text)
    raise InvalidInputError(
        FieldError(
            name, text, f"is not a whole number from {least} to {largest}", f"use {least} to {largest}"
        )
    )


def flag_of(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false; false if not given.

    Raises:
        InvalidInputError: it is neither.
    """
    text = query.get(name, "")
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise InvalidInputError(FieldError(name, text, "is neither true nor false", "use true or false"))


def envelope(request: web.Request, page: Page, count: int, results: Sequence[BaseModel]) -> web.Response:
    """A page of a list as a response.

    Raises:
        NotFoundError: the page lies beyond the list's end; the first page never does.
    """
    last = max(1, -(-count // page.size))
    if page.number > last:
        raise NotFoundError(f"page={page.number} does not exist: the last page is {last}")
    return answer(
        ListOut[Any](
            count=count,
            previous=_url(request, page.number - 1) if page.number > 1 else None,
            next=_url(request, page.number + 1) if page.number < last else None,
            results=list(results),
        )
    )


def _url(request: web.Request, number: int) -> str:
    return str(request.url.update_query(page=str(number)))
