"""Writes what the daemon sends to a file that is there whole or not at all, and shows how it goes on."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import click

if TYPE_CHECKING:
    import http.client
    from contextlib import AbstractContextManager

#: Bytes that are read at a time.
PIECE: Final = 256 * 1024
#: Seconds between two looks at a figure that grows.
_PAUSE: Final = 0.1


class Counter:
    """Shows how many bytes have come, where nobody knows how many there will be."""

    def __init__(self, label: str, *, hidden: bool) -> None:
        self._label = label
        self._hidden = hidden
        self._bytes = 0
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._hidden and self._shown_at:
            self._show()
            click.echo(err=True)

    def update(self, size: int) -> None:
        """So many more have come."""
        self._bytes += size
        if not self._hidden and time.monotonic() - self._shown_at > _PAUSE:
            self._shown_at = time.monotonic()
            self._show()

    def _show(self) -> None:
        click.echo(f"\r{self._label}  {self._bytes / 1e6:.1f} MB", nl=False, err=True)


def meter(label: str, length: int | None, *, hidden: bool) -> AbstractContextManager[Any]:
    """A bar on standard error, or a figure where the length is not known; nothing unless a terminal looks on.

    Its `update` takes how much has come since.
    """
    hidden = hidden or not sys.stderr.isatty()
    if length is None:
        return Counter(label, hidden=hidden)
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden)


def check_place(file: Path, *, force: bool) -> None:
    """Let pass a file that can be written.

    Raises:
        UsageError: its directory does not exist, or it does and is not to be replaced.
    """
    from api.client import UsageError  # noqa: PLC0415 - loaded when a command runs

    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no directory {file.parent}")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; name another file, or replace it with --force")


def save(
    opened: AbstractContextManager[http.client.HTTPResponse],
    file: Path,
    url: str,
    *,
    force: bool,
    quiet: bool,
) -> tuple[int, str]:
    """Write an answer under a temporary name, sync it, and only then give it its own; for its owner alone.

    Args:
        opened: the answer.
        file: where to; see `check_place`.
        url: of the daemon, for errors.
        force: replace what is there.
        quiet: show nothing of how it goes on.

    Returns:
        Its size in bytes, and when what it holds was taken, if the daemon says so.

    Raises:
        ClientError: it cannot be written, or the connection broke.
    """
    from api.client import ClientError  # noqa: PLC0415 - loaded already

    draft = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with opened as answer:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                size = _copy(answer, target, url, quiet=quiet)
                target.flush()
                os.fsync(target.fileno())
        _put_in_place(draft, file, force=force)
    except OSError as error:
        raise ClientError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return size, answer.headers.get("X-Timeball-Taken-At", "")


def _copy(answer: http.client.HTTPResponse, target: IO[bytes], url: str, *, quiet: bool) -> int:
    from http.client import HTTPException  # noqa: PLC0415 - loaded already

    from api.client import UnreachableError  # noqa: PLC0415 - loaded already

    expected = answer.length
    done = 0
    with meter("Fetching", expected, hidden=quiet) as bar:
        while True:
            try:
                piece = answer.read(PIECE)
            except (OSError, HTTPException) as error:
                raise UnreachableError(f"The connection to {url} broke: {error}") from error
            if not piece:
                break
            target.write(piece)
            done += len(piece)
            bar.update(len(piece))
    if expected is not None and done != expected:
        raise UnreachableError(f"The connection to {url} broke after {done} of {expected} bytes")
    return done


def _put_in_place(draft: Path, file: Path, *, force: bool) -> None:
    from api.client import UsageError  # noqa: PLC0415 - loaded already

    if force:
        draft.replace(file)
    else:
        try:
            os.link(draft, file)  # unlike a renaming, never replaces what came there meanwhile
        except FileExistsError as error:
            raise UsageError(
                f"{file} exists by now; name another file, or replace it with --force"
            ) from error
        except OSError:  # a file system without links
            draft.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
