"""How a hook's secret is kept in the database: the one place where it is sealed and unsealed.

There is no key to encrypt with yet. What is stored begins with the name of its form, so that another form can
take over while what is stored stays readable.
"""

from __future__ import annotations

from typing import Final

_PLAIN: Final = "plain:"


def seal(secret: str) -> str:
    """A secret as it is stored."""
    return _PLAIN + secret


def unseal(stored: str) -> str:
    """The secret that was stored.

    Raises:
        ValueError: it was stored in a form that this version does not know.
    """
    if not stored.startswith(_PLAIN):
        msg = f"a hook's secret is stored in an unknown form ({stored.partition(':')[0]!r})"
        raise ValueError(msg)
    return stored.removeprefix(_PLAIN)
