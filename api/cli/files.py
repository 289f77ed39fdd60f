"""Reads the files that commands are given, and writes files completely or not at all."""

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
    """The display name and contents of each file. Directories stand for their YAML and JSON files, sorted by name.

    Raises:
        UsageError: a file cannot be read, or a directory contains no such file.
    """
    from api.client import UsageError

    for name in names:
        if name == STANDARD_INPUT:
            yield "<stdin>", sys.stdin.buffer.read()
            continue
        path = Path(name)
        try:
            if path.is_dir():
                found = sorted(
                    file for file in path.iterdir() if file.suffix in _SUFFIXES and file.name[0] != "."
                )
                if not found:
                    raise UsageError(
                        f"The directory {name} contains no files that end in {', '.join(_SUFFIXES)}."
                    )
                yield from ((str(file), file.read_bytes()) for file in found)
            else:
                yield name, path.read_bytes()
        except OSError as error:
            raise UsageError(f"Cannot read {error.filename or name}: {error.strerror}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a text to a file. If an error occurs, the file keeps its old contents.

    Raises:
        UsageError: the file cannot be written.
    """
    from api.client import UsageError

    try:
        if path.exists() and not path.is_file():  # such as /dev/stdout, which cannot be replaced
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
        raise UsageError(f"Cannot write {path}: {error.strerror}") from error


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found
