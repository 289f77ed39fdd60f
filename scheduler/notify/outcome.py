"""What one attempt came to, whoever made it. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOutcome:
    """What one attempt came to.

    Attributes:
        delivered: whether the receiver took it.
        status_code: the HTTP status, or the mail server's reply code; None without an answer.
        error: what went wrong, for people; None if it was delivered.
        is_final: whether another attempt is of no use.
        wish: seconds after which the receiver wants to be asked again; None if it did not say.
    """

    delivered: bool
    status_code: int | None = None
    error: str | None = None
    is_final: bool = False
    wish: float | None = None


def failure(error: str, *, status_code: int | None = None, is_final: bool = False) -> DeliveryOutcome:
    """An attempt that failed; the text is made fit to be shown on a line."""
    shown = "".join(" " if unicodedata.category(one)[0] == "C" else one for one in error)
    return DeliveryOutcome(
        delivered=False,
        status_code=status_code,
        error=" ".join(shown.split())[:LONGEST_ERROR],
        is_final=is_final,
    )
