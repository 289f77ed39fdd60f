"""`/v1/jobs/{job_id}/execs/{exec_id}/logs`: what a run printed.

Without `limit` the answer is streamed: a few chunks' worth of lines are in memory, however long the log.
With `limit` it is a page, collected first so that its headers can say how to go on:

- ``X-Next-Cursor``: the cursor of the page's last line (or the one that was asked with, if there is none), to
  ask for what comes after it, also when that is yet to be printed;
- ``Link: <…>; rel="next"``: the next page's address, if there is more already.

A page ends early when it grows beyond `PAGE_BYTES`; `Link` says then that there is more.

Text is each line with its own ending and nothing else, so that one stream, oldest first, is byte for byte what
was printed. Only where a line without a newline (the unfinished end of a stream, or a cut in an over-long line)
is followed by one of another stream, or by an older one, a newline is put between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import Final

import structlog
from aiohttp import web

from api.keys import CALLER, SERVICE
from api.paging import query_of
from api.routes.paths import EXEC
from api.schemas.logs import LOG_PARAMETERS, LogParameters, json_lines, parse_log_parameters
from scheduler.errors import TimeballError
from scheduler.logs.lines import Line

#: A page is not collected beyond this.
PAGE_BYTES: Final = 16 * 1024 * 1024
#: More than this is encoded on a thread; less takes the event loop a fraction of a millisecond.
INLINE_BYTES: Final = 64 * 1024
#: What a line takes besides its own bytes, about: its time and stream in JSON, or the work that it makes.
LINE_COST: Final = 100
#: Text is made bytes in pieces of so many characters, as each holds up all other threads.
_PIECE_CHARACTERS: Final = 256 * 1024

_log = structlog.get_logger(__name__)
_CONTENT_TYPES: Final = {
    "json": "application/json; charset=utf-8",
    "ndjson": "application/x-ndjson; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}
#: What goes before the first line, between two lines, after the last; a line of text has its own ending.
_FRAMES: Final = {"json": (b"[", b",\n", b"]\n"), "ndjson": (b"", b"\n", b"\n"), "text": (b"", b"", b"")}


async def get_exec_logs(request: web.Request) -> web.StreamResponse:
    """`GET …/logs?start_time=&end_time=&stream=&limit=&order=&cursor=&format=`: 200 with the lines."""
    parameters = parse_log_parameters(query_of(request, LOG_PARAMETERS))
    query = parameters.query()
    if query.limit is not None:
        # One more than asked for tells whether there is a next page.
        query = replace(query, limit=query.limit + 1)
    batches = request.app[SERVICE].logs.read(
        request[CALLER], request.match_info["job_id"], request.match_info["exec_id"], query
    )
    if parameters.limit is not None:
        return await _page(request, parameters, parameters.limit, batches)
    return await _stream(request, parameters, batches)


async def _page(
    request: web.Request, parameters: LogParameters, limit: int, batches: AsyncIterator[list[Line]]
) -> web.Response:
    lines: list[Line] = []
    size = 0
    has_more = False
    async for batch in batches:
        for line in batch:
            if len(lines) == limit or size > PAGE_BYTES:
                has_more = True
                break
            lines.append(line)
            size += len(line.data)
        if has_more:
            break
        await asyncio.sleep(0)
    headers = {"Content-Type": _CONTENT_TYPES[parameters.format]}
    cursor = lines[-1].cursor if lines else parameters.cursor
    if cursor is not None:
        headers["X-Next-Cursor"] = cursor
    if has_more and cursor is not None:
        headers["Link"] = f'<{request.url.update_query(cursor=cursor)}>; rel="next"'
    before, _, after = _FRAMES[parameters.format]
    if not lines and parameters.format != "json":
        after = b""
    body = b"".join((before, await _encode(lines, parameters, None), after))
    return web.Response(body=body, headers=headers)


async def _stream(
    request: web.Request, parameters: LogParameters, batches: AsyncIterator[list[Line]]
) -> web.StreamResponse:
    # What is wrong shows with the first batch, while the answer can still be a problem.
    batch = await anext(batches, None)
    response = web.StreamResponse(headers={"Content-Type": _CONTENT_TYPES[parameters.format]})
    await response.prepare(request)
    if request.method == "HEAD":  # aiohttp would send what is written, and the client take it for an answer
        await response.write_eof()
        return response
    before, between, after = _FRAMES[parameters.format]
    lead = before
    last: Line | None = None
    try:
        while batch is not None:
            if batch:
                await response.write(lead + await _encode(batch, parameters, last))
                lead, last = between, batch[-1]
            # Neither a write with room in the socket nor a batch that is at hand lets others have their turn.
            await asyncio.sleep(0)
            batch = await anext(batches, None)
        if last is not None or before:
            await response.write((before if last is None else b"") + after)
        await response.write_eof()
    except ConnectionError:
        _log.debug("log_reader_left", path=request.path)
    except TimeballError as error:
        # The status is sent already. A connection cut before the last chunk is how HTTP/1.1 says that the
        # answer is not whole (RFC 9112, section 8).
        _log.warning("log_answer_cut", path=request.path, error=str(error))
        if request.transport is not None:
            request.transport.abort()
    return response


async def _encode(lines: Sequence[Line], parameters: LogParameters, last: Line | None) -> bytes:
    """The lines of a batch, without what goes before and after it; `last` is the line before them, if any."""
    size = LINE_COST * len(lines)
    if size > INLINE_BYTES or size + sum(len(line.data) for line in lines) > INLINE_BYTES:
        return await asyncio.to_thread(_encoded, lines, parameters, last)
    return _encoded(lines, parameters, last)


def _encoded(lines: Sequence[Line], parameters: LogParameters, last: Line | None) -> bytes:
    if parameters.format == "text":
        return b"".join(_pieces(lines, last, newest_first=parameters.order == "desc"))
    text = _FRAMES[parameters.format][1].decode().join(json_lines(lines))
    return b"".join(
        text[begin : begin + _PIECE_CHARACTERS].encode() for begin in range(0, len(text), _PIECE_CHARACTERS)
    )


def _pieces(lines: Sequence[Line], last: Line | None, *, newest_first: bool) -> Iterator[bytes]:
    # The stream of the line before, as long as that has no newline.
    unfinished = None if last is None or last.data.endswith(b"\n") else last.stream
    for _, stream, data, _ in lines:
        if unfinished is not None and (newest_first or stream is not unfinished):
            yield b"\n"
        unfinished = None if data.endswith(b"\n") else stream
        yield data


ROUTES: Final = (web.get(EXEC + "/logs", get_exec_logs),)
