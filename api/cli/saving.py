"""Writes a response to a file, completely or not at all, and shows the progress."""

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

#: Bytes read at a time.
PIECE: Final = 256 * 1024
#: Seconds between two updates of the progress.
_PAUSE: Final = 0.1


class Counter:
    """Shows the number of bytes received so far, if the total is unknown."""

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
        """Add a number of bytes received."""
        self._bytes += size
        if not self._hidden and time.monotonic() - self._shown_at > _PAUSE:
            self._shown_at = time.monotonic()
            self._show()

    def _show(self) -> None:
        click.echo(f"\r{self._label}  {self._bytes / 1e6:.1f} MB", nl=False, err=True)


def meter(label: str, length: int | None, *, hidden: bool) -> AbstractContextManager[Any]:
    """A progress bar on standard error, or a counter if the length is unknown. Shown only on a terminal.

    Its `update` takes the number of bytes since the last update.
    """
    hidden = hidden or not sys.stderr.isatty()
    if length is None:
        return Counter(label, hidden=hidden)
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden)


def check_place(file: Path, *, force: bool) -> None:
    """Check that a file can be written.

    Raises:
        UsageError: its directory does not exist, or the file exists and must not be replaced.
    """
    from api.client import UsageError

    if not file.parent.is_dir():
        raise UsageError(f"Cannot write {file}: the directory {file.parent} does not exist.")
    if file.exists() and not force:
        raise UsageError(f"{file} already exists. Choose another file, or replace it with --force.")


def save(
    opened: AbstractContextManager[http.client.HTTPResponse],
    file: Path,
    url: str,
    *,
    force: bool,
    quiet: bool,
) -> tuple[int, str]:
    """Write a response to a temporary file, sync it, and rename it. Only the owner can read the file.

    Args:
        opened: the response.
        file: the file to write; see `check_place`.
        url: the daemon's address, for errors.
        force: replace an existing file.
        quiet: show no progress.

    Returns:
        The size in bytes, and the time of the data, if the daemon sends it.

    Raises:
        ClientError: the file cannot be written, or the connection broke.
    """
    from api.client import ClientError

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
        raise ClientError(f"Cannot write {file}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return size, answer.headers.get("X-Timeball-Taken-At", "")


def _copy(answer: http.client.HTTPResponse, target: IO[bytes], url: str, *, quiet: bool) -> int:
    from http.client import HTTPException

    from api.client import UnreachableError

    expected = answer.length
    done = 0
    with meter("Downloading", expected, hidden=quiet) as bar:
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
    from api.client import UsageError

    if force:
        draft.replace(file)
    else:
        try:
            os.link(draft, file)  # unlike a rename, never replaces a file created in the meantime
        except FileExistsError as error:
            raise UsageError(
                f"{file} was created in the meantime. Choose another file, or replace it with --force."
            ) from error
        except OSError:  # a file system without hard links
            draft.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
