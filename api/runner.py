"""The server under the application: what it refuses itself, before any handler, is a problem as well.

aiohttp answers a request that is not HTTP, a URL with characters that must be escaped or a body that cannot be
unpacked by itself, in plain text, and offers no hook for it; hence the three small subclasses.
"""

from __future__ import annotations

from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.web_request import BaseRequest

from api.problems import problem

log = structlog.get_logger()

#: Of what could not be read, so much is shown.
LONGEST_SHOWN = 300


class _Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what did not get as far as a handler; the connection closes after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("An answer is on its way already; another cannot be sent")
        found = HTTPStatus(status)
        if found >= HTTPStatus.INTERNAL_SERVER_ERROR:  # 3.11 has no is_server_error
            log.error("api.unforeseen", exc_info=exc)
            response = problem(found, "Timeball made a mistake; its log says which.")
        else:
            log.debug("api.unreadable_request", peer=request.remote, error=message)
            response = problem(found, _detail(exc, message or found.description))
        response.force_close()
        return response


def _detail(error: BaseException | None, message: str) -> str:
    if isinstance(error, ContentEncodingError):
        return (
            "The body cannot be unpacked; send it plain, or as gzip or deflate as its Content-Encoding says"
        )
    shown = " ".join(message.split())[:LONGEST_SHOWN]
    if "url" in shown.lower():
        return f"The URL cannot be read: {shown}. Escape what is not ASCII: %E4%BD%A0 for 你, %20 for a space"
    return f"The request cannot be read: {shown}. Send it as HTTP/1.1 asks"


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,  # noqa: SLF001 - what is handed on is what aiohttp itself would use
            **made._kwargs,  # noqa: SLF001
        )
