"""The server under the application: what it refuses itself, before any handler, is a problem as well.

aiohttp answers a request that is not HTTP, a URL with characters that must be escaped or a body that cannot be
unpacked by itself, in plain text, and offers no hook for it; hence the three small subclasses. They also bound how
many connections there are, and how long one may take to send a request's head or to take in an answer.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.web_request import BaseRequest

from api.http.problems import problem
from api.server.hardening import add_headers
from scheduler.access.throttle import Throttle, network_of
from scheduler.domain.errors import TooManyError

log = structlog.get_logger()

#: Of what could not be read, so much is shown.
LONGEST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What clients may take of the server.

    Attributes:
        total: connections in all.
        per_address: connections of one address, or of one IPv6 network; proxies are not counted.
        head_seconds: within which a request's head has to arrive.
        stalled_seconds: for which a client may take in nothing of an answer.
        proxies: tells whether an address is a trusted proxy's.
        told: slows down what is logged of them.
    """

    total: int = 1024
    per_address: int = 512
    head_seconds: float = 30.0
    stalled_seconds: float = 60.0
    proxies: Callable[[str], bool] = lambda _: False
    told: Throttle = field(default_factory=lambda: Throttle(5, 60.0), compare=False)

    def tell(self, **more: object) -> None:
        """Log that a connection was turned away; a flood of them is no flood of lines."""
        with suppress(TooManyError):
            self.told.check("")
            self.told.fail("")
            log.warning("api.connection_turned_away", **more)


class _Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ("_address", "_has_begun", "_head_timer", "_limits", "_open", "_stall_timer")

    def __init__(
        self, manager: web.Server, *, limits: ConnectionLimits, opened: Counter[str], **more: Any
    ) -> None:
        super().__init__(manager, **more)
        self._limits = limits
        self._open = opened
        self._address: str | None = None  # under which the connection is counted
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._has_begun = False  # whether anything was sent at all

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away where there are too many."""
        peer = transport.get_extra_info("peername")
        remote = peer[0] if isinstance(peer, tuple) else ""
        address = network_of(remote)
        super().connection_made(transport)
        self._address = address
        self._open[address] += 1
        total = self._open.total()
        if total > self._limits.total or (
            self._open[address] > self._limits.per_address and not self._limits.proxies(remote)
        ):
            self._limits.tell(peer=remote, open=total, of_address=self._open[address])
            assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP's, by construction
            transport.write(_TURNED_AWAY)
            self.force_close()
            return
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if self._address is not None:
            self._open[self._address] -= 1
            if self._open[self._address] <= 0:
                del self._open[self._address]
            self._address = None
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sent; a head that has begun has to end in time."""
        super().data_received(data)
        self._has_begun = True
        if self._messages or self._current_request is not None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._limits.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._current_request is None and not self._messages:
            log.debug("api.head_is_late", peer=self._address)
            if self._has_begun and (transport := self.transport) is not None:
                transport.write(_TOO_SLOW)
            self.force_close()

    def pause_writing(self) -> None:
        """The client takes in less than is sent; it may not stop altogether."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self._loop.call_later(self._limits.stalled_seconds, self._has_stalled)

    def resume_writing(self) -> None:
        """The client takes in again."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def _has_stalled(self) -> None:
        self._stall_timer = None
        log.debug("api.client_has_stalled", peer=self._address)
        if self.transport is not None:
            self.transport.abort()

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what did not get as far as a handler; the connection closes after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("An answer has already been sent")
        found = HTTPStatus(status)
        if found >= HTTPStatus.INTERNAL_SERVER_ERROR:  # 3.11 has no is_server_error
            log.error("api.unforeseen", exc_info=exc)
            response = problem(found, "An internal error occurred. The daemon's log has the details.")
        else:
            log.debug("api.unreadable_request", peer=request.remote, error=message)
            response = problem(found, _detail(exc, message or found.description))
        add_headers(response.headers, is_secure=self.ssl_context is not None)
        response.force_close()
        return response


def _detail(error: BaseException | None, message: str) -> str:
    if isinstance(error, ContentEncodingError):
        return (
            "The body cannot be decompressed. Send it uncompressed, or as gzip or deflate with that "
            "Content-Encoding."
        )
    shown = " ".join(message.split())[:LONGEST_SHOWN]
    if "url" in shown.lower():
        return (
            f"The URL cannot be read: {shown}. Encode characters that are not ASCII: %E4%BD%A0 for 你, "
            "%20 for a space."
        )
    return f"The request cannot be read: {shown}. Send a valid HTTP/1.1 request."


def _plain(status: HTTPStatus, detail: str) -> bytes:
    """A whole answer, for a connection on which nothing can be asked."""
    body = json.dumps(
        {
            "type": f"urn:timeball:problem:{status.phrase.lower().replace(' ', '-')}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
        }
    )
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 5\r\nConnection: close\r\n\r\n{body}"
    ).encode()


_TURNED_AWAY = _plain(
    HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open. Close some, or try again later."
)
_TOO_SLOW = _plain(
    HTTPStatus.REQUEST_TIMEOUT, "The header of the request did not arrive in time. Send it faster."
)


class _Server(web.Server):
    def __init__(self, *given: Any, limits: ConnectionLimits, **more: Any) -> None:
        super().__init__(*given, **more)
        self._limits = limits
        self._opened: Counter[str] = Counter()

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, limits=self._limits, opened=self._opened, loop=self._loop, **self._kwargs)


class ServerRunner(web.AppRunner):
    """Runs an application on such connections.

    Args:
        app: the application.
        limits: what clients may take of the server.
        more: as aiohttp has it.
    """

    __slots__ = ("_limits",)

    def __init__(self, app: web.Application, *, limits: ConnectionLimits | None = None, **more: Any) -> None:
        super().__init__(app, **more)
        self._limits = limits or ConnectionLimits()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            limits=self._limits,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,  # noqa: SLF001 - what is handed on is what aiohttp itself would use
            **made._kwargs,  # noqa: SLF001
        )
