"""The server below the application, whose own errors are problem details as well.

If a request is not HTTP, its URL contains unescaped characters or its body cannot be decompressed, aiohttp answers
itself, in plain text, and offers no hook for it. Hence the three small subclasses. They also limit the number of
connections, and the time that a client can take to send the head of a request or to read an answer.
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

#: Maximum length of the part of an invalid request that is shown.
LONGEST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits for connections of clients.

    Attributes:
        total: maximum number of connections.
        per_address: maximum number of connections from one address or one IPv6 network; proxies are not counted.
        head_seconds: seconds within which the head of a request must arrive.
        stalled_seconds: seconds after which a client that reads nothing of an answer is disconnected.
        proxies: returns whether an address is that of a trusted proxy.
        log_throttle: limits the number of log lines about rejected connections.
    """

    total: int = 1024
    per_address: int = 512
    head_seconds: float = 30.0
    stalled_seconds: float = 60.0
    proxies: Callable[[str], bool] = lambda _: False
    log_throttle: Throttle = field(default_factory=lambda: Throttle(5, 60.0), compare=False)

    def log_rejected(self, **more: object) -> None:
        """Log that a connection was rejected, without flooding the log."""
        with suppress(TooManyError):
            self.log_throttle.check("")
            self.log_throttle.fail("")
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
        self._address: str | None = None  # the address under which the connection is counted
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._has_begun = False  # whether the client has sent anything

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or reject it if there are too many."""
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
            self._limits.log_rejected(peer=remote, open=total, of_address=self._open[address])
            assert isinstance(transport, asyncio.Transport)  # noqa: S101 - always that of TCP
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
        """Process data from the client. A head that has begun must be complete in time."""
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
        """The client reads more slowly than data is sent. If it stops reading, it is disconnected."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self._loop.call_later(self._limits.stalled_seconds, self._has_stalled)

    def resume_writing(self) -> None:
        """The client reads again."""
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
        """The answer to a request that did not reach a handler. The connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("An answer has already been sent")
        http_status = HTTPStatus(status)
        if http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # 3.11 has no is_server_error
            log.error("api.unforeseen", exc_info=exc)
            response = problem(http_status, "An internal error occurred. The daemon's log has the details.")
        else:
            log.debug("api.unreadable_request", peer=request.remote, error=message)
            response = problem(http_status, _detail(exc, message or http_status.description))
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
    """A complete HTTP response, for connections without a request."""
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
    """Runs an application on connections with these limits.

    Args:
        app: the application.
        limits: the limits for connections.
        more: arguments for aiohttp.
    """

    __slots__ = ("_limits",)

    def __init__(self, app: web.Application, *, limits: ConnectionLimits | None = None, **more: Any) -> None:
        super().__init__(app, **more)
        self._limits = limits or ConnectionLimits()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            server.request_handler,
            limits=self._limits,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=server._loop,  # noqa: SLF001 - the same values that aiohttp would use
            **server._kwargs,  # noqa: SLF001
        )
