"""The secrets of one run: their values for its container, and their absence from what it prints."""

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
    """What one run has of secrets, as they were when it was taken up.

    Attributes:
        environment: its variables with the secrets' values in them; None if one of them cannot be had.
        files: its secret files; None likewise.
        trouble: why that is so, for people.
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
        """These and the values that a container has: a secret may be another by now, be gone, or not be opened.

        Args:
            container: the variables that it was made with.
            variables: those of its run.
        """
        theirs = {
            container[name] for name, value in variables.items() if name in container and names_in([value])
        }
        return Secrecy(self.environment, tuple({*self._values, *theirs}), self.trouble, self.files)

    def masks(self) -> Masks:
        """What hides them in one reading of the output."""
        return Masks(self._values)

    @asynccontextmanager
    async def hidden(
        self, opened: AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]], *, is_whole: bool
    ) -> AsyncIterator[AsyncIterator[Sequence[EngineFrame]]]:
        """The engine's copy of the output from its beginning, without the secrets in it.

        Args:
            opened: the copy.
            is_whole: whether its end is that of the output, so that nothing follows which could complete a secret.
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


async def secrecy_of(one: Exec, vault: Vault) -> Secrecy:
    """The secrets that a run names.

    Where one cannot be had, those that can are hidden all the same: its container may run already.

    Raises:
        UnavailableError: the database refused.
    """
    variables, paths = one.spec.runtime_vars, one.spec.secret_files
    values: dict[str, str] = {}
    trouble = None
    for name in sorted(secrets_of(variables, paths)):
        try:
            values |= await vault.values(one.namespace, [name])
        except SecretUnavailableError as error:
            trouble = trouble or str(error)
    if trouble is not None:
        return Secrecy(None, tuple(values.values()), trouble, None)
    files = files_of(paths, values, one.spec.user)
    return Secrecy(resolved(variables, values), tuple(values.values()), None, files)
