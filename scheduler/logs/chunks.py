"""The chunk: what a piece of log looks like in the database.

Pure. A chunk is a run of frames in arrival order, laid out as columns (which stream, when, how long, then all
bytes together) and compressed with zstd, whose checksum guards the whole. Frames are kept raw; lines are
split when read. Captures encode, readers decode; neither makes an object per line here.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import zstandard

#: Bit of a frame's kind: its stream's open line ends with this frame although no newline does.
LINE_ENDS: Final = 0x80
#: The other bits are the stream.
STREAM_BITS: Final = 0x0F

#: How hard chunks are compressed: a tenth smaller than with the quick level, at a quarter of its speed.
LEVEL: Final = 6
#: While more arrives than can be compressed so hard.
QUICK_LEVEL: Final = 3
#: No chunk is larger than this once unpacked: a damaged header must not make a read take all memory.
MOST_RAW_BYTES: Final = 16 * 1024 * 1024

_MAGIC: Final = b"TBC1"
# Magic, how many frames, when the first arrived.
_HEADER: Final = struct.Struct("<4sIq")


class DamagedChunkError(Exception):
    """A chunk does not hold what was written into it."""


class Frame(NamedTuple):
    """Some bytes of one stream that arrived together.

    Attributes:
        kind: the stream's number, with `LINE_ENDS` or without.
        at: arrival in microseconds since 1970.
        data: the bytes; empty only where `LINE_ENDS` is set.
    """

    kind: int
    at: int
    data: bytes


class _Tools(threading.local):
    # One pair a thread: zstandard's objects must not be used by two threads at once, and are dear to make.
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
        kinds: one byte a frame, as `Frame.kind`.
        times: one a frame, as `Frame.at`, never going back.
        lengths: the bytes of each frame.
        pieces: all bytes of all frames in order, cut anywhere.
        level: `LEVEL` or `QUICK_LEVEL`.
    """
    count = len(kinds)
    first = times[0] if count else 0
    # Differences are small numbers where moments are large ones; they nearly vanish in the compression.
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
        DamagedChunkError: it is not what `encode` made; the message says in what way.
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
        raise DamagedChunkError(f"it has {len(raw)} bytes where its frames take {ends[-1]}")
    times = list(accumulate(steps, initial=first))
    data = map(raw.__getitem__, map(slice, ends, ends[1:]))
    return list(map(Frame, kinds, times[1:], data))


def _unpack(chunk: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(chunk)
        if not 0 <= size <= MOST_RAW_BYTES:
            raise DamagedChunkError(f"it claims to hold {size} bytes")
        return _tools.decompressor.decompress(chunk)
    except zstandard.ZstdError as error:
        raise DamagedChunkError(f"it cannot be decompressed: {error}") from error
