"""Namespaces that are in use, as far as callers may see them."""

from __future__ import annotations

from scheduler.access.callers import Caller
from scheduler.store import accounts
from scheduler.usecases.parts import Parts


class NamespaceUseCases:
    """Use cases for namespaces."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list(self, caller: Caller) -> dict[str, int]:
        """The namespaces in use that the caller may see, with their number of jobs, by name."""
        return await self._parts.database.read(
            lambda connection: accounts.namespaces(connection, caller.namespace)
        )
