"""Distinguishes database failures from wrong statements, and classifies failures.

Pure: uses only the errors that it is given.
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

#: Phrases in messages of SQLite and PostgreSQL, and the kind of failure they mean; the first match counts.
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
    "locked": "another program has locked it",
    "full": "its disk is full; free up space",
    "readonly": "it is read-only; fix its permissions or its mount",
    "files": "it cannot be opened, or too many files or connections are open",
    "damaged": "it is damaged; restore a backup",
    "unreachable": "its server does not answer",
    "disk": "its disk is full or failing",
}


def is_trouble(error: BaseException) -> bool:
    """Whether the database itself failed (missing, locked, full, damaged), rather than the statement being wrong."""
    if isinstance(
        error, PoolTimeoutError
    ):  # all connections are used by operations that are waiting themselves
        return True
    if isinstance(error, OSError):
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EROFS, errno.EIO)
    return isinstance(error, DatabaseError | InterfaceError) and not isinstance(
        error, IntegrityError | ProgrammingError | DataError | NotSupportedError
    )


def is_deadlock(error: BaseException) -> bool:
    """Whether two transactions waited for each other; one of them was rolled back, and may simply be repeated."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == "40P01"


def kind_of(error: BaseException) -> str:
    """The kind of failure, for metrics: ``locked``, ``full``, ``readonly``, …, or ``other``."""
    words = _own_words(error).lower()
    return next((kind for kind, signs in _KINDS if any(sign in words for sign in signs)), "other")


def words_of(error: BaseException) -> str:
    """The database's own message, with an explanation."""
    words = _own_words(error)
    remedy = _REMEDIES.get(kind_of(error))
    return words if remedy is None else f"{words} ({remedy})"


def _own_words(error: BaseException) -> str:
    """The database's first message: a full disk rolls back the transaction, so rolling back savepoints fails too."""
    first = error
    while (error := error.__context__) is not None:  # type: ignore[assignment] # None ends it
        if isinstance(error, DatabaseError) and is_trouble(error):
            first = error
    return " ".join(str(getattr(first, "orig", first)).split())
