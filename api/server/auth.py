"""Authentication by a token in the `Authorization` header, as `Token …` or `Bearer …`.

One middleware identifies the caller, the other records rejected requests in the audit log. Tokens are looked up by
their hash and cached for some seconds, so that busy clients do not load the database.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from api.dialects import dialect_of
from api.http.keys import CALLER, ORIGIN, SERVICE, TOKENS
from api.routes.tokens import LOG_IN
from scheduler.domain.errors import ForbiddenError, How, TooManyError, UnauthorizedError

#: Routes that need no token: they only show whether the daemon is healthy and what is the same for every daemon, or
#: they require a password instead.
PUBLIC: Final = frozenset(
    {
        "/healthz",
        "/readyz",
        "/metrics",
        LOG_IN,
        LOG_IN + "/",
        "/openapi.json",
        "/docs",
        "/docs/page.css",
        "/docs/page.js",
    }
)
_OUTCOMES: Final = {
    UnauthorizedError: "unauthorized",
    ForbiddenError: "forbidden",
    TooManyError: "throttled",
}


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass requests that are public or have a valid token."""
    if route_of(request) not in PUBLIC:
        token = _token_of(request)
        if not token:
            raise UnauthorizedError(
                f"The request requires a token: {How.AUTHENTICATE}. The first token is in the file admin.token in "
                "the daemon's data directory."
            )
        request[CALLER] = await request.app[TOKENS].caller_of(token, request[ORIGIN])
    return await handler(request)


@web.middleware
async def refusals_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record rejected requests."""
    try:
        return await handler(request)
    except (UnauthorizedError, ForbiddenError, TooManyError) as error:
        await request.app[SERVICE].audit.refused(
            request[ORIGIN],
            request.get(CALLER),
            _OUTCOMES[type(error)],
            route=f"{request.method} {route_of(request) or 'elsewhere'}",
        )
        raise


def _token_of(request: web.Request) -> str | None:
    """The token from the `Authorization` header, or from where clients of a dialect send it."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() in {"token", "bearer"} and token.strip():
        return token.strip()
    dialect = dialect_of(request.path)
    return None if dialect is None else dialect.token_of(request)


def route_of(request: web.Request) -> str | None:
    """The path of the request's route with its placeholders; None if no route matches."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical
