"""Passwords are hashed with argon2id, which is slow, so this happens on its own thread and never on the event loop.

The stored value is a PHC string that includes the parameters. They can be raised later: a hash with other
parameters is replaced when its user logs in.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from scheduler.domain.errors import TooManyError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

#: Above the minimum of OWASP's password storage cheat sheet. Hashing one password at a time limits the memory.
TIME_COST: Final = 3
MEMORY_KIB: Final = 32 * 1024
#: Logins that may wait for their turn; each takes a few tens of milliseconds.
MOST_WAITING: Final = 20


class Passwords:
    """Creates and checks password hashes.

    Args:
        time_cost: number of argon2 passes.
        memory_kib: memory for one hash, in KiB.
    """

    def __init__(self, time_cost: int = TIME_COST, memory_kib: int = MEMORY_KIB) -> None:
        self._time_cost = time_cost
        self._memory_kib = memory_kib
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """The hash of a password, as it is stored.

        Raises:
            TooManyError: too many other passwords are waiting.
        """
        return await self._in_turn(self._hash, password)

    async def check(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Check a password against a stored hash; takes the same time if there is no hash.

        Returns:
            Whether the password is correct, and a new hash if the stored one has outdated parameters.

        Raises:
            TooManyError: too many other passwords are waiting.
        """
        return await self._in_turn(self._verify, password, stored)

    async def _in_turn(self, work: Callable[..., T], *given: str | None) -> T:
        if self._waiting >= MOST_WAITING:
            raise TooManyError("Too many passwords are being checked; try again in a moment", retry_after=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)
        finally:
            self._waiting -= 1

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher  # noqa: PLC0415 - only installations with users need it

        return PasswordHasher(time_cost=self._time_cost, memory_cost=self._memory_kib, parallelism=1)

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))

    def _hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def _verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415

        nobodys = self._nobodys  # computed first, so that the first login takes the same time for every user
        try:
            self._hasher.verify(nobodys if stored is None else stored, password)
        except (VerificationError, InvalidHashError):
            return False, None
        if stored is None:
            return False, None
        return True, self._hash(password) if self._hasher.check_needs_rehash(stored) else None

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
