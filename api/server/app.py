"""Builds the application from the routes and the objects that they need."""

from __future__ import annotations

from aiohttp import web

from api.dialects import MODULES as DIALECTS
from api.dialects.dialect import refusing
from api.dialects.ordine import SUCCESS_WORD
from api.http.compression import compression_middleware
from api.http.keys import BODY_SECONDS, SERVICE, TOKENS, TRUST
from api.http.problems import problems_middleware
from api.http.proxies import Trust
from api.routes import (
    audit,
    backup,
    execs,
    health,
    hooks,
    jobs,
    logs,
    namespaces,
    openapi,
    overview,
    registries,
    schedules,
    secrets,
    users,
)
from api.routes import tokens as tokens_routes
from api.routes.openapi import DOCUMENT
from api.server.auth import auth_middleware, refusals_middleware
from api.server.finishing import CHANGES, finish, finishing_middleware
from api.server.hardening import harden, hardening_middleware
from scheduler.access.tokens import Tokens
from scheduler.service import Service


def build_app(
    service: Service,
    tokens: Tokens,
    *,
    max_body_bytes: int,
    trust: Trust | None = None,
    body_seconds: int = 30,
    ordine_success_word: str = "completed",
) -> web.Application:
    """The application: all routes behind the middlewares.

    Args:
        service: the use cases.
        tokens: identifies the caller.
        max_body_bytes: maximum size of a request body.
        trust: the accepted hosts and the trusted proxies. Default: any host, and no proxy.
        body_seconds: seconds within which the body of a request must arrive.
        ordine_success_word: the word for success for clients of Ordine.
    """
    app = web.Application(
        middlewares=[
            hardening_middleware,
            finishing_middleware,
            compression_middleware,
            *(refusing(module.DIALECT) for module in DIALECTS),
            problems_middleware,
            refusals_middleware,
            auth_middleware,
        ],
        client_max_size=max_body_bytes,
    )
    app[TRUST] = trust or Trust()
    app[BODY_SECONDS] = body_seconds
    app[SUCCESS_WORD] = ordine_success_word
    app.on_response_prepare.append(harden)
    app[CHANGES] = set()
    app[DOCUMENT] = {}
    app.on_shutdown.append(_stop_following)
    app.on_shutdown.append(finish)
    app[SERVICE] = service
    app[TOKENS] = tokens
    for module in (
        health,
        jobs,
        schedules,
        execs,
        overview,
        logs,
        hooks,
        tokens_routes,
        users,
        namespaces,
        audit,
        secrets,
        registries,
        backup,
        openapi,
        *DIALECTS,
    ):
        app.add_routes(module.ROUTES)
    return app


async def _stop_following(app: web.Application) -> None:
    app[SERVICE].logs.stop_following()
