"""A line of a log as JSON: its shape, and a fast encoder for millions of lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import Final, Literal, Self

from pydantic import Field

from api.schemas.common import Output, format_moment
from scheduler.domain.stream import Stream
from scheduler.logs.lines import Line, shown
from scheduler.logs.merging import RunLine

#: Longer lines are encoded in pieces of this size, because each piece blocks all other threads.
_PIECE_BYTES: Final = 256 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LineOut(Output):
    """One line of a log."""

    message: str = Field(
        description=r"The line without the `\n` or `\r\n` at its end. Of a line that was overwritten "
        r"after a lone `\r`, such as a "
        r"progress bar, only the last version is included. Bytes that are not UTF-8 are replaced."
    )
    time: int = Field(description="When the line arrived, in whole Unix seconds, rounded down.")
    stream: Literal["stdout", "stderr", "system"] = Field(
        description="The stream. `system` lines are written by Timeball."
    )
    timestamp: str = Field(description="When the line arrived, in RFC 3339 with microseconds.")
    job: int | None = Field(None, description="The job's id, when reading a namespace.")
    exec: str | None = Field(None, description="The run's id, when reading several runs.")

    @classmethod
    def of_line(cls, line: Line) -> Self:
        """The shape of a line."""
        return cls.model_validate(json.loads(json_lines([line])[0]))


def _quoted(data: bytes) -> str:
    if len(data) <= _PIECE_BYTES:
        return encode_basestring(data.decode("utf-8", "replace"))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = (
        encode_basestring(
            decoder.decode(data[begin : begin + _PIECE_BYTES], begin + _PIECE_BYTES >= len(data))
        )
        for begin in range(0, len(data), _PIECE_BYTES)
    )
    return f'"{"".join(piece[1:-1] for piece in pieces)}"'


def json_lines(lines: Sequence[Line] | Sequence[RunLine] | Sequence[Line | RunLine]) -> list[str]:
    """The lines as JSON objects in the shape of `LineOut`; fast enough for millions of them."""
    known: tuple[object, ...] = ()
    rest = ""
    texts: list[str] = []
    for line in lines:
        at, stream, data = line[:3]
        run = line[4:]
        # Lines that arrived together share the same objects, so the part after the message is encoded once.
        if not known or known[0] is not at or known[1] is not stream or known[2] != run:
            known = at, stream, run
            rest = f"{_rest(at, stream)}{_run(line)}}}"
        texts.append(f'{{"message":{_quoted(shown(data))}{rest}')
    return texts


def _rest(at: datetime, stream: Stream) -> str:
    seconds = (at - _EPOCH) // timedelta(seconds=1)
    return f',"time":{seconds},"stream":"{stream.label}","timestamp":"{format_moment(at)}"'


def _run(line: Line | RunLine) -> str:
    if isinstance(line, Line):
        return ""
    job = "" if line.job_id is None else f',"job":{line.job_id}'
    return f'{job},"exec":"{line.exec_id}"'
