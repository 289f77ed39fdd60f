"""Files that commands are given: read from where they are, and written whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

STANDARD_INPUT: Final = "-"
_SUFFIXES: Final = (".yaml", ".yml", ".json")


def read_all(names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Each file's name as it is to be shown, and what it holds; of a directory its YAML and JSON files, by name.

    Raises:
        UsageError: one of them cannot be read, or a directory holds none.
    """
    from api.client import UsageError  # noqa: PLC0415 - loaded when a command runs

    for name in names:
        if name == STANDARD_INPUT:
            yield "<stdin>", sys.stdin.buffer.read()
            continue
        path = Path(name)
        try:
            if path.is_dir():
                found = sorted(
                    one for one in path.iterdir() if one.suffix in _SUFFIXES and one.name[0] != "."
                )
                if not found:
                    raise UsageError(f"{name} holds no file whose name ends in {', '.join(_SUFFIXES)}")
                yield from ((str(one), one.read_bytes()) for one in found)
            else:
                yield name, path.read_bytes()
        except OSError as error:
            raise UsageError(f"{error.filename or name} cannot be read: {error.strerror}") from error


def write_whole(path: Path, text: str) -> None:
    """Put a text into a file; whatever goes wrong, the file is as it was or has all of it.

    Raises:
        UsageError: it cannot be written.
    """
    from api.client import UsageError  # noqa: PLC0415 - loaded when a command runs

    try:
        if path.exists() and not path.is_file():  # such as /dev/stdout, which is no file to be replaced
            path.write_text(text, encoding="utf-8")
            return
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            try:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), mode)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found
