"""The log's shapes: the query parameters and a line.

Pure. Times are Unix seconds. A whole second covers all of it, so both ends of a range are inclusive the way
people mean it; a decimal is exact to the microsecond.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from api.schemas.common import Input, Output, format_moment, invalid_input, refuse
from scheduler.errors import InvalidInputError
from scheduler.logs.lines import Line, shown
from scheduler.logs.reader import LogQuery, parse_cursor
from scheduler.logs.stream import Stream

#: A longer line is made JSON in pieces of this size, as each holds up all other threads.
_PIECE_BYTES: Final = 256 * 1024
#: A page never has more lines than this; leave `limit` out for all of them, streamed.
LARGEST_LIMIT: Final = 10_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59
_SECONDS: Final = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)
_REMEDY: Final = "write Unix seconds, such as 1451350945 or 1451350945.123"
#: How many times too large a moment of our days is in other units.
_UNITS: Final = (("milliseconds", 3), ("microseconds", 6), ("nanoseconds", 9))
#: Moments of the last and the next decades, to tell a wrong unit by: 1990 to 2100.
_OUR_DAYS: Final = range(631_152_000, 4_102_444_800)


def _check_seconds(value: object) -> object:
    if value is None:
        return None
    text = str(value)
    match = _SECONDS.fullmatch(text)
    if match is None:
        if re.fullmatch(r"-[\d.]+", text, re.ASCII):
            raise refuse("is negative", _REMEDY)
        if re.match(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            raise refuse("is a date", _REMEDY)
        raise refuse("is not a number of seconds", _REMEDY)
    whole = match[1].lstrip("0") or "0"
    if len(whole) <= len(str(_LAST_SECOND)) and int(whole) <= _LAST_SECOND:
        return text
    raise _too_large(whole, match[2] or "")


def _too_large(whole: str, fraction: str) -> PydanticCustomError:
    for unit, digits in _UNITS:
        seconds = whole[:-digits]
        if len(seconds) <= 10 and int(seconds or 0) in _OUR_DAYS:
            rest = (whole[-digits:] + fraction).rstrip("0")
            meant = f"{seconds}.{rest}" if rest else seconds
            return refuse(f"looks like {unit}", f"divide by {10**digits}: {meant}")
    return refuse("lies beyond the year 9999", _REMEDY)


def _check_limit(value: object) -> object:
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) <= 12 and 1 <= int(text) <= LARGEST_LIMIT:
        return int(text)
    raise refuse(
        f"is not a whole number from 1 to {LARGEST_LIMIT}",
        f"use 1 to {LARGEST_LIMIT}, or leave it out for all lines",
    )


_STREAMS: Final = {stream.label: stream for stream in Stream}


def _check_streams(value: object) -> object:
    for name in str(value).split(","):
        if name.strip() not in _STREAMS:
            raise refuse(
                f"'{name.strip()}' is not a stream",
                "use stdout, stderr or system, several with commas between",
            )
    return value


def _check_cursor(value: object) -> object:
    try:
        parse_cursor(str(value))
    except InvalidInputError as error:
        raise refuse(error.errors[0].message, error.errors[0].remedy) from error
    return value


_Seconds = Annotated[str, BeforeValidator(_check_seconds)]


class LogParameters(Input):
    """The query parameters of a log; one that is empty counts as not given."""

    start_time: _Seconds | None = Field(
        None, description="Lines at or after this moment: Unix seconds, decimals allowed."
    )
    end_time: _Seconds | None = Field(
        None, description="Lines at or before this moment; a whole second covers all of that second."
    )
    stream: Annotated[str, BeforeValidator(_check_streams)] | None = Field(
        None, description="`stdout`, `stderr`, `system`, or several with commas between; all if not given."
    )
    limit: Annotated[int, BeforeValidator(_check_limit)] | None = Field(
        None, ge=1, le=LARGEST_LIMIT, description="At most so many lines; all if not given, streamed."
    )
    order: Literal["asc", "desc"] = Field("asc", description="`asc` is oldest first, `desc` newest first.")
    cursor: Annotated[str, BeforeValidator(_check_cursor)] | None = Field(
        None, description="Go on after the line to which an earlier answer gave this."
    )
    format: Literal["json", "ndjson", "text"] = Field(
        "json",
        description="A JSON array, one JSON object a line, or the bytes as they were printed; between lines of "
        "different streams, and newest first, a line that has no newline gets one.",
    )

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.start_time is None or self.end_time is None:
            return self
        end = Decimal(self.end_time)
        is_empty = (
            Decimal(self.start_time) > end if "." in self.end_time else int(Decimal(self.start_time)) > end
        )
        if is_empty:
            raise refuse(
                f"start_time {_short(self.start_time)} is after end_time {_short(self.end_time)}",
                "give a start_time that is not after end_time",
            )
        return self

    def query(self) -> LogQuery:
        """What to ask the log's reader."""
        return LogQuery(
            start=None if self.start_time is None else start_of(self.start_time),
            end=None if self.end_time is None else end_of(self.end_time),
            streams=None
            if self.stream is None
            else frozenset(_STREAMS[name.strip()] for name in self.stream.split(",")),
            limit=self.limit,
            order=self.order,
            cursor=self.cursor,
        )


