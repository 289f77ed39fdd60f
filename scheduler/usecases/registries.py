"""Credentials for registries: set by editors, used by pulls of runs in their namespace, never read back."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from scheduler.access.callers import Caller
from scheduler.domain.registry import Login, Registry
from scheduler.store import registries
from scheduler.usecases.parts import Parts
from scheduler.usecases.sealed import SealedUseCases


class RegistryUseCases(SealedUseCases[Registry]):
    """What callers do with credentials for registries. Without one, pulls are anonymous."""

    def __init__(self, parts: Parts) -> None:
        missing = "There is no credential for the registry '{}'".format
        super().__init__(parts, registries, kind="registry", missing=missing)

    async def put(self, caller: Caller, namespace: str | None, login: Login) -> tuple[Registry, bool]:
        """Store a credential or replace it; returns what is known of it, and whether it is new.

        Args:
            caller: an editor of the namespace.
            namespace: whose runs pull with it; None for the caller's own.
            login: for the registry; the password is never shown again.

        Raises:
            ForbiddenError: the caller may not define credentials there.
        """

        def store(connection: Connection, where: str) -> bool:
            return registries.put(
                connection,
                where,
                login.host,
                username=login.username,
                sealed=self._parts.vault.sealed_for_registry(where, login),
                user=caller.user,
                now=self._parts.clock.now(),
            )

        return await self._put(caller, namespace, login.host, store)
