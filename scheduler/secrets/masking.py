"""Masks secrets in the output of containers, before any of it is stored.

Each byte of a secret becomes `*`. Lengths stay the same, so that the stored output can still be compared byte by byte
with the engine's own log. A secret is also found if it is spread over several reads. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from scheduler.domain.stream import Stream

#: Shorter values are not masked: they would hide unrelated output.
SHORTEST: Final = 4
_MASK: Final = b"*"
#: Length of the beginning that is searched first, so that long secrets cost little.
_HEAD: Final = 16


class Masker:
    """Masks one stream of bytes.

    Args:
        secrets: the secrets to mask, none of them empty.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._secrets = secrets
        self._held = b""
        self._hidden = b""  # for each byte held back: 1 if it belongs to a secret that was found

    def feed(self, data: bytes) -> bytes:
        """The masked data that can be shown so far, without a tail that may be the beginning of a secret."""
        raw = self._held + data
        hidden = bytearray(self._hidden) + bytes(len(data))
        for secret in self._secrets:
            place = raw.find(secret)
            while place >= 0:  # occurrences may overlap
                hidden[place : place + len(secret)] = b"\x01" * len(secret)
                place = raw.find(secret, place + 1)
        cut = len(raw) - max(_open_end(raw, secret) for secret in self._secrets)
        self._held, self._hidden = raw[cut:], bytes(hidden[cut:])
        return _masked(raw[:cut], hidden)

    def flush(self) -> bytes:
        """The data that was held back; call it at the end of the stream."""
        shown = _masked(self._held, self._hidden)
        self._held = self._hidden = b""
        return shown


def _masked(raw: bytes, hidden: bytes | bytearray) -> bytes:
    if 1 not in hidden:
        return raw
    return bytes(_MASK[0] if hide else byte for byte, hide in zip(raw, hidden, strict=False))


def _open_end(raw: bytes, secret: bytes) -> int:
    """Number of bytes at the end that may be the beginning of a secret that continues in the next read."""
    tail = raw[-(len(secret) - 1) :] if len(secret) > 1 else b""
    view = memoryview(tail)
    for place in _candidates(tail, secret[:_HEAD]):
        if view[place:] == secret[: len(tail) - place]:
            return len(tail) - place
    return 0


def _candidates(tail: bytes, head: bytes) -> Iterator[int]:
    last = max(len(tail) - len(head) + 1, 0)
    place = tail.find(head)
    while 0 <= place < last:
        yield place
        place = tail.find(head, place + 1)
    yield from range(last, len(tail))


class Masks:
    """Masks the output of a container, each stream separately.

    Args:
        values: the secrets; those shorter than `SHORTEST` bytes are not masked.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form.encode() for value in values for form in (value, value.strip())}
        secrets = [secret for secret in forms if len(secret) >= SHORTEST]
        self._is_idle = not secrets
        self._of: defaultdict[Stream, Masker] = defaultdict(lambda: Masker(secrets))

    def hide(
        self, frames: Sequence[tuple[Stream, bytes, datetime | None]]
    ) -> Sequence[tuple[Stream, bytes, datetime | None]]:
        """The masked frames; a tail that may be the beginning of a secret is held back for the next call."""
        if self._is_idle:
            return frames
        masked = [(stream, self._of[stream].feed(data), at) for stream, data, at in frames]
        return [frame for frame in masked if frame[1]]

    def rest(self) -> Sequence[tuple[Stream, bytes, datetime | None]]:
        """The frames that were held back; call it at the end of the streams."""
        held = [(stream, masker.flush(), None) for stream, masker in self._of.items()]
        return [frame for frame in held if frame[1]]
