"""Passwords: hashed with argon2id, slowly and on a thread of their own, never on the event loop.

What is stored is a PHC string that carries its parameters, so that they can be raised later: a hash made with
others is made anew when its owner logs in.
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

#: Above the least that OWASP's password storage cheat sheet asks for; one hash at a time bounds the memory.
TIME_COST: Final = 3
MEMORY_KIB: Final = 32 * 1024
#: Log-ins that may wait for their turn; each takes some tens of milliseconds.
MOST_WAITING: Final = 20


class Passwords:
    """Makes and checks hashes.

    Args:
        time_cost: rounds.
        memory_kib: memory for one hash, in KiB.
    """

    def __init__(self, time_cost: int = TIME_COST, memory_kib: int = MEMORY_KIB) -> None:
        self._time_cost = time_cost
        self._memory_kib = memory_kib
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting = 0

    async def hashed(self, password: str) -> str:
        """A password's hash, to be stored.

        Raises:
            TooManyError: too many others wait for theirs.
        """
        return await self._in_turn(self._hash, password)

    async def check(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether a password is the one of a hash; takes as long where there is none to compare with.

        Returns:
            Whether it is, and a new hash if the stored one was made with other parameters than today's.

        Raises:
            TooManyError: too many others wait for theirs.
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

        nobodys = self._nobodys  # made first, so that the first attempt takes as long whoever it is for
        try:
            self._hasher.verify(nobodys if stored is None else stored, password)
        except (VerificationError, InvalidHashError):
            return False, None
        if stored is None:
            return False, None
        return True, self._hash(password) if self._hasher.check_needs_rehash(stored) else None

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
