"""Whether a namespace may pull a run's image, or use it if it is already on the engine.

An engine lets anyone who knows an image's name use it, even if it was pulled with another namespace's credential.
Therefore, a namespace may only use an image of a registry with stored credentials after it has pulled the image
itself.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.execution import Exec
from scheduler.domain.registry import Login, registry_of
from scheduler.engine.errors import ImagePullError
from scheduler.engine.types import ImageInfo
from scheduler.secrets.masking import SHORTEST
from scheduler.secrets.vault import SecretUnavailableError, Vault
from scheduler.store import registries
from scheduler.store.database import Database


@dataclass(frozen=True, slots=True)
class PullAccess:
    """The access of one run to its image.

    Attributes:
        namespace: the run's namespace.
        image: the image as the run names it.
        host: the image's registry; None if it is not a registry that credentials can be stored for.
        login: the namespace's credential for the registry; None if there is none.
        is_private: whether any namespace has a credential for the registry.
    """

    database: Database
    clock: Clock
    namespace: str
    image: str
    host: str | None
    login: Login | None
    is_private: bool

    async def allows(self, image: ImageInfo) -> bool:
        """Whether the namespace may use an image on the engine without asking the registry.

        Raises:
            UnavailableError: the database failed.
        """
        # Decided by the name alone: what an engine says of an image does not show whether it came from a registry.
        if not self.is_private:
            return True
        now = self.clock.now()
        return await self.database.read(
            lambda connection: registries.is_granted(
                connection, self.namespace, self.image, image.image_id, now=now
            )
        )

    async def grant(self, image: ImageInfo) -> None:
        """Record that the registry has just given the image to the namespace.

        Raises:
            UnavailableError: the database failed.
        """
        host = self.host
        if not self.is_private or host is None:
            return
        now = self.clock.now()
        await self.database.write(
            lambda connection: registries.grant(
                connection, self.namespace, self.image, image.image_id, host=host, now=now
            )
        )

    def explained(self, error: ImagePullError) -> ImagePullError:
        """The error with information about the credential, but without its password."""
        words = _without(str(error), self.login)
        if error.is_denied and self.host is not None:
            words += (
                f" (registry {self.host} does not accept the credential of namespace '{self.namespace}' with the "
                f"user name '{self.login.username}', or that user may not pull this image; set the credential for "
                f"registry {self.host} again)"
                if self.login is not None
                else f" (namespace '{self.namespace}' has no credential for registry {self.host}; if the image is "
                f"private, set the credential for registry {self.host} in this namespace)"
            )
        return error.saying(words)


def _without(words: str, login: Login | None) -> str:
    """The message without a password that a registry repeats."""
    if login is None or len(login.password) < SHORTEST:
        return words
    pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    return words.replace(login.password, "***").replace(pair, "***")


async def pull_access(run: Exec, database: Database, clock: Clock, vault: Vault) -> PullAccess:
    """The access of a run to its image.

    Raises:
        ImagePullError: its namespace's credential cannot be opened.
        UnavailableError: the database failed.
    """
    host = registry_of(run.spec.docker_image_repo)
    login, is_private = None, False
    if host is not None:

        def work(connection: Connection) -> bool:
            return registries.is_private(connection, host)

        is_private = await database.read(work)
    if host is not None and is_private:
        try:
            login = await vault.login(run.namespace, host)
        except SecretUnavailableError as error:
            raise ImagePullError(f"image {run.spec.image} cannot be pulled: {error}") from error
    return PullAccess(database, clock, run.namespace, run.spec.image, host, login, is_private)
