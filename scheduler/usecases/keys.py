"""Rotation of the key that seals secrets, while the daemon is running."""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import Caller, demand_everywhere
from scheduler.domain.errors import ConflictError
from scheduler.domain.secret import Rotation
from scheduler.process.faults import Point, point
from scheduler.secrets.keys import KeyFile
from scheduler.secrets.sealing import Keyring, new_key
from scheduler.store import identity
from scheduler.usecases.parts import Parts

log = structlog.get_logger()

_BY_HAND = (
    "manually: add a new key before the current one, restart, and remove the old key when the log shows "
    "secrets.sealed_anew; see docs/security.md"
)


class KeyUseCases:
    """Use cases for the key."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = asyncio.Lock()

    async def rotate(self, caller: Caller) -> Rotation:
        """Create a new key, seal everything with it, and remove the old one.

        After each step, the file contains every key that something is sealed with. If the daemon is interrupted, its
        next start can open everything, and seals what is left with the new key.

        Args:
            caller: an administrator of all namespaces.

        Raises:
            ForbiddenError: the caller is not an administrator of all namespaces.
            ConflictError: the daemon cannot change its key; the message says why, and what to do.
            UnavailableError: the database failed; both keys are kept, and another attempt continues from there.
        """
        demand_everywhere(caller)
        file = self._parts.key_file
        if file is None:
            raise ConflictError(
                "The key comes from TIMEBALL_SECRET_KEY (secret_key), which the daemon cannot change; rotate it "
                f"{_BY_HAND}"
            )
        if self._lock.locked():
            raise ConflictError("Another rotation of the key is in progress; wait until it has finished")
        async with self._lock:
            return await self._rotate(caller, file)

    async def _rotate(self, caller: Caller, file: KeyFile) -> Rotation:
        now = self._parts.clock.now()
        live = await self._parts.database.read(lambda connection: identity.live_instances(connection, now))
        if others := live - {self._parts.instance}:
            raise ConflictError(
                f"{len(others)} other daemon(s) use this database and would not get the new key; stop them, "
                f"or rotate the key of all daemons {_BY_HAND}"
            )
        present = new_key()
        try:
            former = await asyncio.to_thread(file.read)
            is_in_use = Keyring(former).current == self._parts.vault.key
        except ValueError as error:
            raise ConflictError(f"The file {file.path} was changed: {error}; fix the file first") from error
        except OSError as error:
            raise ConflictError(f"The file {file.path} cannot be read ({error}); fix this first") from error
        if not is_in_use:
            raise ConflictError(
                f"The file {file.path} was changed: its first key is not the key in use; restart the daemon first"
            )
        keyring = Keyring([present, *former])
        try:
            await asyncio.to_thread(file.write, [present, *former])
        except OSError as error:
            raise ConflictError(
                f"The file {file.path} cannot be replaced ({error}); make its directory writable, or rotate the key "
                f"{_BY_HAND}"
            ) from error
        point(Point.KEY_WRITTEN)

        def note(connection: Connection, keyring: Keyring) -> None:
            record(connection, caller, "key.rotate", f"key {keyring.current}", now=now, namespace=None)

        # This process can still open what the old keys have sealed: something may have been read just before.
        renewed, lost = await self._parts.vault.take_over(keyring, note)
        point(Point.KEY_TAKEN_OVER)
        await self._forget(file, [present, *former])
        return Rotation(keyring.current, renewed, lost)

    async def _forget(self, file: KeyFile, written: list[str]) -> None:
        """Keep only the current key in the file, unless the file was changed in the meantime."""
        try:
            if await asyncio.to_thread(file.read) == written:
                await asyncio.to_thread(file.write, written[:1])
                return
            reason = "it was changed in the meantime"
        except (OSError, UnicodeDecodeError) as error:
            reason = str(error)
        log.warning("secrets.former_key_left", file=str(file.path), reason=reason)
