"""Access tokens: made at random, stored as a hash, looked up for every request.

The first start makes an administrator's token and leaves it in the data directory for its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.access import Caller, Role
from scheduler.clock import Clock
from scheduler.errors import SettingsError, UnauthorizedError
from scheduler.store import identity
from scheduler.store.database import Database
from scheduler.store.identity import StoredToken

log = structlog.get_logger()

#: So that a token is recognised where it should not be, in a log or a repository.
PREFIX: Final = "tbl_"
ADMIN: Final = "admin"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file's name
#: What a token looks like; Timeball's own have 43 characters after the prefix.
_TOKEN: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{32,200}")
#: Seconds for which a looked-up token is believed, and how many are remembered.
BELIEVED: Final = 5.0
REMEMBERED: Final = 1_000


class Tokens:
    """Finds out whom a token stands for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, tuple[float, Caller]] = {}

    async def caller_of(self, token: str) -> Caller:
        """Whom the token stands for.

        Raises:
            UnauthorizedError: nobody.
        """
        digest = _digest(token)
        now = time.monotonic()
        seen = self._seen.get(digest)
        if seen is not None and now - seen[0] < BELIEVED:
            return seen[1]
        stored = await self._database.read(lambda connection: identity.find_token(connection, digest))
        if stored is None:
            self._seen.pop(digest, None)
            raise UnauthorizedError(
                "This token is not valid; it may have been revoked, or cut when it was copied"
            )
        caller = Caller(stored.username, stored.namespace, Role[stored.role.upper()])
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[digest] = (now, caller)
        return caller

    async def ensure_admin(self, data_dir: Path, clock: Clock, *, instance: str = "") -> Path:
        """See to it that an administrator's token is in the data directory and in the database.

        A missing file is made anew. A file that the database does not know yet (it is new, or the database is)
        replaces the administrator's tokens of before, which stop working; unless another daemon uses the same
        database, whose token one of them may be.

        Args:
            data_dir: where the file is.
            clock: tells the time.
            instance: the daemon's own id.

        Returns:
            The file's path; its mode is 0600 when it is made.

        Raises:
            SettingsError: the file holds something else.
        """
        path = data_dir / TOKEN_FILE
        token = _read_token(path)
        if token is None:
            token = PREFIX + secrets.token_urlsafe(32)
            _write_private(path, token + "\n")

        def work(connection: Connection) -> None:
            digest, now = _digest(token), clock.now()
            if identity.find_token(connection, digest) is not None:
                return
            if identity.live_instances(connection, now) - {instance}:
                log.warning("tokens.earlier_ones_kept", reason="another daemon uses this database")
            else:
                identity.remove_tokens(connection, ADMIN)
            whom = StoredToken(ADMIN, None, Role.ADMIN.name.lower())
            identity.add_token(connection, digest, token[: len(PREFIX) + 4], whom, now=now)

        await self._database.write(work)
        self._seen.clear()
        return path


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _read_token(path: Path) -> str | None:
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}. Remove it, and a new token is made") from error
    if token and not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"{path} holds no token: one begins with {PREFIX} and goes on with 32 or more letters, digits, - and _. "
            "Remove it, and a new token is made"
        )
    return token or None


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody else could read at any moment, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
