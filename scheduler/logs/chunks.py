"""The chunk: the format of a piece of log in the database.

Pure. A chunk contains frames in order of arrival, stored in columns (stream, time, length, then all bytes together)
and compressed with zstd, whose checksum protects the whole. Frames are stored raw and split into lines when they are
read. Captures encode, readers decode; neither creates an object per line here.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import zstandard

#: Bit of a frame's kind: the open line of its stream ends with this frame, although without a newline.
LINE_ENDS: Final = 0x80
#: The other bits are the stream.
STREAM_BITS: Final = 0x0F

#: The usual compression level: a tenth smaller than the quick level, at a quarter of its speed.
LEVEL: Final = 6
#: The level while more output arrives than can be compressed at the usual one.
QUICK_LEVEL: Final = 3
#: Maximum size of an uncompressed chunk: a damaged header must not make a read take all memory.
MOST_RAW_BYTES: Final = 16 * 1024 * 1024

_MAGIC: Final = b"TBC1"
# Magic number, number of frames, arrival of the first.
_HEADER: Final = struct.Struct("<4sIq")


class DamagedChunkError(Exception):
    """A chunk does not contain what was written."""


class Frame(NamedTuple):
    """Some bytes of one stream that arrived together.

    Attributes:
        kind: the stream's number, with or without `LINE_ENDS`.
        at: arrival in microseconds since 1970.
        data: the bytes; only empty if `LINE_ENDS` is set.
    """

    kind: int
    at: int
    data: bytes


class _Tools(threading.local):
    # One pair per thread: zstandard's objects are not thread-safe, and expensive to create.
    def __init__(self) -> None:
        self.compressors = {
            level: zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
            for level in (LEVEL, QUICK_LEVEL)
        }
        self.decompressor = zstandard.ZstdDecompressor()


_tools = _Tools()


def encode(
    kinds: bytes, times: Sequence[int], lengths: Sequence[int], pieces: Iterable[bytes], *, level: int = LEVEL
) -> bytes:
    """Pack frames into a chunk.

    Args:
        kinds: one byte per frame, as in `Frame.kind`.
        times: one per frame, as in `Frame.at`, never decreasing.
        lengths: the number of bytes of each frame.
        pieces: all bytes of all frames in order, split anywhere.
        level: `LEVEL` or `QUICK_LEVEL`.
    """
    count = len(kinds)
    first = times[0] if count else 0
    # Differences are small numbers, unlike times; compression almost eliminates them.
    steps = [later - earlier for earlier, later in zip([first, *times], times, strict=False)]
    raw = b"".join(
        (
            _HEADER.pack(_MAGIC, count, first),
            kinds,
            struct.pack(f"<{count}Q", *steps),
            struct.pack(f"<{count}I", *lengths),
            *pieces,
        )
    )
    return _tools.compressors[level].compress(raw)


def decode(chunk: bytes) -> list[Frame]:
    """Unpack a chunk into its frames.

    Raises:
        DamagedChunkError: it was not created by `encode`; the message says what is wrong.
    """
    raw = _unpack(chunk)
    if len(raw) < _HEADER.size:
        raise DamagedChunkError(f"it has {len(raw)} bytes, fewer than its header")
    magic, count, first = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        raise DamagedChunkError(f"it begins with {magic!r} instead of {_MAGIC!r}")
    body = _HEADER.size + count * 13
    if len(raw) < body:
        raise DamagedChunkError(f"it has {len(raw)} bytes, too few for {count} frames")
    kinds = raw[_HEADER.size : _HEADER.size + count]
    steps = struct.unpack_from(f"<{count}Q", raw, _HEADER.size + count)
    lengths = struct.unpack_from(f"<{count}I", raw, _HEADER.size + count * 9)
    ends = list(accumulate(lengths, initial=body))
    if ends[-1] != len(raw):
        raise DamagedChunkError(f"it has {len(raw)} bytes, but its frames need {ends[-1]}")
    times = list(accumulate(steps, initial=first))
    data = map(raw.__getitem__, map(slice, ends, ends[1:]))
    return list(map(Frame, kinds, times[1:], data))


def _unpack(chunk: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(chunk)
        if not 0 <= size <= MOST_RAW_BYTES:
            raise DamagedChunkError(f"its header states {size} bytes")
        return _tools.decompressor.decompress(chunk)
    except zstandard.ZstdError as error:
        raise DamagedChunkError(f"it cannot be decompressed: {error}") from error
