"""Cursors: how a place in a log is spelled.

Pure. A place in one run's log is the position of a line; a place in the log of many runs is a line's time, its run
and its position there, which is also the order of such a log. Each spelling says which log it belongs to, so that
one that was given for another is refused instead of leading somewhere.
"""

from __future__ import annotations

import re
import zlib
from typing import Final, NamedTuple

from scheduler.domain.errors import FieldError, InvalidInputError

_OF_RUN: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,24})", re.ASCII)
_OF_MANY: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,16})-([0-9a-f]{32})-([0-9a-f]{1,24})", re.ASCII)
#: The largest moment that there is a date for, microseconds since 1970.
_LATEST: Final = 253_402_300_799_999_999


class MergedLogPlace(NamedTuple):
    """A place in the log of many runs; they compare in the order of such a log.

    Attributes:
        at: microseconds since 1970.
        exec_id: the run.
        position: in the run's log.
    """

    at: int
    exec_id: str
    position: int


def _no_cursor(cursor: str) -> InvalidInputError:
    return InvalidInputError(
        FieldError("cursor", cursor, "is not a cursor", "use one as an earlier answer gave it")
    )


def check_cursor(cursor: str) -> None:
    """Let pass what is spelled as a cursor, of whatever log.

    Raises:
        InvalidInputError: it is not.
    """
    if not _OF_RUN.fullmatch(cursor) and not _OF_MANY.fullmatch(cursor):
        raise _no_cursor(cursor)


def run_cursor(exec_id: str, position: int) -> str:
    """The cursor of a line of one run's log."""
    return f"{exec_id[:8]}-{position:x}"


def parse_run_cursor(cursor: str, exec_id: str) -> int:
    """The position that a cursor of a run's log spells.

    Raises:
        InvalidInputError: it is none, or another log's.
    """
    match = _OF_RUN.fullmatch(cursor)
    if match is None or match[1] != exec_id[:8]:
        check_cursor(cursor)
        raise InvalidInputError(
            FieldError(
                "cursor", cursor, "is the cursor of another log", f"use one that exec {exec_id}'s log gave"
            )
        )
    return int(match[2], 16)


def _tag(scope: str) -> str:
    return f"{zlib.crc32(scope.encode('utf-8', 'replace')):08x}"


def place_cursor(scope: str, place: MergedLogPlace) -> str:
    """The cursor of a line of many runs' log; `scope` is the log's name, such as ``job 5``."""
    return f"{_tag(scope)}-{place.at:x}-{place.exec_id.replace('-', '')}-{place.position:x}"


def parse_place_cursor(cursor: str, scope: str) -> MergedLogPlace:
    """The place that a cursor of many runs' log spells.

    Raises:
        InvalidInputError: it is none, or another log's.
    """
    match = _OF_MANY.fullmatch(cursor)
    if match is None or match[1] != _tag(scope):
        check_cursor(cursor)
        raise InvalidInputError(
            FieldError(
                "cursor", cursor, "is the cursor of another log", f"use one that the log of {scope} gave"
            )
        )
    at, digits = int(match[2], 16), match[3]
    if at > _LATEST:
        raise _no_cursor(cursor)
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return MergedLogPlace(at, "-".join(parts), int(match[4], 16))
