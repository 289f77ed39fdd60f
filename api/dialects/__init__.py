"""The APIs of other systems for the same runs: thin adapters without logic of their own.

Each module lists its routes at its end. What they share is in `dialect`.
"""

from __future__ import annotations

from typing import Final

from api.dialects import explorer, ges, ordine
from api.dialects.dialect import Dialect

MODULES: Final = (ordine, ges, explorer)


def dialect_of(path: str) -> Dialect | None:
    """The dialect that a path belongs to; None for Timeball's own API."""
    return next((module.DIALECT for module in MODULES if path.startswith(module.DIALECT.prefix)), None)
