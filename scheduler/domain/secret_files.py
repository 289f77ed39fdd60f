"""Secrets as files: the in-memory directories that contain them, and the files' owners. Pure.

Each directory is a separate in-memory file system, mounted over what the image has at that path.
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
#: Each directory is a mount, which adds a moment to the start.
MOST_DIRECTORIES: Final = 4
#: Maximum size of all files of a run, and of what the file system itself needs.
DIRECTORY_BYTES: Final = 4 * 1024 * 1024
#: Directories that an image needs itself, or that the engine mounts.
_NEEDED: Final = frozenset(
    {
        *("/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/srv"),
        *("/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local", "/usr/local/bin"),  # noqa: S108
        *("/usr/local/lib", "/usr/sbin", "/usr/share", "/var", "/var/lib", "/var/run"),
    }
)
#: A number identifies a user outside the image; a name only inside it.
_NUMBERS: Final = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?::.*)?", re.ASCII)
#: The end of a tar archive (POSIX.1-2017, pax, ustar Interchange Format): two blocks of zeros.
ARCHIVE_END: Final = bytes(1024)


@dataclass(frozen=True, slots=True)
class SecretFile:
    """An in-memory file that a container finds when it starts.

    Attributes:
        path: absolute path in the container.
        content: the file's bytes.
        owner: user and group; None if everyone in the container may read it.
    """

    path: str
    content: bytes = field(repr=False)
    owner: tuple[int, int] | None = None


def directories_of(paths: Iterable[str]) -> tuple[str, ...]:
    """The in-memory directories that files need, sorted; a directory below another one is part of it."""
    directories: list[str] = []
    for directory in sorted({posixpath.dirname(path) for path in paths}):
        if not any(is_within(directory, other) for other in directories):
            directories.append(directory)
    return tuple(directories)


def is_within(path: str, directory: str) -> bool:
    """Whether a path is the directory or is below it."""
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def owner_of(user: str | None) -> tuple[int, int] | None:
    """The owner of a file that only the container's user may read; None if it is not known outside the image."""
    match = _NUMBERS.fullmatch(user or "")
    return None if match is None else (int(match[1]), int(match[2] or 0))


def files_of(paths: Mapping[str, str], values: Mapping[str, str], user: str | None) -> tuple[SecretFile, ...]:
    """The files of a run, sorted by path.

    Args:
        paths: secret names by file path.
        values: secret values by name.
        user: the user of the run's processes, as the job specifies it.
    """
    owner = owner_of(user)
    return tuple(SecretFile(path, values[name].encode(), owner) for path, name in sorted(paths.items()))


def archive_of(files: Sequence[SecretFile], directory: str, *, mtime: int) -> bytes:
    """The files below a directory as a tar archive without its end, in their order.

    Args:
        files: files elsewhere are left out.
        directory: the directory that the paths in the archive are relative to.
        mtime: the files' modification time, in seconds since 1970.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folders = set[str]()
        for file in files:
            if not is_within(file.path, directory):
                continue
            name = posixpath.relpath(file.path, directory)
            for folder in _above(name):
                if folder not in folders:
                    folders.add(folder)
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
    """The errors in the paths of secret files; empty if there are none."""
    errors = []
    directories = directories_of(options.secret_files)
    if len(directories) > MOST_DIRECTORIES:
        errors.append(
            FieldError(
                "secret_files",
                list(directories),
                f"needs {len(directories)} in-memory directories",
                f"use at most {MOST_DIRECTORIES}, such as /run/secrets; directories below another one do not count",
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
                    f"would hide all files of the image in {directory}: an in-memory directory is mounted there",
                    "choose a separate directory, such as /run/secrets/db",
                )
            )
        errors += [
            FieldError(
                name,
                first,
                f"is in {directory}, which overlaps the mount at {mount.target}",
                "choose a directory that is neither above nor below a mount",
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
