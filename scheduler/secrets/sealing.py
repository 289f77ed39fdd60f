"""Encrypts secrets for the database, each bound to the place where it is stored.

Uses AES-256-GCM with a random nonce. The stored text contains the format and the key's id: `v1:<key id>:<base64>`. A
sealed text that is copied to another place cannot be opened there. Does no I/O.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_FORM: Final = "v1"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=?")


class SealError(ValueError):
    """A stored secret cannot be opened: its key is missing, or the text was changed."""


def new_key() -> str:
    """A random key, as it is written in a file or the environment: 32 bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode("ascii")


class Keyring:
    """Seals with the first key, and opens what any of the keys has sealed.

    Args:
        keys: keys as created by `new_key`; the first is the current one, the others are previous ones.

    Raises:
        ValueError: a text is not a key, or there are no keys. The text itself is not in the message.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys: dict[str, bytes] = {}
        for number, text in enumerate(keys, 1):
            if not _KEY.fullmatch(text):
                msg = f"number {number} is not a valid key; write 32 random bytes in URL-safe base64, 44 characters"
                raise ValueError(msg)
            key = base64.urlsafe_b64decode(text.rstrip("=") + "=")
            self._keys.setdefault(hashlib.sha256(key).hexdigest()[:12], key)
        if not self._keys:
            msg = "there is no key"
            raise ValueError(msg)
        self.current: str = next(iter(self._keys))

    def seal(self, text: str, place: str) -> str:
        """The text as it is stored.

        Args:
            text: the secret.
            place: where it is stored; it can only be opened for the same place.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = _cipher(self._keys[self.current]).encrypt(nonce, text.encode(), place.encode())
        return f"{_FORM}:{self.current}:{base64.b64encode(nonce + sealed).decode('ascii')}"

    def unseal(self, stored: str, place: str) -> str:
        """The text that was sealed for a place.

        Raises:
            SealError: none of the keys opens it, or it was changed or moved.
        """
        form, _, rest = stored.partition(":")
        key_id, _, body = rest.partition(":")
        if form != _FORM:
            raise SealError(f"it is stored in an unknown format ({form[:20]!r}); set it again")
        key = self._keys.get(key_id)
        if key is None:
            raise SealError(
                f"it was sealed with the key {key_id[:20]}, which this daemon does not have; "
                "add that key to secret_key_file, or set the secret again"
            )
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see `_cipher`

        try:
            raw = base64.b64decode(body, validate=True)
            return _cipher(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise SealError(
                "it was changed after it was stored, or copied from another place; set it again"
            ) from error

    def is_current(self, stored: str) -> bool:
        """Whether it was sealed with the current key."""
        return stored.startswith(f"{_FORM}:{self.current}:")


def _cipher(key: bytes) -> AESGCM:
    """Imported with the first secret: the library takes 7 MB, and many daemons store no secrets."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

    return AESGCM(key)
