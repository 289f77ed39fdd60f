"""The position of a log: what a capture needs to continue after a restart.

Pure data. `scheduler.logs.loading` reads it from the database, a capture keeps it up to date, and
`scheduler.logs.resume` compares it with the engine's copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from scheduler.domain.stream import Stream

#: The streams of the container; Timeball's own lines need no cursor.
OUTPUTS: Final = (Stream.STDOUT, Stream.STDERR)
#: Number of bytes at each stream's beginning and end that are compared when a log is resumed.
SAMPLE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class StreamCursor:
    """The position of one stream.

    Attributes:
        end: number of its bytes.
        head: its first bytes, at most `SAMPLE_BYTES`; empty if they are not known any more.
        tail: its last bytes, at most `SAMPLE_BYTES`; empty if they cannot be read.
        last_at: arrival of the last bytes, microseconds since 1970; None if there are none.
        open_from: the `seq` of the chunk in which its open line began; None if no line is open.
        open_bytes: number of bytes of the open line so far.
    """

    end: int = 0
    head: bytes = b""
    tail: bytes = b""
    last_at: int | None = None
    open_from: int | None = None
    open_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The position of a whole log.

    Attributes:
        seq: the number of the next chunk.
        last_at: arrival of the last frame, microseconds since 1970; nothing later has an earlier time.
        streams: one for each of `OUTPUTS`.
    """

    seq: int = 0
    last_at: int = 0
    streams: Mapping[Stream, StreamCursor] = field(
        default_factory=lambda: {stream: StreamCursor() for stream in OUTPUTS}
    )

    def beyond(self, sizes: Mapping[int, int]) -> LogCursor:
        """The cursor moved forward by some bytes of each stream, of which only the number is known."""
        further = {
            stream: replace(cursor, end=cursor.end + size, tail=b"")
            if (size := sizes.get(stream, 0))
            else cursor
            for stream, cursor in self.streams.items()
        }
        return replace(self, streams=further)
