"""Loads the keys that seal secrets: from the environment, or from a file, which the first start creates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from scheduler.domain.errors import SettingsError
from scheduler.secrets.sealing import Keyring, new_key
from scheduler.settings.settings import Settings

#: The default file, in the data directory.
KEY_FILE: Final = "secret.key"


class KeyFile:
    """The file that contains the keys, for a daemon that rotates them.

    Args:
        path: path of the file, which must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def read(self) -> list[str]:
        """The keys in the file, the current one first.

        Raises:
            OSError: the file cannot be read.
        """
        return _keys_in(self.path.read_text(encoding="ascii"))

    def write(self, keys: Sequence[str]) -> None:
        """Replace the keys in the file; after a crash it contains either the old or the new ones.

        Raises:
            OSError: the file cannot be replaced; it is unchanged.
        """
        draft = self.path.with_name(f"{self.path.name}.new")
        draft.unlink(missing_ok=True)  # left by a crash
        _write_new(draft, keys)
        try:
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def key_file(settings: Settings, data_dir: Path) -> KeyFile | None:
    """The configured key file; None if the keys come from the environment."""
    if settings.secret_key is not None:
        return None
    return KeyFile(_path(settings, data_dir))


def _path(settings: Settings, data_dir: Path) -> Path:
    return (settings.secret_key_file or data_dir / KEY_FILE).expanduser()


def load_keyring(settings: Settings, data_dir: Path) -> Keyring:
    """The configured keys; the first is the current one.

    Raises:
        SettingsError: the keys are invalid or cannot be read; the message contains no key.
    """
    if settings.secret_key is not None:
        source, text = "secret_key", settings.secret_key.get_secret_value().replace(",", "\n")
    else:
        path = _path(settings, data_dir)
        source = f"secret_key_file {path}"
        try:
            if settings.secret_key_file is None and not path.exists():
                _write_new(path, [new_key()])
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{source} cannot be read: {error}. Choose a file that the daemon can read"
            ) from error
    try:
        return Keyring(_keys_in(text))
    except ValueError as error:
        raise SettingsError(
            f"{source}: {error}. Write one key per line, the newest first; to create a key, run "
            'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
        ) from error


def _keys_in(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _write_new(path: Path, keys: Sequence[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.writelines(f"{key}\n" for key in keys)
        file.flush()
        os.fsync(file.fileno())
