"""The data directory: made, for its owner alone, held by one daemon at a time, and known by an id of its own."""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import structlog

from scheduler.domain.errors import SettingsError

log = structlog.get_logger()

LOCK_FILE: Final = "daemon.lock"
INSTANCE_FILE: Final = "instance"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file's name
#: What the daemon keeps in its directory, and the permissions that nobody but its owner has there.
OWN_FILES: Final = ("timeball.db*", TOKEN_FILE, INSTANCE_FILE, LOCK_FILE, "backup-*", "secret.key")
OTHERS: Final = 0o077


def prepare_directory(path: Path) -> Path:
    """Make the directory if it is not there, and its files their owner's alone.

    Raises:
        SettingsError: it cannot be made, or nothing can be written there.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission to write there")
    except OSError as error:
        raise SettingsError(
            f"data_dir {path}: {error.strerror or error}. Name another with --data-dir, or mend its permissions"
        ) from error
    _make_private(path)
    return path


def _make_private(path: Path) -> None:
    """Take from others what an earlier start, or whoever copied the files, let them read."""
    if path.stat().st_mode & OTHERS:
        log.warning("data_dir.open_to_others", data_dir=str(path), remedy=f"chmod 700 {path}")
    for file in (found for pattern in OWN_FILES for found in path.glob(pattern)):
        try:
            if (mode := file.stat().st_mode) & OTHERS:
                file.chmod(stat.S_IMODE(mode) & ~OTHERS)
        except OSError as error:  # another user's, or a read-only file system
            log.warning("data_dir.file_open_to_others", file=str(file), error=error.strerror)


def lock_directory(path: Path) -> IO[str]:
    """Hold the directory for this process alone, until the file is closed.

    Raises:
        SettingsError: another daemon holds it.
    """
    file = (path / LOCK_FILE).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SettingsError(
            f"data_dir {path}: another daemon uses it. Stop that one, or name another with --data-dir"
        ) from error
    return file


def instance_id(path: Path) -> str:
    """This directory's daemon, the same after every restart: the lock proves that the earlier one is gone."""
    file = path / INSTANCE_FILE
    with suppress(FileNotFoundError):
        if found := file.read_text(encoding="ascii").strip():
            return found
    made = uuid.uuid4().hex
    draft = file.with_suffix(".new")
    draft.write_text(made + "\n", encoding="ascii")
    draft.replace(file)
    return made
