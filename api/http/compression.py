"""Compresses answers if the client accepts it: zstd or gzip (RFC 9110, section 12.5.3; RFC 8878; RFC 1952).

A middleware compresses complete answers; handlers compress streams with a `Packer`. Small answers are not
compressed, because little would be saved.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final, Literal

import zstandard
from aiohttp import web
from aiohttp.typedefs import Handler

Encoding = Literal["zstd", "gzip"]

#: Smaller answers are not compressed.
LEAST_BYTES: Final = 1_024
#: Larger pieces are compressed on a thread; smaller ones take the event loop about a millisecond.
INLINE_BYTES: Final = 64 * 1024
#: In the order of preference if the client has none.
_KNOWN: Final[tuple[Encoding, ...]] = ("zstd", "gzip")
_PACKABLE: Final = frozenset(
    {
        "application/json",
        "application/problem+json",
        "application/x-ndjson",
        "text/css",
        "text/html",
        "text/javascript",
        "text/plain",
    }
)
_GZIP_LEVEL: Final = 5
_ZSTD_LEVEL: Final = 3


class Packer:
    """Compresses a stream piece by piece.

    Args:
        encoding: the format.
    """

    def __init__(self, encoding: Encoding) -> None:
        # The checksum shows the receiver whether the stream is complete.
        self._packer = (
            zlib.compressobj(_GZIP_LEVEL, wbits=31)
            if encoding == "gzip"
            else zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
        )

    async def pack(self, data: bytes) -> bytes:
        """The compressed bytes that are available so far, possibly none."""
        if len(data) > INLINE_BYTES:
            return await asyncio.to_thread(self._packer.compress, data)
        return self._packer.compress(data)

    def finish(self) -> bytes:
        """The remaining bytes."""
        return self._packer.flush()


def accepted_encoding(header: str | None) -> Encoding | None:
    """The encoding to use for the header `Accept-Encoding`; None for no compression."""
    weights: dict[str, float] = {}
    for item in (header or "").lower().split(","):
        name, _, parameters = item.partition(";")
        name = name.strip().removeprefix("x-")
        weights.setdefault(name, _weight(parameters))
    # Clients that send '*' can all decompress gzip.
    weights.setdefault("gzip", weights.get("*", 0.0))
    best = max(_KNOWN, key=lambda encoding: weights.get(encoding, 0.0))
    weight = weights.get(best, 0.0)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0


def add_vary(response: web.StreamResponse, name: str) -> None:
    """Declare to caches that the answer depends on a header of the request."""
    present = response.headers.get("Vary", "")
    if name.lower() not in (part.strip().lower() for part in present.split(",")):
        response.headers["Vary"] = f"{present}, {name}" if present else name


@web.middleware
async def compression_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress complete answers if it is worthwhile and the client accepts it."""
    response = await handler(request)
    if not isinstance(response, web.Response) or response.prepared or response.content_type not in _PACKABLE:
        return response
    add_vary(response, "Accept-Encoding")
    body = response.body
    if not isinstance(body, bytes) or len(body) < LEAST_BYTES or "Content-Encoding" in response.headers:
        return response
    encoding = accepted_encoding(request.headers.get("Accept-Encoding"))
    if encoding is not None:
        packer = Packer(encoding)
        response.body = await packer.pack(body) + packer.finish()
        response.headers["Content-Encoding"] = encoding
    return response
