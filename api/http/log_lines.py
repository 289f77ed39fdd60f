"""Lines of logs as bytes on the wire, in each format, for one run or several.

Text is each line with its own ending and nothing else, so that one stream, the oldest line first, is byte for byte
what was printed. A newline is added only where a line without one (the unfinished end of a stream, or a cut in an
over-long line) is followed by a line of another stream or by an older line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from api.schemas.lines import json_lines
from scheduler.logs.lines import Line
from scheduler.logs.merging import RunLine

Format = Literal["json", "ndjson", "text"]
AnyLine = Line | RunLine

#: More than this is encoded on a thread; less takes the event loop a fraction of a millisecond.
INLINE_BYTES: Final = 64 * 1024
#: Approximate cost of a line in addition to its bytes: its time and stream in JSON, or the work of encoding it.
LINE_COST: Final = 100
#: Text is encoded in pieces of this many characters, because each blocks all other threads.
_PIECE_CHARACTERS: Final = 256 * 1024

CONTENT_TYPES: Final = {
    "json": "application/json; charset=utf-8",
    "ndjson": "application/x-ndjson; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}
#: The bytes before the first line, between two lines and after the last. Lines of text have their own endings.
FRAMES: Final = {"json": (b"[", b",\n", b"]\n"), "ndjson": (b"", b"\n", b"\n"), "text": (b"", b"", b"")}


def is_large(lines: Sequence[AnyLine]) -> bool:
    """Whether encoding these lines should be done on a thread."""
    size = LINE_COST * len(lines)
    return size > INLINE_BYTES or size + sum(len(line.data) for line in lines) > INLINE_BYTES


async def encode(
    lines: Sequence[AnyLine], form: Format, *, newest_first: bool, last: AnyLine | None
) -> bytes:
    """The lines of a batch, without the bytes before and after it; `last` is the line before them, if any."""
    if is_large(lines):
        return await asyncio.to_thread(encoded, lines, form, newest_first, last)
    return encoded(lines, form, newest_first, last)


def encoded(lines: Sequence[AnyLine], form: Format, newest_first: bool, last: AnyLine | None) -> bytes:
    """Like `encode`, on the current thread."""
    if form == "text":
        return b"".join(_pieces(lines, last, newest_first=newest_first))
    text = FRAMES[form][1].decode().join(json_lines(lines))
    return b"".join(
        text[begin : begin + _PIECE_CHARACTERS].encode() for begin in range(0, len(text), _PIECE_CHARACTERS)
    )


def _source(line: AnyLine) -> object:
    return line.stream if isinstance(line, Line) else (line.exec_id, line.stream)


def _pieces(lines: Sequence[AnyLine], last: AnyLine | None, *, newest_first: bool) -> Iterator[bytes]:
    # The line before, if it has no newline.
    unfinished = None if last is None or last.data.endswith(b"\n") else last
    for line in lines:
        if unfinished is not None and (newest_first or _source(line) != _source(unfinished)):
            yield b"\n"
        unfinished = None if line.data.endswith(b"\n") else line
        yield line.data
