"""How far a log has been taken down: what a capture needs to go on after a restart.

Pure data. `scheduler.logs.loading` reads it from the database, a capture keeps it up to date, and
`scheduler.logs.resume` compares it with what the engine has kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from scheduler.domain.stream import Stream

#: The streams that come from the container; Timeball's own lines need no cursor.
OUTPUTS: Final = (Stream.STDOUT, Stream.STDERR)
#: How many bytes of each stream's beginning and end are compared when a log is resumed.
SAMPLE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class StreamCursor:
    """How far one stream has been taken down.

    Attributes:
        end: how many bytes of it there are.
        head: its first bytes, at most `SAMPLE_BYTES`; empty when they are not known any more.
        tail: its last bytes, at most `SAMPLE_BYTES`; empty when they cannot be read.
        last_at: arrival of the last of them, microseconds since 1970; None when there is none.
        open_from: the `seq` of the chunk in which its open line began; None when no line is open.
        open_bytes: how many bytes that open line has so far.
    """

    end: int = 0
    head: bytes = b""
    tail: bytes = b""
    last_at: int | None = None
    open_from: int | None = None
    open_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LogCursor:
    """How far a whole log has been taken down.

    Attributes:
        seq: the number of the next chunk.
        last_at: arrival of the last frame, microseconds since 1970; nothing later is earlier than this.
        streams: one for each of `OUTPUTS`.
    """

    seq: int = 0
    last_at: int = 0
    streams: Mapping[Stream, StreamCursor] = field(
        default_factory=lambda: {stream: StreamCursor() for stream in OUTPUTS}
    )

    def beyond(self, sizes: Mapping[int, int]) -> LogCursor:
        """The cursor so many bytes of each stream further on, of which nothing is known but their number."""
        further = {
            stream: replace(one, end=one.end + size, tail=b"") if (size := sizes.get(stream, 0)) else one
            for stream, one in self.streams.items()
        }
        return replace(self, streams=further)
