"""Decodes the stream in which a Docker Engine sends both outputs of a container over one connection.

Pure: bytes in, `LogFrame`s out. Each frame on the wire consists of a header of eight bytes (stream, three zeros,
length as a big-endian 32-bit integer) and the given number of bytes of output; see 'Stream format' under
ContainerAttach in the Engine API's manual. Reads may split the stream anywhere, so the decoder accepts any pieces and
keeps what is incomplete.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from scheduler.domain.stream import Stream
from scheduler.engine.errors import StreamBrokenError
from scheduler.engine.types import LogFrame

HEADER_BYTES = 8
TIMESTAMP_LIMIT = 64
"""Maximum position of the space after a timestamp; the engine's own format takes 31 bytes."""

_HEADER = struct.Struct(">II")
_ERROR_HEADER = 3 << 24
# The header's first four bytes as a number. 0 is stdin, which the engine's own client shows as stdout.
_STREAMS = {0: Stream.STDOUT, 1 << 24: Stream.STDOUT, 2 << 24: Stream.STDERR}


class FrameDecoder:
    """Decodes the pieces of one multiplexed stream into frames, as far as they are complete.

    The bytes of a frame are passed on as they arrive, so a frame of any length takes no memory. Adjacent frames of
    the same stream that arrive in one piece are joined. With timestamps, every frame on the wire remains separate, or
    becomes several frames with the same time.
    """

    def __init__(self, *, timestamps: bool = False) -> None:
        self._feed = self._feed_timed if timestamps else self._feed_plain
        self._rest = b""  # an incomplete header (and timestamp)
        self._left = 0  # bytes of the current frame still to come
        self._stream = Stream.STDOUT
        self._at: datetime | None = None

    def feed(self, data: bytes) -> list[LogFrame]:
        """The complete or partial frames in these further bytes.

        Raises:
            StreamBrokenError: the bytes are not a frame, or the engine reports an error.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        return self._feed(data)

    def finish(self) -> None:
        """Check the end of the stream.

        Raises:
            StreamBrokenError: the stream ended in the middle of a frame.
        """
        if self._left or self._rest:
            missing = f"{self._left} bytes of output" if self._left else "the rest of a header"
            raise StreamBrokenError(
                f"the engine's stream ended in the middle of a frame: {missing} are missing"
            )

    def _feed_plain(self, data: bytes) -> list[LogFrame]:
        frames: list[LogFrame] = []
        parts: list[memoryview] = []
        view = memoryview(data)
        stream = self._stream
        unpack = _HEADER.unpack_from
        end = len(data)
        position = min(self._left, end)
        if position:
            parts.append(view[:position])
            self._left -= position
        while end - position >= HEADER_BYTES:
            header, size = unpack(data, position)
            next_stream = _STREAMS.get(header)
            if next_stream is None:
                raise _not_a_frame(data, position)
            position += HEADER_BYTES
            if not size:
                continue
            if next_stream is not stream:
                if parts:
                    frames.append(LogFrame(stream, b"".join(parts)))
                    parts = []
                stream = next_stream
            stop = position + size
            if stop > end:
                self._left = stop - end
                stop = end
            if stop > position:
                parts.append(view[position:stop])
            position = stop
        if parts:
            frames.append(LogFrame(stream, b"".join(parts)))
        self._stream = stream
        self._rest = data[position:]
        return frames

    def _feed_timed(self, data: bytes) -> list[LogFrame]:
        frames: list[LogFrame] = []
        end = len(data)
        position = min(self._left, end)
        if position:
            frames.append(LogFrame(self._stream, data[:position], self._at))
            self._left -= position
        while end - position >= HEADER_BYTES:
            header, size = _HEADER.unpack_from(data, position)
            stream = _STREAMS.get(header)
            if stream is None:
                raise _not_a_frame(data, position)
            begin = position + HEADER_BYTES
            stop = begin + size
            window = min(size, TIMESTAMP_LIMIT)
            space = data.find(b" ", begin, begin + window)
            if space < 0:
                if end - begin < window:
                    break
                raise StreamBrokenError(
                    f"a frame of the engine's log has no timestamp: {data[begin : begin + window]!r}"
                )
            self._stream = stream
            self._at = parse_time(data[begin:space].decode("ascii", "replace"))
            if stop > end:
                self._left = stop - end
                stop = end
            if stop > space + 1:
                frames.append(LogFrame(stream, data[space + 1 : stop], self._at))
            position = stop
        self._rest = data[position:]
        return frames


def parse_time(text: str) -> datetime:
    """An engine's time (``2026-01-31T09:54:00.123456789Z``) as aware UTC; truncated to microseconds.

    Raises:
        StreamBrokenError: the text is not a time.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise StreamBrokenError(f"the engine sent {text[:TIMESTAMP_LIMIT]!r} instead of a time") from None


def _not_a_frame(data: bytes, position: int) -> StreamBrokenError:
    header, size = _HEADER.unpack_from(data, position)
    if header == _ERROR_HEADER:
        begin = position + HEADER_BYTES
        words = data[begin : begin + min(size, 500)].decode("utf-8", "replace")
        return StreamBrokenError(f"the engine reports an error in its stream: {words}")
    return StreamBrokenError(
        f"the engine sent {data[position : position + HEADER_BYTES].hex(' ')} instead of a frame"
    )
