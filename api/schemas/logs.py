"""The query parameters of a log.

Pure. Times are Unix seconds. A whole second covers all of it, so both ends of a range are inclusive the way
people mean it; a decimal is exact to the microsecond.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from api.schemas.common import NAMESPACE_PATTERN, Input, invalid_input, refuse, shown_as
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.stream import Stream
from scheduler.logs.filtering import LONGEST_TEXT, LineFilter, check_pattern
from scheduler.logs.places import check_cursor
from scheduler.logs.reader import LogQuery

#: Maximum number of lines of a page. Without `limit`, all lines are streamed.
LARGEST_LIMIT: Final = 10_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59
_SECONDS: Final = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)
_REMEDY: Final = "write Unix seconds, such as 1451350945 or 1451350945.123"
#: Units that are often used by mistake, with the number of digits by which their values are too long.
_UNITS: Final = (("milliseconds", 3), ("microseconds", 6), ("nanoseconds", 9))
#: Seconds from 1990 to 2100: if a value in another unit is in this range, the unit is probably wrong.
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
    return refuse("is later than the year 9999", _REMEDY)


def _check_limit(value: object) -> object:
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) <= 12 and 1 <= int(text) <= LARGEST_LIMIT:
        return int(text)
    raise refuse(
        f"is not a whole number from 1 to {LARGEST_LIMIT}",
        f"use 1 to {LARGEST_LIMIT}, or remove it for all lines",
    )


def _check_text(value: object) -> object:
    text = str(value)
    if len(text) > LONGEST_TEXT:
        raise refuse("is too long", f"use at most {LONGEST_TEXT} characters")
    if "\n" in text:
        raise refuse("contains a line break", "search for a part of one line")
    return text


def _check_regex(value: object) -> object:
    text = str(_check_text(value))
    try:
        check_pattern("regex", text)
    except InvalidInputError as error:
        raise refuse(error.errors[0].message, error.errors[0].remedy) from error
    return text


def _check_flag(value: object) -> object:
    if str(value).lower() in {"true", "1", "yes"}:
        return True
    if str(value).lower() in {"false", "0", "no"}:
        return False
    raise refuse("is neither true nor false", "use true or false")


_STREAMS: Final = {stream.label: stream for stream in Stream}
_ANY_STREAM: Final = "|".join(_STREAMS)
_STREAM_LIST: Final = shown_as(pattern=f"^(?:{_ANY_STREAM})(?:,(?:{_ANY_STREAM}))*$")
_LINE_PART: Final = shown_as(maxLength=LONGEST_TEXT, pattern=r"^[^\n]*$")
_LIMIT: Final = shown_as("integer", minimum=1, maximum=LARGEST_LIMIT)
_CURSOR: Final = shown_as(format="log-cursor")
_PATTERN: Final = shown_as(maxLength=LONGEST_TEXT, format="re2")
_NO: Final = WithJsonSchema({"enum": [False, "0", "no"]})
_FLAG: Final = WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": ["1", "0", "yes", "no"]}]})


def _check_streams(value: object) -> object:
    for name in str(value).split(","):
        if name.strip() not in _STREAMS:
            raise refuse(
                f"contains '{name.strip()}', which is not a stream",
                "use stdout, stderr or system; separate several with commas",
            )
    return value


def _check_cursor(value: object) -> object:
    try:
        check_cursor(str(value))
    except InvalidInputError as error:
        raise refuse(error.errors[0].message, error.errors[0].remedy) from error
    return value


_Seconds = Annotated[
    str,
    BeforeValidator(_check_seconds),
    shown_as(pattern=r"^[0-9]{1,11}(?:\.[0-9]+)?$", examples=["1451350945"]),
]


class LogParameters(Input):
    """The query parameters of a log. Empty ones count as not given."""

    start_time: _Seconds | None = Field(
        None, description="Only lines at or after this time, in Unix seconds with optional decimals."
    )
    end_time: _Seconds | None = Field(
        None, description="Only lines at or before this time. A whole second includes all of that second."
    )
    stream: Annotated[str, BeforeValidator(_check_streams), _STREAM_LIST] | None = Field(
        None, description="`stdout`, `stderr`, `system`, or several separated by commas. Default: all."
    )
    limit: Annotated[int, BeforeValidator(_check_limit), _LIMIT] | None = Field(
        None, ge=1, le=LARGEST_LIMIT, description="Maximum number of lines. Default: all lines, streamed."
    )
    order: Literal["asc", "desc"] = Field(
        "asc", description="`asc` for the oldest first, `desc` for the latest first."
    )
    cursor: Annotated[str, BeforeValidator(_check_cursor), _CURSOR] | None = Field(
        None, description="The cursor of an earlier answer, to continue after it."
    )
    tail: Annotated[int, BeforeValidator(_check_limit), _LIMIT] | None = Field(
        None, ge=1, le=LARGEST_LIMIT, description="Number of lines at the end of the log, the oldest first."
    )
    contains: Annotated[str, BeforeValidator(_check_text), _LINE_PART] | None = Field(
        None, description="Only lines that contain this text."
    )
    regex: Annotated[str, BeforeValidator(_check_regex), _PATTERN] | None = Field(
        None, description="Only lines that this regular expression matches, in the syntax of RE2."
    )
    ignore_case: Annotated[bool, BeforeValidator(_check_flag), _FLAG] = Field(
        False, description="Ignore case in `contains` and `regex`."
    )
    ansi: Literal["keep", "strip"] = Field(
        "keep", description="`strip` removes terminal sequences, such as colors, before filtering."
    )
    follow: Annotated[bool, BeforeValidator(_check_flag), _FLAG] | None = Field(
        None, description="Follow the log, as server-sent events."
    )
    format: Literal["json", "ndjson", "text"] = Field(
        "json",
        description="A JSON array, one JSON object per line, or the bytes as they were printed. Between lines of "
        "different streams, and with the latest first, a missing newline is added.",
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
                f"is later than end_time={_short(self.end_time)}",
                "swap the two",
            )
        return self

    def filter(self) -> LineFilter:
        """The filter by the content of lines."""
        return LineFilter(
            contains=self.contains,
            matches=self.regex,
            ignore_case=self.ignore_case,
            strip_ansi=self.ansi == "strip",
        )

    def query(self) -> LogQuery:
        """The query for the reader of the log."""
        return LogQuery(
            start=None if self.start_time is None else start_of(self.start_time),
            end=None if self.end_time is None else end_of(self.end_time),
            streams=None
            if self.stream is None
            else frozenset(_STREAMS[name.strip()] for name in self.stream.split(",")),
            limit=self.limit,
            order=self.order,
            cursor=self.cursor,
            tail=self.tail,
            filter=self.filter(),
            is_bounded=self.limit is not None or self.tail is not None,
        )


class NamespaceLogParameters(LogParameters):
    """The query parameters of the log of a namespace."""

    namespace: Annotated[str, shown_as(pattern=NAMESPACE_PATTERN)] | None = Field(
        None, description="The namespace of the runs. Default: the caller's own."
    )


class ExportParameters(LogParameters):
    """The query parameters of a log as a file."""

    follow: Annotated[bool, BeforeValidator(_check_flag), _NO] | None = Field(
        None, description="Not supported for files."
    )
    format: Literal["json", "ndjson", "text"] = Field(
        "text", description="The format of the lines. Default: `text`."
    )
    compression: Literal["none", "gzip", "zstd"] = Field("none", description="The compression of the file.")


class NamespaceExportParameters(ExportParameters, NamespaceLogParameters):
    """The query parameters of the log of a namespace as a file."""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def _micros(text: str) -> tuple[int, bool]:
    """Microseconds, rounded down, and whether digits were lost."""
    whole, _, fraction = text.partition(".")
    return int(whole[-12:]) * 1_000_000 + int(fraction[:6].ljust(6, "0")), fraction[6:].strip("0") != ""


def start_of(text: str) -> datetime:
    """The first moment of a range with that start, rounded up to microseconds."""
    micros, is_cut = _micros(text)
    return _EPOCH + timedelta(microseconds=min(micros + is_cut, _LAST_SECOND * 1_000_000 + 999_999))


def end_of(text: str) -> datetime:
    """The last moment of a range with that end: the end of that second, or exact if it has decimals."""
    micros, _ = _micros(text)
    return _EPOCH + timedelta(microseconds=micros if "." in text else micros + 999_999)


_P = TypeVar("_P", bound=LogParameters)


def parse_log_parameters(query: Mapping[str, str], kind: type[_P]) -> _P:
    """The parameters as a model of that kind.

    Raises:
        InvalidInputError: parameters are invalid; each is named with its value and a remedy.
    """
    names = tuple(kind.model_fields)
    try:
        parameters = kind.model_validate(dict(query))
    except ValidationError as error:
        errors = invalid_input(error, fields=names, what="log query").errors
        # Errors that concern both ends of the range are reported for its start.
        named = (replace(e, field="start_time") if e.field == "body" else e for e in errors)
        raise InvalidInputError(*(replace(e, value=query.get(e.field)) for e in named)) from error
    check_together(parameters, query)
    return parameters


def check_together(parameters: LogParameters, query: Mapping[str, str], *, is_followed: bool = False) -> None:
    """Reject parameters that cannot be combined.

    Raises:
        InvalidInputError: parameters cannot be combined; all of them are named.
    """
    wrong: list[tuple[str, str, str]] = []
    if is_followed or parameters.follow:
        usual = {"end_time": None, "limit": None, "order": "asc", "format": "json"}
        wrong += [
            (name, "is not possible when following", f"remove {name}")
            for name, value in usual.items()
            if name in query and getattr(parameters, name) != value
        ]
    if parameters.tail is not None:
        wrong += [
            ("tail", f"cannot be combined with {other}", f"use tail or {other}, not both")
            for other in ("limit", "cursor")
            if getattr(parameters, other) is not None
        ]
        if parameters.order == "desc":
            wrong.append(("tail", "cannot be combined with order=desc", "use limit, or remove order"))
    if wrong:
        first = {name: FieldError(name, query.get(name), *words) for name, *words in reversed(wrong)}
        raise InvalidInputError(*reversed(first.values()))
