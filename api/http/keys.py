"""Where handlers find what they need: typed keys of the application and of each request."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.proxies import Trust
from scheduler.access.callers import Caller, Origin
from scheduler.access.tokens import Tokens
from scheduler.service import Service

SERVICE: Final = web.AppKey("service", Service)
TOKENS: Final = web.AppKey("tokens", Tokens)
#: Which hosts are answered for, and which proxies are believed.
TRUST: Final = web.AppKey("trust", Trust)
#: Within how many seconds a request's body has to arrive.
BODY_SECONDS: Final = web.AppKey("body_seconds", int)
CALLER: Final = web.RequestKey("caller", Caller)
#: Where the request comes from; every request has it, also one that nobody has let through yet.
ORIGIN: Final = web.RequestKey("origin", Origin)
