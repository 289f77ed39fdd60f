"""Random numbers for ids and for spreading load. All of them come from here, so that a simulation can repeat a run.

Not for secrets: tokens, keys and nonces come from `secrets` and `os.urandom`, which nothing can replace.
"""

from __future__ import annotations

import random
import uuid

_source: random.Random = random.SystemRandom()


def draw_from(source: random.Random) -> random.Random:
    """Draw from another source from now on, in the whole process; returns the one before."""
    global _source
    before, _source = _source, source
    return before


def new_id() -> str:
    """A random UUID (version 4) as text, such as ``0f8fad5b-d9cb-469f-a165-70867728950e``."""
    return str(_uuid())


def new_hex() -> str:
    """A random UUID (version 4) as 32 hexadecimal digits."""
    return _uuid().hex


def fraction() -> float:
    """A number of at least 0 and less than 1."""
    return _source.random()


def between(low: float, high: float) -> float:
    """A number between two others."""
    return _source.uniform(low, high)


def _uuid() -> uuid.UUID:
    return uuid.UUID(int=_source.getrandbits(128), version=4)