#: The names of all parameters.
LOG_PARAMETERS: Final = tuple(LogParameters.model_fields)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def _micros(text: str) -> tuple[int, bool]:
    """Microseconds, rounded down, and whether digits were lost by that."""
    whole, _, fraction = text.partition(".")
    return int(whole[-12:]) * 1_000_000 + int(fraction[:6].ljust(6, "0")), fraction[6:].strip("0") != ""


def start_of(text: str) -> datetime:
    """The first moment of a range that starts there; digits beyond microseconds round up."""
    micros, is_cut = _micros(text)
    return _EPOCH + timedelta(microseconds=min(micros + is_cut, _LAST_SECOND * 1_000_000 + 999_999))


def end_of(text: str) -> datetime:
    """The last moment of a range that ends there: of the whole second, or exact where decimals are given."""
    micros, _ = _micros(text)
    return _EPOCH + timedelta(microseconds=micros if "." in text else micros + 999_999)


def parse_log_parameters(query: Mapping[str, str]) -> LogParameters:
    """The parameters as a model.

    Raises:
        InvalidInputError: some are wrong; each is named with its value and a remedy.
    """
    try:
        return LogParameters.model_validate(dict(query))
    except ValidationError as error:
        found = invalid_input(error, fields=LOG_PARAMETERS, what="log query").errors
        # What concerns both ends of the range is said of its start.
        named = (replace(one, field="start_time") if one.field == "body" else one for one in found)
        raise InvalidInputError(*(replace(one, value=query.get(one.field)) for one in named)) from error


class LineOut(Output):
    """One line of a log."""

    message: str = Field(
        description=r"The line without the `\n` or `\r\n` that ends it, and of one that was drawn anew after a lone "
        r"`\r`, as progress bars are, what stood there last; bytes that are not UTF-8 are replaced."
    )
    time: int = Field(description="When it arrived, in whole Unix seconds, rounded down.")
    stream: Literal["stdout", "stderr", "system"] = Field(description="`system` lines are Timeball's own.")
    timestamp: str = Field(description="When it arrived, RFC 3339 with microseconds.")

    @classmethod
    def of(cls, line: Line) -> Self:
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


def json_lines(lines: Sequence[Line]) -> list[str]:
    """Lines as JSON objects, each as `LineOut` describes it; made for a million of them."""
    known: tuple[datetime, Stream] | None = None
    rest = ""
    texts: list[str] = []
    for at, stream, data, _ in lines:
        # Lines that arrived together share the very same objects: what follows the message is made once.
        if known is None or known[0] is not at or known[1] is not stream:
            known = at, stream
            seconds = (at - _EPOCH) // timedelta(seconds=1)
            rest = f',"time":{seconds},"stream":"{stream.label}","timestamp":"{format_moment(at)}"}}'
        texts.append(f'{{"message":{_quoted(shown(data))}{rest}')
    return texts
