"""Secrets as files: which directories in memory hold them, and whose they are. Pure.

Each directory that holds one is a file system in memory of its own, mounted over whatever the image has there.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scheduler.domain.errors import FieldError
from scheduler.domain.job import ContainerOptions

MOST_FILES: Final = 32
#: Each is a mount, and takes a moment at the start.
MOST_DIRECTORIES: Final = 4
#: The most that all files of a run can take up, and what the file system itself needs.
DIRECTORY_BYTES: Final = 4 * 1024 * 1024
#: Directories that an image needs for itself, or that are mounted by the engine.
_NEEDED: Final = frozenset(
    {
        *("/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/srv"),
        *("/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local", "/usr/local/bin"),  # noqa: S108
        *("/usr/local/lib", "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/run"),
    }
)
#: Whom a number means is known outside of the image; a name, only inside.
_NUMBERS: Final = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?::.*)?", re.ASCII)
#: A tar's last blocks (POSIX.1-2017, pax, ustar Interchange Format): two of zeros.
ARCHIVE_END: Final = bytes(1024)


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file in memory that a container finds at its start.

    Attributes:
        path: absolute, in the container.
        content: its bytes.
        owner: user and group; None if everybody in the container may read it.
    """

    path: str
    content: bytes = field(repr=False)
    owner: tuple[int, int] | None = None


def directories_of(paths: Iterable[str]) -> tuple[str, ...]:
    """The directories in memory that files need, sorted; one below another is a part of that."""
    found: list[str] = []
    for directory in sorted({posixpath.dirname(path) for path in paths}):
        if not any(is_within(directory, other) for other in found):
            found.append(directory)
    return tuple(found)


def is_within(path: str, directory: str) -> bool:
    """Whether a path is the directory or lies below it."""
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def owner_of(user: str | None) -> tuple[int, int] | None:
    """Whose a file is that a container's user is to read alone; None if that is not known outside of the image."""
    found = _NUMBERS.fullmatch(user or "")
    return None if found is None else (int(found[1]), int(found[2] or 0))


def files_of(paths: Mapping[str, str], values: Mapping[str, str], user: str | None) -> tuple[SecretFile, ...]:
    """The files of a run, sorted by path.

    Args:
        paths: the secret's name, by the file's path.
        values: the secrets.
        user: whom the run's processes run as, as its job says it.
    """
    owner = owner_of(user)
    return tuple(SecretFile(path, values[name].encode(), owner) for path, name in sorted(paths.items()))


def archive_of(files: Sequence[SecretFile], directory: str, *, mtime: int) -> bytes:
    """The files below a directory as a tar without its end, in their order.

    Args:
        files: of which those elsewhere are left out.
        directory: what their paths are relative to.
        mtime: when they were last changed, in seconds since 1970.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        made = set[str]()
        for file in files:
            if not is_within(file.path, directory):
                continue
            name = posixpath.relpath(file.path, directory)
            for folder in _above(name):
                if folder not in made:
                    made.add(folder)
                    entry = tarfile.TarInfo(folder)
                    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, mtime
                    tar.addfile(entry)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(file.content), mtime
            entry.mode = 0o444 if file.owner is None else 0o400
            entry.uid, entry.gid = file.owner or (0, 0)
            tar.addfile(entry, io.BytesIO(file.content))
        length = tar.offset
    return buffer.getvalue()[:length]


def _above(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def check_secret_files(options: ContainerOptions) -> list[FieldError]:
    """What is wrong with where the files are to be; empty if nothing is."""
    errors = []
    directories = directories_of(options.secret_files)
    if len(directories) > MOST_DIRECTORIES:
        errors.append(
            FieldError(
                "secret_files",
                list(directories),
                f"needs {len(directories)} directories in memory",
                f"use {MOST_DIRECTORIES} at most, such as /run/secrets; others may lie below one of them",
            )
        )
    for directory in directories:
        first = next(path for path in sorted(options.secret_files) if is_within(path, directory))
        name = f"secret_files.{first}"
        if directory in _NEEDED:
            errors.append(
                FieldError(
                    name,
                    first,
                    f"would hide all that the image has in {directory}, as a directory in memory is put over it",
                    "choose a directory of their own, such as /run/secrets/db",
                )
            )
        errors += [
            FieldError(
                name,
                first,
                f"lies in {directory}, which the mount at {mount.target} meets",
                "choose a directory that is neither below nor above a mount",
            )
            for mount in options.mounts
            if is_within(directory, mount.target) or is_within(mount.target, directory)
        ]
    files = set(options.secret_files)
    errors += [
        FieldError(f"secret_files.{path}", path, f"is below {other}, which is a file", "choose another path")
        for path in sorted(files)
        for other in sorted(files)
        if path != other and is_within(path, other)
    ]
    return errors
