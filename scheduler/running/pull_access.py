"""By whose right a run's image is pulled, or used where it is on the engine already.

An engine hands every image that it has to whoever names it, also one that another namespace's credential has pulled.
So an image of a registry that somebody has a credential for is used by a namespace only once that namespace has
pulled it itself.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import quote

from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.execution import Exec
from scheduler.domain.registry import Login, registry_of
from scheduler.engine.errors import ImagePullError
from scheduler.engine.protocol import ImageInfo
from scheduler.secrets.masking import SHORTEST
from scheduler.secrets.vault import SecretUnavailableError, Vault
from scheduler.store import registries
from scheduler.store.database import Database


@dataclass(frozen=True, slots=True)
class PullAccess:
    """The right of one run to its image.

    Attributes:
        namespace: the run's.
        image: as the run names it.
        host: the image's registry; None if its name has none that credentials are stored for.
        login: the namespace's credential for it; None if it has none.
        is_private: whether any namespace has one.
    """

    database: Database
    clock: Clock
    namespace: str
    image: str
    host: str | None
    login: Login | None
    is_private: bool

    async def allows(self, image: ImageInfo) -> bool:
        """Whether the namespace may use an image that is on the engine without asking the registry.

        Raises:
            UnavailableError: the database refused.
        """
        # One that was built or loaded on the engine was pulled with nobody's credential.
        if not self.is_private or not image.is_from_registry:
            return True
        now = self.clock.now()
        return await self.database.read(
            lambda connection: registries.is_granted(
                connection, self.namespace, self.image, image.image_id, now=now
            )
        )

    async def grant(self, image: ImageInfo) -> None:
        """Remember that the registry gave the image to the namespace just now.

        Raises:
            UnavailableError: the database refused.
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
        """The error with what is known of the credential, and without its password."""
        words = _without(str(error), self.login)
        if error.is_denied and self.host is not None:
            path = f"/v1/registries/{self.host}?namespace={quote(self.namespace)}"
            words += (
                f" (the registry {self.host} does not accept the credential stored for the namespace "
                f"'{self.namespace}', whose user name is '{self.login.username}', or that user may not pull this "
                f"image; set it anew with PUT {path})"
                if self.login is not None
                else f" (the namespace '{self.namespace}' has no credential for the registry {self.host}; if the "
                f"image is private, store one with PUT {path})"
            )
        return error.saying(words)


def _without(words: str, login: Login | None) -> str:
    """The words without a password that a registry says back."""
    if login is None or len(login.password) < SHORTEST:
        return words
    pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    return words.replace(login.password, "***").replace(pair, "***")


async def pull_access(one: Exec, database: Database, clock: Clock, vault: Vault) -> PullAccess:
    """By what right a run has its image.

    Raises:
        ImagePullError: its namespace's credential cannot be opened.
        UnavailableError: the database refused.
    """
    host = registry_of(one.spec.docker_image_repo)
    login, is_private = None, False
    if host is not None:

        def work(connection: Connection) -> bool:
            return registries.is_private(connection, host)

        is_private = await database.read(work)
    if host is not None and is_private:
        try:
            login = await vault.login(one.namespace, host)
        except SecretUnavailableError as error:
            raise ImagePullError(f"image {one.spec.image} cannot be pulled: {error}") from error
    return PullAccess(database, clock, one.namespace, one.spec.image, host, login, is_private)
