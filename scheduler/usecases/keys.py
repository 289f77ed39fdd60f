"""The key that secrets are sealed with: a new one takes over while the daemon serves."""

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
    "by hand: write a new key before the present one, restart, and remove the former one once the log says "
    "secrets.sealed_anew; docs/security.md tells how"
)


class KeyUseCases:
    """What administrators do with the key."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = asyncio.Lock()

    async def rotate(self, caller: Caller) -> Rotation:
        """Make a new key, seal everything with it, and forget the former one.

        After each step the file holds every key that something stored is sealed with, so that a start finds its way
        from there, and begins by sealing anew what is left.

        Args:
            caller: an administrator of all namespaces.

        Raises:
            ForbiddenError: the caller is none.
            ConflictError: the daemon cannot change its key; the message says why, and what to do.
            UnavailableError: the database refused; both keys stay, and another try goes on from there.
        """
        demand_everywhere(caller)
        file = self._parts.key_file
        if file is None:
            raise ConflictError(
                f"The key comes from TIMEBALL_SECRET_KEY (secret_key), which the daemon cannot change; do it "
                f"{_BY_HAND}"
            )
        if self._lock.locked():
            raise ConflictError("A new key takes over just now; try again when that is done")
        async with self._lock:
            return await self._rotate(caller, file)

    async def _rotate(self, caller: Caller, file: KeyFile) -> Rotation:
        now = self._parts.clock.now()
        live = await self._parts.database.read(lambda connection: identity.live_instances(connection, now))
        if others := live - {self._parts.instance}:
            raise ConflictError(
                f"{len(others)} more daemon(s) use this database, and would not have the new key; stop all but one, "
                f"or give all of them a new key {_BY_HAND}"
            )
        present = new_key()
        try:
            former = await asyncio.to_thread(file.read)
            is_in_use = Keyring(former).current == self._parts.vault.key
        except ValueError as error:
            raise ConflictError(f"The file {file.path} was changed: {error}; mend it first") from error
        except OSError as error:
            raise ConflictError(f"The file {file.path} cannot be read ({error}); mend that first") from error
        if not is_in_use:
            raise ConflictError(
                f"The file {file.path} was changed: its first key is not the one in use; restart the daemon first"
            )
        keyring = Keyring([present, *former])
        try:
            await asyncio.to_thread(file.write, [present, *former])
        except OSError as error:
            raise ConflictError(
                f"The file {file.path} cannot be replaced ({error}); let the daemon write to its directory, or do it "
                f"{_BY_HAND}"
            ) from error
        point(Point.KEY_WRITTEN)

        def note(connection: Connection, keyring: Keyring) -> None:
            record(connection, caller, "key.rotate", f"key {keyring.current}", now=now, namespace=None)

        # This process goes on opening what the former keys have sealed: something may have been read just before.
        renewed, lost = await self._parts.vault.take_over(keyring, note)
        point(Point.KEY_TAKEN_OVER)
        await self._forget(file, [present, *former])
        return Rotation(keyring.current, renewed, lost)

    async def _forget(self, file: KeyFile, written: list[str]) -> None:
        """Leave the present key alone in the file, unless somebody has changed it meanwhile."""
        try:
            if await asyncio.to_thread(file.read) == written:
                await asyncio.to_thread(file.write, written[:1])
                return
            reason = "it was changed meanwhile"
        except (OSError, UnicodeDecodeError) as error:
            reason = str(error)
        log.warning("secrets.former_key_left", file=str(file.path), reason=reason)
