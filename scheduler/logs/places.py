"""Cursors: the text form of a position in a log.

Pure. A position in one run's log is that of a line; a position in the log of many runs consists of a line's time, its
run and its position there, which is also the order of such a log. Each cursor identifies the log that it belongs to,
so that a cursor of another log is rejected instead of leading to a wrong position.
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

from scheduler.domain.errors import FieldError, InvalidInputError

_OF_RUN: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,24})", re.ASCII)
_OF_MANY: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,16})-([0-9a-f]{32})-([0-9a-f]{1,24})", re.ASCII)
#: The latest time that has a date, microseconds since 1970.
_LATEST: Final = 253_402_300_799_999_999


class MergedLogPlace(NamedTuple):
    """A position in the log of many runs; positions compare in the order of such a log.

    Attributes:
        at: microseconds since 1970.
        exec_id: the run.
        position: the position in the run's log.
    """

    at: int
    exec_id: str
    position: int


def _invalid_cursor(cursor: str) -> InvalidInputError:
    return InvalidInputError(
        FieldError("cursor", cursor, "is not a valid cursor", "use a cursor from an earlier response")
    )


def check_cursor(cursor: str) -> None:
    """Check that a text has the form of a cursor, of any log.

    Raises:
        InvalidInputError: it does not.
    """
    if not _OF_RUN.fullmatch(cursor) and not _OF_MANY.fullmatch(cursor):
        raise _invalid_cursor(cursor)


def run_cursor(exec_id: str, position: int) -> str:
    """The cursor of a line of one run's log."""
    return f"{exec_id[:8]}-{position:x}"


def parse_run_cursor(cursor: str, exec_id: str) -> int:
    """The position in a cursor of a run's log.

    Raises:
        InvalidInputError: the cursor is invalid, or belongs to another log.
    """
    match = _OF_RUN.fullmatch(cursor)
    if match is None or match[1] != exec_id[:8]:
        check_cursor(cursor)
        raise InvalidInputError(
            FieldError(
                "cursor",
                cursor,
                "is the cursor of another log",
                f"use a cursor from the log of run {exec_id}",
            )
        )
    return int(match[2], 16)


def _tag(scope: str) -> str:
    return f"{zlib.crc32(scope.encode('utf-8', 'replace')):08x}"


def place_cursor(scope: str, place: MergedLogPlace) -> str:
    """The cursor of a line of many runs' log; `scope` is the log's name, such as ``job 5``."""
    return f"{_tag(scope)}-{place.at:x}-{place.exec_id.replace('-', '')}-{place.position:x}"


def parse_place_cursor(cursor: str, scope: str) -> MergedLogPlace:
    """The position in a cursor of many runs' log.

    Raises:
        InvalidInputError: the cursor is invalid, or belongs to another log.
    """
    match = _OF_MANY.fullmatch(cursor)
    if match is None or match[1] != _tag(scope):
        check_cursor(cursor)
        raise InvalidInputError(
            FieldError(
                "cursor", cursor, "is the cursor of another log", f"use a cursor from the log of {scope}"
            )
        )
    at, digits = int(match[2], 16), match[3]
    if at > _LATEST:
        raise _invalid_cursor(cursor)
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return MergedLogPlace(at, "-".join(parts), int(match[4], 16))
