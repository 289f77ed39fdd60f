"""The data directory: created for its owner only, locked by one daemon at a time, and identified by an id."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import structlog

from scheduler.domain import chance
from scheduler.domain.errors import SettingsError

log = structlog.get_logger()

LOCK_FILE: Final = "daemon.lock"
INSTANCE_FILE: Final = "instance"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file's name
#: The daemon's files in its directory, and the permissions that only their owner keeps.
OWN_FILES: Final = ("timeball.db*", TOKEN_FILE, INSTANCE_FILE, LOCK_FILE, "backup-*", "secret.key")
OTHERS: Final = 0o077


def prepare_directory(path: Path) -> Path:
    """Create the directory if it is missing, and make its files accessible only to their owner.

    Raises:
        SettingsError: the directory cannot be created or written to.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission to write there")
    except OSError as error:
        raise SettingsError(
            f"data_dir {path}: {error.strerror or error}. Choose another directory with --data-dir, or fix its "
            "permissions"
        ) from error
    _make_private(path)
    return path


def _make_private(path: Path) -> None:
    """Remove permissions for others that files have from an earlier version or from being copied."""
    if path.stat().st_mode & OTHERS:
        log.warning("data_dir.open_to_others", data_dir=str(path), remedy=f"chmod 700 {path}")
    for file in (file for pattern in OWN_FILES for file in path.glob(pattern)):
        try:
            if (mode := file.stat().st_mode) & OTHERS:
                file.chmod(stat.S_IMODE(mode) & ~OTHERS)
        except OSError as error:  # owned by another user, or a read-only file system
            log.warning("data_dir.file_open_to_others", file=str(file), error=error.strerror)


def lock_directory(path: Path) -> IO[str]:
    """Lock the directory for this process, until the file is closed.

    Raises:
        SettingsError: another daemon has locked it.
    """
    file = (path / LOCK_FILE).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SettingsError(
            f"data_dir {path}: another daemon is using it. Stop that daemon, or choose another directory with "
            "--data-dir"
        ) from error
    return file


def instance_id(path: Path) -> str:
    """The id of this directory's daemon, the same after every restart: the lock proves that the earlier one ended."""
    file = path / INSTANCE_FILE
    with suppress(FileNotFoundError):
        if stored := file.read_text(encoding="ascii").strip():
            return stored
    created = chance.new_hex()
    draft = file.with_suffix(".new")
    draft.write_text(created + "\n", encoding="ascii")
    draft.replace(file)
    return created
