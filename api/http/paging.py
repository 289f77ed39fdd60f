"""Query parameters that lists share, and the envelope they answer in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from api.http.answers import answer
from api.operations.operation import Parameter
from api.operations.parameters import number
from api.schemas.common import ListOut
from scheduler.domain.errors import NotFoundError
from scheduler.domain.views import Page

DEFAULT_PAGE_SIZE: Final = 20
LARGEST_PAGE_SIZE: Final = 1_000
#: No list is long enough for further pages.
LAST_PAGE: Final = 10**9
PAGE: Final[tuple[Parameter, ...]] = (
    number("page", "The number of the page, from 1.", default=1, largest=LAST_PAGE),
    number("page_size", "The size of a page.", default=DEFAULT_PAGE_SIZE, largest=LARGEST_PAGE_SIZE),
)


def envelope(request: web.Request, page: Page, count: int, results: Sequence[BaseModel]) -> web.Response:
    """A page of a list as a response.

    Raises:
        NotFoundError: the page is beyond the end of the list; the first page always exists.
    """
    last = max(1, -(-count // page.size))
    if page.number > last:
        raise NotFoundError(f"page={page.number} does not exist. The last page is {last}.")
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
