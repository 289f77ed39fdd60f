"""Packs answers as the client accepts it: zstd or gzip (RFC 9110, section 12.5.3; RFC 8878; RFC 1952).

A middleware packs what handlers return whole; what is streamed is packed by its handler with a `Packer`. Small
answers are left alone: they would not become smaller by much.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final, Literal

import zstandard
from aiohttp import web
from aiohttp.typedefs import Handler

Encoding = Literal["zstd", "gzip"]

#: Less is sent as it is.
LEAST_BYTES: Final = 1_024
#: More is packed on a thread; less takes the event loop a millisecond.
INLINE_BYTES: Final = 64 * 1024
#: In the order of preference where the client has none.
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
    """Packs a stream piece by piece.

    Args:
        encoding: how.
    """

    def __init__(self, encoding: Encoding) -> None:
        # With a checksum: what arrives whole can be told from what does not.
        self._packer = (
            zlib.compressobj(_GZIP_LEVEL, wbits=31)
            if encoding == "gzip"
            else zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
        )

    async def pack(self, data: bytes) -> bytes:
        """What can be sent by now; maybe nothing yet."""
        if len(data) > INLINE_BYTES:
            return await asyncio.to_thread(self._packer.compress, data)
        return self._packer.compress(data)

    def finish(self) -> bytes:
        """The rest."""
        return self._packer.flush()


def accepted_encoding(header: str | None) -> Encoding | None:
    """How an answer may be packed, by the header `Accept-Encoding`; None if it is to be left as it is."""
    weights: dict[str, float] = {}
    for item in (header or "").lower().split(","):
        name, _, parameters = item.partition(";")
        name = name.strip().removeprefix("x-")
        weights.setdefault(name, _weight(parameters))
    # 'Any' is meant by few clients who say so: all of them can unpack gzip.
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
    """Tell caches that the answer depends on a header of the request."""
    present = response.headers.get("Vary", "")
    if name.lower() not in (part.strip().lower() for part in present.split(",")):
        response.headers["Vary"] = f"{present}, {name}" if present else name


@web.middleware
async def compression_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pack what is answered whole, if it is worth it and the client takes it."""
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
