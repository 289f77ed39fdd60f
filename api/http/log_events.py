"""Following a run, or the runs of a job or a namespace, over server-sent events (the HTML standard, section 9.2).

Each line is an event with its cursor as `id`, so that `Last-Event-ID` resumes after it. Comments keep the connection
alive while there is no output. `event: end` has the result of the run and follows its last line; `event: dropped` has
the reason why a follower is disconnected earlier, and where to resume. The daemon does not wait for slow clients:
their data is held back by their own connection, and after `STALL_SECONDS` they are disconnected.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog
from aiohttp import web

from api.http.compression import add_vary
from api.http.log_lines import is_large
from api.schemas.common import format_moment
from api.schemas.lines import json_lines
from scheduler.domain.errors import TimeballError
from scheduler.domain.execution import Exec
from scheduler.logs.followers import Follow
from scheduler.logs.following_many import FollowMany

#: Seconds without output after which a comment is sent.
HEARTBEAT_SECONDS: Final = 15.0
#: Seconds that a client may not read anything while data is available for it.
STALL_SECONDS: Final = 10.0
#: Seconds after which the connection of a dropped client is closed if it does not read.
LINGER_SECONDS: Final = 30.0
#: Events are sent together up to this size, so that each connection needs little memory.
PIECE_BYTES: Final = 16 * 1024
#: Milliseconds after which a client should reconnect.
RETRY_MS: Final = 1_000

STALLED: Final = f"the client has not read anything for {STALL_SECONDS:g} seconds"

_log = structlog.get_logger(__name__)

AnyFollow = Follow | FollowMany


class EventPiece(NamedTuple):
    """Some events, and the cursor of the last one."""

    data: bytes
    cursor: str


def is_wanted(request: web.Request, *, follow: bool | None) -> bool:
    """Whether a request asks for events, by `follow` or else by its `Accept` header."""
    if follow is not None:
        return follow
    weights: dict[str, float] = {}
    for item in ",".join(request.headers.getall("Accept", [])).lower().split(","):
        name, _, parameters = item.partition(";")
        try:
            weights[name.strip()] = float(parameters.partition("q=")[2] or 1)
        except ValueError:
            weights[name.strip()] = 0.0
    events = weights.pop("text/event-stream", 0.0)
    others = (weight for name, weight in weights.items() if not name.endswith("*"))
    return events > max(others, default=0.0)


async def send_events(request: web.Request, follow: AnyFollow) -> web.StreamResponse:
    """All lines as events, until the run ends, the client leaves or is too slow, or the daemon stops."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    add_vary(response, "Accept")
    response.force_close()

    async def encode(lines: list[Any]) -> list[EventPiece]:
        if is_large(lines):
            return await asyncio.to_thread(_pieces, follow, lines)
        return _pieces(follow, lines)

    # Errors of the request or the database show here, while the answer can still be problem details.
    first = None if request.method == "HEAD" else await _first(follow, encode)
    await response.prepare(request)
    if request.method == "HEAD":
        await response.write_eof()
        return response
    if request.transport is not None and isinstance(request.transport, asyncio.WriteTransport):
        request.transport.set_write_buffer_limits(high=PIECE_BYTES)
    sender = _Sender(request, response, follow)
    try:
        await sender.send(f"retry: {RETRY_MS}\n\n".encode())
        await sender.send_pieces(first or [])
        while follow.dropped is None:
            pieces = await follow.next(HEARTBEAT_SECONDS, encode)
            if pieces is None:
                await sender.send(b": still there\n\n")
            else:
                await sender.send_pieces(pieces)
    except StopAsyncIteration:
        pass
    except ConnectionError:
        _log.debug("follower_left", path=request.path)
        return response
    except TimeballError as error:
        follow.drop(str(error))
    await sender.end()
    return response


async def _first(follow: AnyFollow, encode: Any) -> list[EventPiece] | None:
    """The lines that are available immediately, if any; the end is found again by the next call."""
    with suppress(StopAsyncIteration):
        pieces: list[EventPiece] | None = await follow.next(0, encode)
        return pieces
    return None


def _pieces(follow: AnyFollow, lines: list[Any]) -> list[EventPiece]:
    pieces: list[EventPiece] = []
    events: list[str] = []
    size = 0
    cursor = ""
    for line, text in zip(lines, json_lines(lines), strict=True):
        cursor = follow.cursor_of(line)
        events.append(f"id: {cursor}\ndata: {text}\n\n")
        size += len(events[-1])
        if size >= PIECE_BYTES:
            pieces.append(EventPiece("".join(events).encode(), cursor))
            events, size = [], 0
    if events:
        pieces.append(EventPiece("".join(events).encode(), cursor))
    return pieces


class _Sender:
    """Writes to one client, within the time that it is allowed to take."""

    def __init__(self, request: web.Request, response: web.StreamResponse, follow: AnyFollow) -> None:
        self._request = request
        self._response = response
        self._follow = follow
        self._timeout: asyncio.Timeout | None = None
        self._last: str | None = None
        follow.on_dropped = self._interrupt

    def _interrupt(self) -> None:
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def send_pieces(self, pieces: list[EventPiece]) -> None:
        for data, cursor in pieces:
            if self._follow.dropped is not None or self._follow.is_stopping:
                return
            # It is handed over completely before waiting, so the event counts as sent.
            self._last = cursor
            await self.send(data)

    async def send(self, data: bytes) -> None:
        """Send data; a client that does not read it in time is dropped."""
        try:
            async with asyncio.timeout(STALL_SECONDS) as timeout:
                self._timeout = timeout
                try:
                    await self._response.write(data)
                finally:
                    self._timeout = None
        except TimeoutError:
            if not self._follow.is_stopping:
                self._follow.drop(STALLED)

    async def end(self) -> None:
        """Send the last event, without waiting for a client that does not read."""
        follow = self._follow
        if follow.outcome is not None:
            last = _event("end", _outcome(follow.outcome))
        elif follow.dropped is not None:
            _log.info("follower_dropped", path=self._request.path, reason=follow.dropped)
            last = _event("dropped", {"reason": follow.dropped, "resume_from": self._last})
        else:
            last = b": the daemon is stopping; reconnect with Last-Event-ID\n\n"
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(STALL_SECONDS if follow.outcome is not None else 0.05):
                await self._response.write(last)
                await self._response.write_eof()
        if (transport := self._request.transport) is not None:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def _outcome(run: Exec) -> dict[str, Any]:
    return {
        "status": run.status.value,
        "exit_code": run.exit_code,
        "fail_reason": None if run.fail_reason is None else run.fail_reason.value,
        "error": run.error,
        "ended_at": None if run.ended_at is None else format_moment(run.ended_at),
    }
