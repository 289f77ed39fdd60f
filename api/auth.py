"""Who asks: a token in the `Authorization` header, as `Token …` or `Bearer …`.

A middleware that puts the caller into the request. Tokens are looked up by their hash and remembered for some
seconds, so that a busy client costs the database nothing.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from api.keys import CALLER, TOKENS
from scheduler.errors import UnauthorizedError

#: Paths that answer without a token: they tell only whether the daemon is well.
PUBLIC: Final = frozenset({"/healthz", "/readyz", "/metrics"})


@web.middleware
async def auth_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through what is public or has a valid token."""
    if request.path not in PUBLIC:
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() not in {"token", "bearer"} or not token.strip():
            raise UnauthorizedError(
                "This needs a token: send the header 'Authorization: Token <token>'; "
                "the first one is in the file admin.token in the daemon's data directory"
            )
        request[CALLER] = await request.app[TOKENS].caller_of(token.strip())
    return await handler(request)
