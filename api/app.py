"""Puts the routes together with what they need; the daemon serves the result."""

from __future__ import annotations

from aiohttp import web

from api.auth import auth_middleware
from api.finishing import CHANGES, finish, finishing_middleware
from api.keys import SERVICE, TOKENS
from api.problems import problems_middleware
from api.routes import execs, health, jobs, logs, overview, schedules
from scheduler.service import Service
from scheduler.tokens import Tokens


def build_app(service: Service, tokens: Tokens, *, max_body_bytes: int) -> web.Application:
    """The application: every route, behind the middlewares."""
    app = web.Application(
        middlewares=[finishing_middleware, problems_middleware, auth_middleware],
        client_max_size=max_body_bytes,
    )
    app[CHANGES] = set()
    app.on_shutdown.append(finish)
    app[SERVICE] = service
    app[TOKENS] = tokens
    for module in (health, jobs, schedules, execs, overview, logs):
        app.add_routes(module.ROUTES)
    return app
