"""Where handlers find what they need: typed keys of the application and of each request."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from scheduler.access import Caller
from scheduler.service import Service
from scheduler.tokens import Tokens

SERVICE: Final = web.AppKey("service", Service)
TOKENS: Final = web.AppKey("tokens", Tokens)
CALLER: Final = web.RequestKey("caller", Caller)
