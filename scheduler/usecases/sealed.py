"""What secrets and credentials for registries share: they belong to a namespace and are never read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import Caller, Role, demand
from scheduler.domain.errors import NotFoundError
from scheduler.domain.views import Page
from scheduler.usecases.parts import Parts

T = TypeVar("T")


class Rows(Protocol[T]):
    """What is needed of the store's module."""

    def get(self, connection: Connection, namespace: str, key: str, /) -> T | None:
        """What is known of a row, or None."""

    def page(
        self, connection: Connection, namespace: str, /, *, offset: int, limit: int
    ) -> tuple[int, list[T]]:
        """The number of rows and some of them."""

    def delete(self, connection: Connection, namespace: str, key: str, /) -> bool:
        """Delete a row; returns whether it existed."""


class SealedUseCases(Generic[T]):
    """Storing, listing, reading and deleting what is sealed.

    Args:
        parts: of the daemon.
        rows: the store's module.
        kind: the noun in the audit log and its actions.
        missing: the sentence for a name that does not exist.
    """

    def __init__(self, parts: Parts, rows: Rows[T], *, kind: str, missing: Callable[[str], str]) -> None:
        self._parts = parts
        self._rows = rows
        self._kind = kind
        self._missing = missing

    async def _put(
        self, caller: Caller, namespace: str | None, key: str, store: Callable[[Connection, str], bool]
    ) -> tuple[T, bool]:
        """Store a row with `store`; returns what is known of it, and whether it is new."""
        where = namespace or caller.home
        demand(caller, Role.EDITOR, where)
        now = self._parts.clock.now()

        def work(connection: Connection) -> tuple[T, bool]:
            is_new = store(connection, where)
            action, stored = f"{self._kind}.put", f"{self._kind} {key}"
            record(connection, caller, action, stored, now=now, namespace=where)
            return self._found(self._rows.get(connection, where, key), key), is_new

        async with self._parts.vault.sealing():
            return await self._parts.database.write(work)

    async def list(self, caller: Caller, namespace: str | None, *, page: Page) -> tuple[int, list[T]]:
        """The number of entries in the namespace, and one page of what is known of them, by name.

        Raises:
            ForbiddenError: the caller is limited to another namespace.
        """
        where = namespace or caller.home
        demand(caller, Role.VIEWER, where)
        return await self._parts.database.read(
            lambda connection: self._rows.page(connection, where, offset=page.offset, limit=page.size)
        )

    async def get(self, caller: Caller, namespace: str | None, key: str) -> T:
        """What is known of one entry.

        Raises:
            NotFoundError: it does not exist.
            ForbiddenError: the caller is limited to another namespace.
        """
        where = namespace or caller.home
        demand(caller, Role.VIEWER, where)
        found = await self._parts.database.read(lambda connection: self._rows.get(connection, where, key))
        return self._found(found, key)

    async def delete(self, caller: Caller, namespace: str | None, key: str) -> None:
        """Delete an entry.

        Raises:
            NotFoundError: it does not exist.
            ForbiddenError: the caller may not delete it.
        """
        where = namespace or caller.home
        demand(caller, Role.EDITOR, where)
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            if not self._rows.delete(connection, where, key):
                raise NotFoundError(self._missing(key[:128]))
            action, deleted = f"{self._kind}.delete", f"{self._kind} {key}"
            record(connection, caller, action, deleted, now=now, namespace=where)

        await self._parts.database.write(work)

    def _found(self, found: T | None, key: str) -> T:
        if found is None:
            raise NotFoundError(self._missing(key[:128]))
        return found
