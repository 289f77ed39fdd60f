"""Who asks: a token in the `Authorization` header, as `Token …` or `Bearer …`.

Two middlewares: one puts the caller into the request, the other writes down who was refused. Tokens are looked up
by their hash and remembered for some seconds, so that a busy client costs the database nothing.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from api.dialects import dialect_of
from api.http.keys import CALLER, ORIGIN, SERVICE, TOKENS
from api.routes.tokens import LOG_IN
from scheduler.domain.errors import ForbiddenError, How, TooManyError, UnauthorizedError

#: Routes that answer without a token: they tell only whether the daemon is well and what every daemon answers, or
#: take a password instead.
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
    """Let through what is public or has a valid token."""
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
    """Write down what was not let through."""
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
    """The token of the `Authorization` header, or of where the clients of a dialect put theirs."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() in {"token", "bearer"} and token.strip():
        return token.strip()
    dialect = dialect_of(request.path)
    return None if dialect is None else dialect.token_of(request)


def route_of(request: web.Request) -> str | None:
    """The path of the request's route as it is declared, with its placeholders; None where there is none."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical
