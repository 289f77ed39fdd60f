"""Validates email addresses. Pure."""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address
from typing import Final

#: RFC 5321, 4.5.3.1.3, without the angle brackets.
LONGEST: Final = 254


def is_address(text: str) -> bool:
    """Whether a text is exactly one email address in ASCII."""
    try:
        return (
            len(text) <= LONGEST
            and text.isascii()
            and text.isprintable()
            and " " not in text
            and bool(Address(addr_spec=text).domain)
        )
    except (ValueError, IndexError, MessageError):
        return False
