"""A receiver of hooks, as its owner would run it, with whatever can be wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    path: str
    headers: CIMultiDict[str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)

    @property
    def event(self) -> str:
        """What it tells of."""
        return self.headers["X-Alauda-Event"]


def answers(status: int, **headers: str) -> Behaviour:
    """A receiver that answers with a status."""

    async def behave(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, headers={name.replace("_", "-"): to for name, to in headers.items()}
        )

    return behave


async def hangs(_: web.Request) -> web.StreamResponse:
    """A receiver that takes the request and never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def never_stops(request: web.Request) -> web.StreamResponse:
    """A receiver whose answer has no end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


class Receiver:
    """Listens on 127.0.0.1 and keeps what comes; `behave` says how it answers."""

    def __init__(self, behave: Behaviour | None = None) -> None:
        self.behave = behave or answers(200)
        self.received: list[Received] = []
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; on the same port as before if it listened before."""
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self._runner, self.port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        """Be down."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    def of(self, event: str) -> list[Received]:
        """What came of one event."""
        return [one for one in self.received if one.event == event]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        self.received.append(Received(request.path, CIMultiDict(request.headers), raw))
        return await self.behave(request)  # type: ignore[arg-type]  # behaviours need no more than BaseRequest
