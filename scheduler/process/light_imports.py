"""Imports libraries without optional dependencies that the daemon does not use, which saves about ten megabytes.

A library that does not find an optional dependency works without it. aiohttp loads the system's certificates twice
when it is imported; here they are loaded when a connection first needs them. The libraries are otherwise unchanged.
"""

from __future__ import annotations

import ssl
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: Draws tracebacks in color, which the daemon's log does not use.
_DRAWING: Final = ("rich",)
#: Guess the encoding of texts; here the engine states it, or it is UTF-8.
_GUESSING: Final = ("charset_normalizer", "chardet")


def load() -> None:
    """Import the libraries; call this before anything else imports them."""
    with _without(*_DRAWING):
        import structlog.dev  # noqa: F401, PLC0415
    with _without(*_GUESSING), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
        import requests  # noqa: F401, PLC0415
    with _reading_certificates_late():
        import aiohttp  # noqa: F401, PLC0415


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Context in which these modules cannot be imported, as if they were not installed."""
    # The import system raises ImportError for a module whose entry is None (Python's reference, 5.3.1).
    barred = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(barred))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in barred:
            del sys.modules[name]


class _LateContext(ssl.SSLContext):
    """An SSL context with the authorities that the system trusts, loaded on first use."""

    _has_read = False

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Called by asyncio when a connection begins."""
        if not self._has_read:
            self._has_read = True
            self.load_default_certs()
        return super().wrap_bio(*args, **kwargs)


@contextmanager
def _reading_certificates_late() -> Iterator[None]:
    """Context in which client SSL contexts with the standard library's defaults do not load certificates yet."""
    usual = ssl.create_default_context
    patched: Any = ssl
    patched.create_default_context = lambda: _LateContext(ssl.PROTOCOL_TLS_CLIENT)
    patched.SSLContext.set_default_verify_paths = lambda _: (
        None
    )  # called by the context that verifies nothing
    try:
        yield
    finally:
        patched.create_default_context = usual
        del patched.SSLContext.set_default_verify_paths  # makes the inherited method visible again
