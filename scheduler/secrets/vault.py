"""Seals secrets for the database, and opens them only for the runs that use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain.errors import TimeballError
from scheduler.domain.registry import Login
from scheduler.secrets.sealing import Keyring, SealError
from scheduler.store import hooks, registries, secrets
from scheduler.store.database import Database

log = structlog.get_logger()

_PLACE: Final = "secret"
#: A webhook's secret is sealed before the webhook has an id.
_HOOK: Final = "hook"
_REGISTRY: Final = "registry"


class SecretUnavailableError(TimeballError):
    """A secret that a run uses does not exist or cannot be opened; the message names the secret and the remedy."""


class Vault:
    """The secrets of all namespaces.

    Args:
        database: where the sealed secrets are stored.
        keyring: seals and opens them.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._sealings: dict[asyncio.Event, None] = {}

    @property
    def key(self) -> str:
        """The id of the current key."""
        return self._keyring.current

    @asynccontextmanager
    async def sealing(self) -> AsyncIterator[None]:
        """Context for sealing and storing a secret, so that no key is dropped in between."""
        done = asyncio.Event()
        self._sealings[done] = None
        try:
            yield
        finally:
            del self._sealings[done]
            done.set()

    async def take_over(
        self, keyring: Keyring, note: Callable[[Connection, Keyring], None]
    ) -> tuple[int, int]:
        """Use other keys from now on, and seal everything stored with the first of them.

        Args:
            keyring: the new keys; they must also open what the current ones open.
            note: called in the transaction that seals everything again.

        Returns:
            How many secrets were sealed again, and how many cannot be opened with any key.

        Raises:
            UnavailableError: the database failed; the new keys are in use nevertheless.
        """
        self._keyring = keyring
        for earlier in tuple(self._sealings):
            await earlier.wait()

        def work(connection: Connection) -> tuple[int, list[str]]:
            note(connection, keyring)
            return self._renew(connection)

        renewed, lost = await self._database.write(work)
        self._log_result(renewed, lost)
        return renewed, len(lost)

    def sealed(self, namespace: str, name: str, value: str) -> str:
        """A value as it is stored; it can only be opened for the same secret."""
        return self._keyring.seal(value, _place(namespace, name))

    def sealed_for_hook(self, secret: str) -> str:
        """A webhook's secret as it is stored."""
        return self._keyring.seal(secret, _HOOK)

    def of_hook(self, stored: str) -> str:
        """A webhook's secret from its stored form.

        Raises:
            SealError: it cannot be opened.
        """
        return self._keyring.unseal(stored, _HOOK)

    async def values(self, namespace: str, names: Collection[str]) -> dict[str, str]:
        """The values of secrets, by name.

        Raises:
            SecretUnavailableError: a secret does not exist or cannot be opened.
            UnavailableError: the database failed.
        """
        sealed = await self._database.read(lambda connection: secrets.sealed(connection, namespace, names))
        if missing := sorted(set(names) - set(sealed)):
            raise SecretUnavailableError(
                f"The secret '{missing[0]}' does not exist in namespace '{namespace}'; create it there"
            )
        values = {}
        for name, stored in sealed.items():
            try:
                values[name] = self._keyring.unseal(stored, _place(namespace, name))
            except SealError as error:
                raise SecretUnavailableError(f"The secret '{name}' cannot be opened: {error}") from error
        return values

    def sealed_for_registry(self, namespace: str, login: Login) -> str:
        """A password as it is stored; it can only be opened for the same namespace, registry and user name."""
        return self._keyring.seal(login.password, _registry_place(namespace, login.host, login.username))

    async def login(self, namespace: str, host: str) -> Login | None:
        """The credential of a namespace for a registry, if there is one.

        Raises:
            SecretUnavailableError: it cannot be opened.
            UnavailableError: the database failed.
        """
        credential = await self._database.read(
            lambda connection: registries.sealed(connection, namespace, host)
        )
        if credential is None:
            return None
        username, stored = credential
        try:
            password = self._keyring.unseal(stored, _registry_place(namespace, host, username))
        except SealError as error:
            raise SecretUnavailableError(f"The credential for {host} cannot be opened: {error}") from error
        return Login(host, username, password)

    async def renew(self) -> None:
        """Seal with the current key what a previous one has sealed; log and leave what cannot be opened."""
        self._log_result(*await self._database.write(self._renew))

    def _log_result(self, renewed: int, lost: list[str]) -> None:
        if renewed:
            log.info("secrets.sealed_anew", count=renewed, key=self._keyring.current)
        for place in lost:
            log.warning(
                "secrets.cannot_be_opened", secret=place, remedy="add its key, or set the secret again"
            )

    def _renew(self, connection: Connection) -> tuple[int, list[str]]:
        lost: list[str] = []
        count = 0
        for stored, place, shown, reseal in _all_sealed(connection):
            if self._keyring.is_current(stored):
                continue
            try:
                after = self._keyring.seal(self._keyring.unseal(stored, place), place)
            except SealError:
                lost.append(shown)
                continue
            reseal(stored, after)
            count += 1
        return count, lost


def _all_sealed(connection: Connection) -> Iterator[tuple[str, str, str, Callable[[str, str], None]]]:
    """Everything sealed: its stored form, its place, its name for people, and a function that replaces it."""
    for namespace, name, stored in secrets.all_sealed(connection):
        place = _place(namespace, name)
        yield stored, place, place, partial(secrets.reseal, connection, namespace, name)
    for hook_id, stored in hooks.all_sealed(connection):
        yield stored, _HOOK, f"hook {hook_id}", partial(hooks.reseal, connection, hook_id)
    for namespace, host, username, stored in registries.all_sealed(connection):
        place = _registry_place(namespace, host, username)
        yield (
            stored,
            place,
            f"registry {namespace}/{host}",
            partial(registries.reseal, connection, namespace, host),
        )


def _place(namespace: str, name: str) -> str:
    return f"{_PLACE}:{namespace}/{name}"


def _registry_place(namespace: str, host: str, username: str) -> str:
    return f"{_REGISTRY}:{namespace}/{host}/{username}"
