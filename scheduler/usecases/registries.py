"""Credentials for registries: set by editors, used by the pulls of their namespace's runs, read by nobody."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import Caller, Role, demand
from scheduler.domain.errors import NotFoundError
from scheduler.domain.registry import Login, Registry
from scheduler.domain.views import Page
from scheduler.store import registries
from scheduler.usecases.parts import Parts


class RegistryUseCases:
    """What callers do with credentials for registries."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def put(self, caller: Caller, namespace: str | None, login: Login) -> tuple[Registry, bool]:
        """Store a credential or replace it; what is known of it, and whether it is new.

        Args:
            caller: an editor of the namespace.
            namespace: whose runs pull with it; None for the caller's own.
            login: what the registry is shown; the password is never shown again.

        Raises:
            ForbiddenError: the caller may not define credentials there.
        """
        where = namespace or caller.home
        demand(caller, Role.EDITOR, where)
        now = self._parts.clock.now()

        def work(connection: Connection) -> tuple[Registry, bool]:
            is_new = registries.put(
                connection,
                where,
                login.host,
                username=login.username,
                sealed=self._parts.vault.sealed_for_registry(where, login),
                user=caller.user,
                now=now,
            )
            record(connection, caller, "registry.put", f"registry {login.host}", now=now, namespace=where)
            return _found(registries.get(connection, where, login.host), login.host), is_new

        async with self._parts.vault.sealing():
            return await self._parts.database.write(work)

    async def list(self, caller: Caller, namespace: str | None, *, page: Page) -> tuple[int, list[Registry]]:
        """How many credentials the namespace has, and one page of what is known of them, by host.

        Raises:
            ForbiddenError: the caller is bound to another namespace.
        """
        where = namespace or caller.home
        demand(caller, Role.VIEWER, where)
        return await self._parts.database.read(
            lambda connection: registries.page(connection, where, offset=page.offset, limit=page.size)
        )

    async def get(self, caller: Caller, namespace: str | None, host: str) -> Registry:
        """What is known of one credential.

        Raises:
            NotFoundError: there is none for that host.
            ForbiddenError: the caller is bound to another namespace.
        """
        where = namespace or caller.home
        demand(caller, Role.VIEWER, where)
        found = await self._parts.database.read(lambda connection: registries.get(connection, where, host))
        return _found(found, host)

    async def delete(self, caller: Caller, namespace: str | None, host: str) -> None:
        """Remove a credential; pulls of the namespace's runs go without it.

        Raises:
            NotFoundError: there is none for that host.
            ForbiddenError: the caller may not delete credentials there.
        """
        where = namespace or caller.home
        demand(caller, Role.EDITOR, where)
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            if not registries.delete(connection, where, host):
                raise _missing(host)
            record(connection, caller, "registry.delete", f"registry {host}", now=now, namespace=where)

        await self._parts.database.write(work)


def _found(registry: Registry | None, host: str) -> Registry:
    if registry is None:
        raise _missing(host)
    return registry


def _missing(host: str) -> NotFoundError:
    return NotFoundError(f"There is no credential for the registry '{host[:128]}'")
