"""Secrets: set by editors, named by jobs, read by nobody."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import Caller, Role, demand
from scheduler.domain.errors import NotFoundError
from scheduler.domain.secret import Secret
from scheduler.domain.views import Page
from scheduler.store import secrets
from scheduler.usecases.parts import Parts


class SecretUseCases:
    """What callers do with secrets."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def put(self, caller: Caller, namespace: str | None, name: str, value: str) -> tuple[Secret, bool]:
        """Store a secret or replace its value; what is known of it, and whether it is new.

        Args:
            caller: an editor of the namespace.
            namespace: where it lies; None for the caller's own.
            name: of the secret.
            value: which is never shown again.

        Raises:
            ForbiddenError: the caller may not define secrets there.
        """
        where = namespace or caller.home
        demand(caller, Role.EDITOR, where)
        now = self._parts.clock.now()

        def work(connection: Connection) -> tuple[Secret, bool]:
            sealed = self._parts.vault.sealed(where, name, value)
            is_new = secrets.put(connection, where, name, sealed, user=caller.user, now=now)
            record(connection, caller, "secret.put", f"secret {name}", now=now, namespace=where)
            return _found(secrets.get(connection, where, name), name), is_new

        async with self._parts.vault.sealing():
            return await self._parts.database.write(work)

    async def list(self, caller: Caller, namespace: str | None, *, page: Page) -> tuple[int, list[Secret]]:
        """How many secrets the namespace has, and one page of what is known of them, by name.

        Raises:
            ForbiddenError: the caller is bound to another namespace.
        """
        where = namespace or caller.home
        demand(caller, Role.VIEWER, where)
        return await self._parts.database.read(
            lambda connection: secrets.page(connection, where, offset=page.offset, limit=page.size)
        )

    async def get(self, caller: Caller, namespace: str | None, name: str) -> Secret:
        """What is known of one secret.

        Raises:
            NotFoundError: there is none of that name.
            ForbiddenError: the caller is bound to another namespace.
        """
        where = namespace or caller.home
        demand(caller, Role.VIEWER, where)
        found = await self._parts.database.read(lambda connection: secrets.get(connection, where, name))
        return _found(found, name)

    async def delete(self, caller: Caller, namespace: str | None, name: str) -> None:
        """Remove a secret; runs of jobs that still name it fail.

        Raises:
            NotFoundError: there is none of that name.
            ForbiddenError: the caller may not delete secrets there.
        """
        where = namespace or caller.home
        demand(caller, Role.EDITOR, where)
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            if not secrets.delete(connection, where, name):
                raise _missing(name)
            record(connection, caller, "secret.delete", f"secret {name}", now=now, namespace=where)

        await self._parts.database.write(work)


def _found(secret: Secret | None, name: str) -> Secret:
    if secret is None:
        raise _missing(name)
    return secret


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"There is no secret named '{name[:128]}'")
