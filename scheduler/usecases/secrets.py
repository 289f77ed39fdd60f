"""Secrets: set by editors, referred to by jobs, never read back."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from scheduler.access.callers import Caller
from scheduler.domain.secret import Secret
from scheduler.store import secrets
from scheduler.usecases.parts import Parts
from scheduler.usecases.sealed import SealedUseCases


class SecretUseCases(SealedUseCases[Secret]):
    """What callers do with secrets. Runs of jobs that refer to a deleted secret fail."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts, secrets, kind="secret", missing="There is no secret named '{}'".format)

    async def put(self, caller: Caller, namespace: str | None, name: str, value: str) -> tuple[Secret, bool]:
        """Store a secret or replace its value; returns what is known of it, and whether it is new.

        Args:
            caller: an editor of the namespace.
            namespace: of the secret; None for the caller's own.
            name: of the secret.
            value: never shown again.

        Raises:
            ForbiddenError: the caller may not define secrets there.
        """

        def store(connection: Connection, where: str) -> bool:
            sealed = self._parts.vault.sealed(where, name, value)
            return secrets.put(connection, where, name, sealed, user=caller.user, now=self._parts.clock.now())

        return await self._put(caller, namespace, name, store)
