"""Tells a database that is in trouble from a statement that is wrong, and names the trouble.

Pure: reads nothing but the errors that it is given.
"""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

#: What stands in the words of SQLite and PostgreSQL, and what it comes down to; the first that fits counts.
_KINDS: Final = (
    ("locked", ("database is locked", "table is locked", "lock timeout", "deadlock detected")),
    ("full", ("disk is full", "no space left", "disk full")),
    ("readonly", ("readonly database", "read-only", "read only")),
    ("files", ("unable to open database file", "too many open files", "too many clients")),
    ("damaged", ("malformed", "not a database", "disk image")),
    (
        "unreachable",
        ("connection", "server closed", "could not connect", "terminating", "starting up", "shutting down"),
    ),
    ("disk", ("disk i/o error", "input/output error")),
)
_REMEDIES: Final = {
    "locked": "another program holds it",
    "full": "its disk is full; make room there",
    "readonly": "it cannot be written to; mend its permissions or its mount",
    "files": "it cannot be opened, or too many files or connections are open",
    "damaged": "it is damaged; restore a backup",
    "unreachable": "its server does not answer",
    "disk": "its disk is full or failing",
}


def is_trouble(error: BaseException) -> bool:
    """Whether the database itself is to blame: absent, locked, full, damaged; and not what it was asked to do."""
    if isinstance(error, PoolTimeoutError):  # every connection is held by what waits itself
        return True
    if isinstance(error, OSError):
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EROFS, errno.EIO)
    return isinstance(error, DatabaseError | InterfaceError) and not isinstance(
        error, IntegrityError | ProgrammingError | DataError | NotSupportedError
    )


def is_deadlock(error: BaseException) -> bool:
    """Whether two transactions waited for each other; one of them was undone, and may simply be repeated."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == "40P01"


def kind_of(error: BaseException) -> str:
    """The trouble in a word, for metrics: ``locked``, ``full``, ``readonly``, …, or ``other``."""
    words = _own_words(error).lower()
    return next((kind for kind, signs in _KINDS if any(sign in words for sign in signs)), "other")


def words_of(error: BaseException) -> str:
    """The database's own words, with what they come down to."""
    words = _own_words(error)
    remedy = _REMEDIES.get(kind_of(error))
    return words if remedy is None else f"{words} ({remedy})"


def _own_words(error: BaseException) -> str:
    """What the database said first: a full disk undoes the transaction, so undoing it by savepoints fails as well."""
    first = error
    while (error := error.__context__) is not None:  # type: ignore[assignment] # None ends it
        if isinstance(error, DatabaseError) and is_trouble(error):
            first = error
    return " ".join(str(getattr(first, "orig", first)).split())
