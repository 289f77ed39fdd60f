"""The secrets of one run: their values for its container, and their masking in its output."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from scheduler.domain.execution import Exec
from scheduler.domain.job import Variable
from scheduler.domain.secret import names_in, resolved, secrets_of
from scheduler.domain.secret_files import SecretFile, files_of
from scheduler.logs.resume import EngineFrame
from scheduler.secrets.masking import Masks
from scheduler.secrets.vault import SecretUnavailableError, Vault


class Secrecy:
    """The secrets of one run, as they were when it was loaded.

    Attributes:
        environment: its variables including the secrets' values; None if a secret is not available.
        files: its secret files; None if a secret is not available.
        trouble: why a secret is not available, for people.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None,
        values: Sequence[str],
        trouble: str | None,
        files: Sequence[SecretFile] | None = (),
    ) -> None:
        self.environment = environment
        self.files = files
        self.trouble = trouble
        self._values = values

    def as_in(self, container: Mapping[str, str], variables: Mapping[str, Variable]) -> Secrecy:
        """These secrets and the values in a container: a secret may have been changed or deleted since.

        Args:
            container: the variables that the container was created with.
            variables: the variables of its run.
        """
        theirs = {
            container[name] for name, value in variables.items() if name in container and names_in([value])
        }
        return Secrecy(self.environment, tuple({*self._values, *theirs}), self.trouble, self.files)

    def masks(self) -> Masks:
        """The masks for one reading of the output."""
        return Masks(self._values)

    @asynccontextmanager
    async def hidden(
        self, opened: AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]], *, is_whole: bool
    ) -> AsyncIterator[AsyncIterator[Sequence[EngineFrame]]]:
        """The engine's copy of the output from its beginning, with the secrets masked.

        Args:
            opened: the copy.
            is_whole: whether it ends with the end of the output, so that nothing follows that could complete a
                secret.
        """

        async def batches(
            source: AsyncIterator[Sequence[EngineFrame]],
        ) -> AsyncIterator[Sequence[EngineFrame]]:
            masks = self.masks()
            async for frames in source:
                yield masks.hide(frames)
            if is_whole:
                yield masks.rest()

        async with opened as source:
            yield batches(source)


async def secrecy_of(run: Exec, vault: Vault) -> Secrecy:
    """The secrets that a run uses.

    If one is not available, the others are masked nevertheless, because its container may already be running.

    Raises:
        UnavailableError: the database failed.
    """
    variables, paths = run.spec.runtime_vars, run.spec.secret_files
    values: dict[str, str] = {}
    trouble = None
    for name in sorted(secrets_of(variables, paths)):
        try:
            values |= await vault.values(run.namespace, [name])
        except SecretUnavailableError as error:
            trouble = trouble or str(error)
    if trouble is not None:
        return Secrecy(None, tuple(values.values()), trouble, None)
    files = files_of(paths, values, run.spec.user)
    return Secrecy(resolved(variables, values), tuple(values.values()), None, files)
