"""The result of one delivery attempt. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOutcome:
    """The result of one attempt.

    Attributes:
        delivered: whether the receiver accepted it.
        status_code: the HTTP status, or the mail server's reply code; None without an answer.
        error: what went wrong, for people; None if it was delivered.
        is_final: whether another attempt would be pointless.
        wish: pause that the receiver asked for, in seconds; None if it did not ask.
    """

    delivered: bool
    status_code: int | None = None
    error: str | None = None
    is_final: bool = False
    wish: float | None = None


def failure(error: str, *, status_code: int | None = None, is_final: bool = False) -> DeliveryOutcome:
    """A failed attempt; the error is made printable on one line."""
    shown = "".join(" " if unicodedata.category(character)[0] == "C" else character for character in error)
    return DeliveryOutcome(
        delivered=False,
        status_code=status_code,
        error=" ".join(shown.split())[:LONGEST_ERROR],
        is_final=is_final,
    )
