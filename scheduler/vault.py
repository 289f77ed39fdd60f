"""Seals secrets for the database, and opens them for the runs that name them; nothing else ever sees a value."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.errors import TimeballError
from scheduler.security.sealing import Keyring, SealError
from scheduler.store import hooks, secrets
from scheduler.store.database import Database

log = structlog.get_logger()

_PLACE: Final = "secret"
#: A hook's secret is sealed before the hook has an id.
_HOOK: Final = "hook"


class SecretUnavailableError(TimeballError):
    """A secret that a run names does not exist, or cannot be opened; the message names it and the remedy."""


class Vault:
    """The secrets of all namespaces.

    Args:
        database: where they lie, sealed.
        keyring: seals and opens them.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def sealed(self, namespace: str, name: str, value: str) -> str:
        """A value as it is stored for that secret alone."""
        return self._keyring.seal(value, _place(namespace, name))

    def sealed_for_hook(self, secret: str) -> str:
        """A hook's secret as it is stored."""
        return self._keyring.seal(secret, _HOOK)

    def of_hook(self, stored: str) -> str:
        """A hook's secret from what is stored.

        Raises:
            SealError: it cannot be opened.
        """
        return self._keyring.unseal(stored, _HOOK)

    async def values(self, namespace: str, names: Collection[str]) -> dict[str, str]:
        """The values of secrets, by name.

        Raises:
            SecretUnavailableError: one does not exist or cannot be opened.
            UnavailableError: the database refused.
        """
        found = await self._database.read(lambda connection: secrets.sealed(connection, namespace, names))
        if missing := sorted(set(names) - set(found)):
            raise SecretUnavailableError(
                f"The secret '{missing[0]}' does not exist in the namespace '{namespace}'; "
                f"set it with PUT /v1/secrets/{missing[0]}?namespace={namespace}"
            )
        values = {}
        for name, stored in found.items():
            try:
                values[name] = self._keyring.unseal(stored, _place(namespace, name))
            except SealError as error:
                raise SecretUnavailableError(f"The secret '{name}' cannot be opened: {error}") from error
        return values

    async def renew(self) -> None:
        """Seal with the present key whatever a former one has sealed; what none opens is left and told of."""

        def work(connection: Connection) -> tuple[int, list[str]]:
            lost: list[str] = []
            count = 0
            for namespace, name, stored in secrets.all_sealed(connection):
                place = _place(namespace, name)
                if (after := self._anew(stored, place, place, lost)) is not None:
                    secrets.reseal(connection, namespace, name, before=stored, after=after)
                    count += 1
            for hook_id, stored in hooks.all_sealed(connection):
                if (after := self._anew(stored, _HOOK, f"hook {hook_id}", lost)) is not None:
                    hooks.reseal(connection, hook_id, before=stored, after=after)
                    count += 1
            return count, lost

        renewed, lost = await self._database.write(work)
        if renewed:
            log.info("secrets.sealed_anew", count=renewed, key=self._keyring.current)
        for place in lost:
            log.warning("secrets.cannot_be_opened", secret=place, remedy="add its key, or set it again")

    def _anew(self, stored: str, place: str, shown: str, lost: list[str]) -> str | None:
        """What was sealed with a former key as the present one seals it; None where nothing is to be changed."""
        if self._keyring.is_current(stored):
            return None
        try:
            return self._keyring.seal(self._keyring.unseal(stored, place), place)
        except SealError:
            lost.append(shown)
            return None


def _place(namespace: str, name: str) -> str:
    return f"{_PLACE}:{namespace}/{name}"
