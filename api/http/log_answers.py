"""Logs as answers: a page, a stream, a file.

Without `limit`, the answer is streamed: only a few chunks of lines are in memory, however long the log is. With
`limit` or `tail`, it is a page, which is collected first so that its headers can say how to continue:

- ``X-Next-Cursor``: the cursor after this page, even if there is no further output yet;
- ``Link: <…>; rel="next"``: the URL of the next page, if there are more lines, or if there may be: a page with a
  filter that matches little ends after searching a certain amount. A `tail` that ended like this has ``rel="prev"``.

A page ends early when it grows beyond `PAGE_BYTES`; `Link` then has the URL of the rest.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

import structlog
from aiohttp import web

from api.http.compression import Packer, accepted_encoding, add_vary
from api.http.log_lines import CONTENT_TYPES, FRAMES, AnyLine, encode
from api.schemas.logs import LogParameters
from scheduler.domain.errors import TimeballError

#: The maximum size of a page.
PAGE_BYTES: Final = 16 * 1024 * 1024
#: Answers up to this size are sent at once, with their length.
WHOLE_BYTES: Final = 32 * 1024
#: The maximum length of the name of a file, in characters.
LONGEST_NAME: Final = 100

_log = structlog.get_logger(__name__)
_ENDINGS: Final = {"json": "json", "ndjson": "ndjson", "text": "log"}
_PACKED: Final = {"gzip": (".gz", "application/gzip"), "zstd": (".zst", "application/zstd")}
_UNSAFE: Final = re.compile(
    r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+'
)


class Readable(Protocol):
    """A read of a log: `Reading` or `Merging`."""

    is_complete: bool

    @property
    def frontier(self) -> str | None:
        """The cursor of the position up to which everything has been read."""
        ...

    def cursor_of(self, line: Any) -> str:
        """The cursor of a line."""
        ...

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        """The batches of lines."""
        ...


@dataclass(frozen=True, slots=True)
class File:
    """An answer that is saved as a file.

    Attributes:
        name: without ending; any characters.
        compression: of its content.
    """

    name: str
    compression: Literal["none", "gzip", "zstd"]


async def page(
    request: web.Request, parameters: LogParameters, limit: int, reading: Readable
) -> web.Response:
    """At most `limit` lines, and how to continue."""
    lines, has_more = await _collect(reading, limit)
    is_tail = parameters.tail is not None
    headers = {"Content-Type": CONTENT_TYPES[parameters.format]}
    cursor = reading.cursor_of(lines[-1]) if lines else parameters.cursor
    older: str | None = None
    if not has_more and not is_tail and (not reading.is_complete or parameters.filter().selects):
        # What has been read need not be read again.
        cursor = reading.frontier or cursor
    if is_tail and not reading.is_complete and len(lines) < limit:
        older = reading.frontier
    if cursor is not None:
        headers["X-Next-Cursor"] = cursor
    if cursor is not None and not is_tail and (has_more or not reading.is_complete):
        headers["Link"] = f'<{request.url.update_query(cursor=cursor)}>; rel="next"'
    if older is not None:
        url = request.url.without_query_params("tail").update_query(
            cursor=older, order="desc", limit=str(limit - len(lines))
        )
        headers["Link"] = f'<{url}>; rel="prev"'
    before, _, after = FRAMES[parameters.format]
    if not lines and parameters.format != "json":
        after = b""
    newest_first = parameters.order == "desc"
    body = b"".join(
        (before, await encode(lines, parameters.format, newest_first=newest_first, last=None), after)
    )
    return web.Response(body=body, headers=headers)


async def _collect(reading: Readable, limit: int) -> tuple[list[AnyLine], bool]:
    lines: list[AnyLine] = []
    size = 0
    async for batch in reading:
        for line in batch:
            if len(lines) == limit or size > PAGE_BYTES:
                return lines, True
            lines.append(line)
            size += len(line.data)
        await asyncio.sleep(0)
    return lines, False


async def stream(
    request: web.Request, parameters: LogParameters, reading: Readable, file: File | None = None
) -> web.StreamResponse:
    """All lines, in constant memory.

    In HTTP/1.1, an answer is incomplete if the connection is closed before the last chunk (RFC 9112, section 8).
    That is how an answer that cannot be completed ends.
    """
    lines = _Encoded(parameters, reading)
    # Errors show with the first batch, while the answer can still be problem details.
    first = await lines.next_bytes(WHOLE_BYTES)
    headers = {"Content-Type": CONTENT_TYPES[parameters.format]}
    if lines.has_ended and (file is None or file.compression == "none"):
        response: web.StreamResponse = web.Response(body=first, headers=headers)
        _name(response, parameters, file)
        return response
    response = web.StreamResponse(headers=headers)
    _name(response, parameters, file)
    packer = _packer(request, response, file)
    await response.prepare(request)
    if (
        request.method == "HEAD"
    ):  # aiohttp would send what is written, and the client would read it as an answer
        await response.write_eof()
        return response
    try:
        await _write(response, packer, first)
        while not lines.has_ended:
            await _write(response, packer, await lines.next_bytes(1))
        await response.write_eof(b"" if packer is None else packer.finish())
    except ConnectionError:
        _log.debug("log_reader_left", path=request.path)
    except TimeballError as error:
        _log.warning("log_answer_cut", path=request.path, error=str(error))
        if request.transport is not None:
            request.transport.abort()
    return response


class _Encoded:
    """The lines of a read as bytes, with the bytes around them.

    Attributes:
        has_ended: whether there are no more.
    """

    def __init__(self, parameters: LogParameters, reading: Readable) -> None:
        self.has_ended = False
        self._form = parameters.format
        self._newest_first = parameters.order == "desc"
        self._batches = aiter(reading)
        self._last: AnyLine | None = None

    async def next_bytes(self, least: int) -> bytes:
        """The next bytes, at least this many unless the read has ended."""
        before, between, after = FRAMES[self._form]
        pieces: list[bytes] = []
        size = 0
        while size < least:
            batch: list[AnyLine] | None = await anext(self._batches, None)
            if batch is None:
                self.has_ended = True
                if self._last is not None or before:
                    pieces += (before if self._last is None else b"", after)
                break
            if batch:
                lead = before if self._last is None else between
                data = await encode(batch, self._form, newest_first=self._newest_first, last=self._last)
                pieces += (lead, data)
                size += len(lead) + len(data)
                self._last = batch[-1]
            # A write that fits into the buffer does not let other tasks run, and neither does a batch in memory.
            await asyncio.sleep(0)
        return b"".join(pieces)


def _name(response: web.StreamResponse, parameters: LogParameters, file: File | None) -> None:
    """Set the name of the answer if it is a file."""
    if file is not None:
        name = f"{file.name}.{_ENDINGS[parameters.format]}"
        if file.compression != "none":
            ending, response.headers["Content-Type"] = _PACKED[file.compression]
            name += ending
        response.headers["Content-Disposition"] = disposition(name)


def _packer(request: web.Request, response: web.StreamResponse, file: File | None) -> Packer | None:
    """How to compress a stream: the file itself, or its transfer."""
    if file is not None and file.compression != "none":
        return Packer(file.compression)
    add_vary(response, "Accept-Encoding")
    encoding = accepted_encoding(request.headers.get("Accept-Encoding"))
    if encoding is None:
        return None
    response.headers["Content-Encoding"] = encoding
    return Packer(encoding)


async def _write(response: web.StreamResponse, packer: Packer | None, data: bytes) -> None:
    if packer is not None:
        data = await packer.pack(data)
    if data:
        await response.write(data)


def disposition(name: str) -> str:
    """`Content-Disposition` for a file of that name (RFC 6266), in ASCII and, if that differs, in full."""
    stem, dot, ending = name.partition(".") if name.count(".") == 1 else name.rpartition(".")
    safe = f"{_UNSAFE.sub('_', stem).strip(' .')[:LONGEST_NAME] or 'log'}{dot}{ending}"
    plain = re.sub(r"[^A-Za-z0-9._ -]+", "_", safe)
    text = f'attachment; filename="{plain}"'
    return text if plain == safe else f"{text}; filename*=UTF-8''{quote(safe, safe='')}"
