"""Access tokens: random, stored as a hash, checked on every request.

The first start creates an administrator's token and writes it to a file in the data directory that only its owner
can read.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.access.callers import NOWHERE, Caller, Origin, Role
from scheduler.access.throttle import Throttle, network_of
from scheduler.domain.account import StoredToken, StoredUser
from scheduler.domain.clock import Clock, SystemClock
from scheduler.domain.errors import SettingsError, UnauthorizedError, UnavailableError
from scheduler.process.data_dir import TOKEN_FILE
from scheduler.store import accounts, identity
from scheduler.store.database import Database

log = structlog.get_logger()

#: Makes a token recognizable in places where it should not be, such as a log or a repository.
PREFIX: Final = "tbl_"
ADMIN: Final = "admin"
#: The format of a token; Timeball's own have 43 characters after the prefix.
_TOKEN: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{32,200}")
#: Seconds for which a checked token is cached, and the number of tokens cached.
BELIEVED: Final = 4.0
REMEMBERED: Final = 1_000
NOTED_EVERY: Final = timedelta(minutes=1)
#: Number of different invalid tokens allowed at once per address, and seconds after which they are forgotten.
FREE_FAILURES: Final = 30
FAILURES_FORGOTTEN: Final = 60.0


class Tokens:
    """Authenticates tokens.

    Args:
        database: where tokens are stored.
        clock: the source of the current time.
        throttle: slows down clients that try many tokens.
    """

    def __init__(
        self, database: Database, clock: Clock | None = None, throttle: Throttle | None = None
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._throttle = throttle or Throttle(FREE_FAILURES, FAILURES_FORGOTTEN, self._clock.steady)
        self._seen: dict[str, tuple[float, Caller, datetime | None]] = {}
        self._generation = 0  # increases whenever cached callers may be outdated
        self._tried: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._used: dict[int, datetime] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def caller_of(self, token: str, origin: Origin = NOWHERE) -> Caller:
        """The caller that a token belongs to.

        A valid token is always accepted, whatever else came from the same address.

        Raises:
            UnauthorizedError: the token is not valid.
            TooManyError: the token is not valid, and too many others from the same address were not either.
        """
        digest, now = digest_of(token), self._clock.now()
        seen = self._seen.get(digest)
        if seen is None or self._clock.steady() - seen[0] >= BELIEVED:
            generation = self._generation
            stored = await self._database.read(lambda connection: accounts.find_token(connection, digest))
            if stored is None:
                self._seen.pop(digest, None)
                self._count_failure(digest, origin)
                raise UnauthorizedError(
                    "This token is not valid; it may have been revoked, or copied incompletely"
                )
            seen = (self._clock.steady(), caller_of(*stored), stored[0].expires_at)
            if generation == self._generation:
                if len(self._seen) >= REMEMBERED:
                    self._seen.clear()
                self._seen[digest] = seen
            self._note_use(stored[0], now)
        _, caller, expires_at = seen
        if expires_at is not None and expires_at <= now:
            raise UnauthorizedError(
                f"This token expired at {expires_at.isoformat(timespec='seconds')}; log in again, or create another "
                "token"
            )
        return replace(caller, origin=origin)

    def forget(self) -> None:
        """Clear the cache: a token or a user has changed."""
        self._generation += 1
        self._seen.clear()

    def _count_failure(self, digest: str, origin: Origin) -> None:
        """Count each invalid token once per address: a program that keeps using a revoked token is not guessing."""
        key = network_of(origin.remote)
        self._throttle.check(key)
        if (key, digest) not in self._tried:
            self._tried[key, digest] = None
            if len(self._tried) > REMEMBERED:
                self._tried.popitem(last=False)
            self._throttle.fail(key)

    def _note_use(self, token: StoredToken, now: datetime) -> None:
        """Record that a token is in use, at most once a minute, in the background."""
        last = max(
            (moment for moment in (token.last_used_at, self._used.get(token.id)) if moment), default=None
        )
        if last is not None and now - last < NOTED_EVERY:
            return
        if len(self._used) >= REMEMBERED:
            self._used.clear()
        self._used[token.id] = now
        task = asyncio.create_task(self._touch(token.id, now))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _touch(self, token_id: int, now: datetime) -> None:
        try:
            await self._database.write(lambda c: accounts.touch_token(c, token_id, now), durable=False)
        except UnavailableError as error:
            log.warning("tokens.use_not_noted", token=token_id, error=str(error))

    async def ensure_admin(self, data_dir: Path, clock: Clock, *, instance: str = "") -> Path:
        """Ensure that the data directory and the database have the same administrator's token.

        Creates the file if it is missing. If the database does not know the file's token, because the file or the
        database is new, it replaces the previous administrator's tokens, which stop working. They are kept while
        another daemon uses the same database, because one of them may be that daemon's.

        Args:
            data_dir: the directory that contains the file.
            clock: the source of the current time.
            instance: the daemon's own id.

        Returns:
            The file's path; a new file has mode 0600.

        Raises:
            SettingsError: the file cannot be read, or does not contain a token.
        """
        path = data_dir / TOKEN_FILE
        token = _read_token(path)
        if token is None:
            token = new_token()
            _write_private(path, token + "\n")

        def work(connection: Connection) -> None:
            digest, now = digest_of(token), clock.now()
            if accounts.find_token(connection, digest) is not None:
                return
            if identity.live_instances(connection, now) - {instance}:
                log.warning("tokens.earlier_ones_kept", reason="another daemon uses this database")
            else:
                accounts.remove_file_tokens(connection)
            whom = StoredToken(
                ADMIN,
                None,
                Role.ADMIN.name.lower(),
                "file",
                created_by=ADMIN,
                created_at=now,
                name=TOKEN_FILE,
                prefix=prefix_of(token),
            )
            accounts.add_token(connection, digest, whom)

        await self._database.write(work)
        self.forget()
        return path


def caller_of(token: StoredToken, user: StoredUser | None) -> Caller:
    """The caller of a stored token: its rights are the intersection of the token's and its user's.

    Raises:
        UnauthorizedError: the user is disabled, or no longer belongs to the token's namespace.
    """
    role, namespace = Role[token.role.upper()], token.namespace
    if user is not None:
        if not user.is_active:
            raise UnauthorizedError(
                f"The user '{user.username}' is disabled, so all tokens of this user are rejected"
            )
        if user.namespace is not None and namespace not in (None, user.namespace):
            raise UnauthorizedError(
                f"This token is for namespace '{namespace}', but its user now belongs to another namespace; "
                "create another token"
            )
        role, namespace = min(role, Role[user.role.upper()]), user.namespace or namespace
    return Caller(
        token.username, namespace, role, account=token.account, token_id=token.id, token_prefix=token.prefix
    )


def new_token() -> str:
    """A new token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def prefix_of(token: str) -> str:
    """The first characters of a token, by which people recognize it."""
    return token[: len(PREFIX) + 4]


def digest_of(token: str) -> str:
    """The hash of a token, as it is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _read_token(path: Path) -> str | None:
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}. Delete it to get a new token") from error
    if token and not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"{path} does not contain a token: a token is {PREFIX} followed by 32 or more letters, digits, - and _. "
            "Delete the file to get a new token"
        )
    return token or None


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read at any moment, completely or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
