"""Typed keys of the application and of requests, with which handlers find what they need."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.proxies import Trust
from scheduler.access.callers import Caller, Origin
from scheduler.access.tokens import Tokens
from scheduler.service import Service

SERVICE: Final = web.AppKey("service", Service)
TOKENS: Final = web.AppKey("tokens", Tokens)
#: The accepted hosts and the trusted proxies.
TRUST: Final = web.AppKey("trust", Trust)
#: Seconds within which the body of a request must arrive.
BODY_SECONDS: Final = web.AppKey("body_seconds", int)
CALLER: Final = web.RequestKey("caller", Caller)
#: Where the request comes from. Every request has it, even before authentication.
ORIGIN: Final = web.RequestKey("origin", Origin)
