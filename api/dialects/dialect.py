"""What defines a dialect: the prefix of its paths, where its clients send the token, and the format of its errors.

A middleware converts problem details into the dialect's own format, so that handlers do not need to know it.
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
    """The API of another system that Timeball imitates.

    Attributes:
        name: the name of the system, as one word in lower case.
        prefix: the beginning of its paths.
        refuse: returns the response for a problem, given its status and body.
        refusal: the model of that response's body.
        token_name: the header or cookie with the token, in addition to `Authorization`; None for none.
        security: the names of the dialect's security schemes in the OpenAPI document.
    """

    name: str
    prefix: str
    refuse: Callable[[int, dict[str, Any]], web.Response]
    refusal: Any
    token_name: str | None = None
    security: tuple[str, ...] = ()

    def token_of(self, request: web.Request) -> str | None:
        """The token in the dialect's own header or cookie; None if there is none."""
        if self.token_name is None:
            return None
        token = request.headers.get(self.token_name) or request.cookies.get(self.token_name)
        return token.strip().strip('"') if token else None


def refusing(dialect: Dialect) -> Middleware:
    """A middleware that converts errors of the paths below the dialect's prefix into its format."""

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
    """A JSON response in UTF-8, without escapes."""
    return web.json_response(
        body, status=status, dumps=lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
