"""What makes a dialect: where its paths begin, where its clients put the token, and how it says that it refuses.

A middleware turns the problem details of a refused request into the dialect's own shape, so that nothing else
needs to know of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.http.problems import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of the APIs that Timeball answers like.

    Attributes:
        name: of the system, as one word in lower case.
        prefix: with which its paths begin.
        refuse: makes the response for a problem, from its status and its body.
        refusal: the shape of that response's body.
        token_name: the header or cookie that holds the token, besides `Authorization`; None for none.
        security: the names of the security schemes that stand for it in the API's description.
    """

    name: str
    prefix: str
    refuse: Callable[[int, dict[str, Any]], web.Response]
    refusal: Any
    token_name: str | None = None
    security: tuple[str, ...] = ()

    def token_of(self, request: web.Request) -> str | None:
        """The token that a client of it has sent its own way."""
        if self.token_name is None:
            return None
        found = request.headers.get(self.token_name) or request.cookies.get(self.token_name)
        return found.strip().strip('"') if found else None


def refusing(dialect: Dialect) -> Middleware:
    """A middleware that refuses in the dialect's words whatever lies below its prefix."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if not request.path.startswith(dialect.prefix) or not isinstance(response, web.Response):
            return response
        if response.content_type != CONTENT_TYPE or not isinstance(response.body, bytes):
            return response
        refusal = dialect.refuse(response.status, json.loads(response.body))
        for name in ("Retry-After", "WWW-Authenticate", "Allow"):
            if name in response.headers:
                refusal.headers[name] = response.headers[name]
        return refusal

    return middleware


def as_json(body: Any, *, status: int = 200) -> web.Response:
    """A JSON response, in UTF-8 as it is."""
    return web.json_response(
        body, status=status, dumps=lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
