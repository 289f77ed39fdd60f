"""`timeball backup FILE`: fetches a copy of a daemon's database while it goes on serving."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from api.cli.failing import explained

if TYPE_CHECKING:
    import http.client

    from api.client import Client

#: Bytes that are read at a time.
PIECE: Final = 256 * 1024
#: Seconds that the daemon may take to make the copy before it sends anything; a large database takes long.
PATIENCE: Final = 3600.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the daemon's token file is.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
@explained
def backup(file: Path, *, force: bool, data_dir: Path | None, as_json: bool) -> None:
    """Write a copy of the daemon's database to FILE, for `timeball restore`.

    The daemon goes on serving meanwhile; the copy is what was stored at one moment. It holds what runs printed and
    jobs' variables, so FILE is for its owner alone. An administrator's token is needed.
    """
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no directory {file.parent}")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; name another file, or replace it with --force")
    size, taken_at = fetch(connect(data_dir), file, force=force)
    if as_json:
        click.echo(json.dumps({"file": str(file.absolute()), "bytes": size, "taken_at": taken_at}))
    else:
        click.echo(f"{file}: {size} bytes, as of {taken_at}")


def fetch(client: Client, file: Path, *, force: bool) -> tuple[int, str]:
    """Write the copy under a temporary name, sync it, and only then give it its own.

    Returns:
        Its size in bytes, and when it was taken.
    """
    from api.client import ClientError  # noqa: PLC0415 - loaded already

    draft = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        if sys.stderr.isatty():
            click.echo("The daemon takes a copy…", err=True)
        with client.open("GET", "/v1/backup", timeout=PATIENCE) as answer:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                size = _save(answer, target, client.url)
                target.flush()
                os.fsync(target.fileno())
        _put_in_place(draft, file, force=force)
    except OSError as error:
        raise ClientError(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return size, answer.headers.get("X-Timeball-Taken-At", "")


def _save(answer: http.client.HTTPResponse, target: IO[bytes], url: str) -> int:
    from http.client import HTTPException  # noqa: PLC0415 - loaded already

    from api.client import UnreachableError  # noqa: PLC0415 - loaded already

    expected = answer.length
    done = 0
    bar = click.progressbar(
        length=expected or 0, label="Fetching", file=sys.stderr, hidden=not sys.stderr.isatty()
    )
    with bar:
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
