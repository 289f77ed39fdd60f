"""Where the keys come from that secrets are sealed with: the environment, or a file, which the first start makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from scheduler.errors import SettingsError
from scheduler.security.sealing import Keyring, new_key
from scheduler.settings import Settings

#: In the data directory, if no other file is named.
KEY_FILE: Final = "secret.key"


def load_keyring(settings: Settings, data_dir: Path) -> Keyring:
    """The keys that the settings name; the first is the present one.

    Raises:
        SettingsError: they cannot be read or are no keys; no key is in the message.
    """
    if settings.secret_key is not None:
        source, text = "secret_key", settings.secret_key.get_secret_value().replace(",", "\n")
    else:
        path = (settings.secret_key_file or data_dir / KEY_FILE).expanduser()
        source = f"secret_key_file {path}"
        try:
            if settings.secret_key_file is None and not path.exists():
                _write_new(path)
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{source}: cannot be read: {error}. Name a file that this daemon can read"
            ) from error
    lines = (line.strip() for line in text.splitlines())
    try:
        return Keyring(line for line in lines if line and not line.startswith("#"))
    except ValueError as error:
        raise SettingsError(
            f"{source}: {error}. Write one key a line, the newest first; "
            'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())" makes one'
        ) from error


def _write_new(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{new_key()}\n")
        file.flush()
        os.fsync(file.fileno())
