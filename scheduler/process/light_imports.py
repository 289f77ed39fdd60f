"""Loads libraries without what they bring along and the daemon has no use for: some ten megabytes in all.

A library that finds another one missing does without it. aiohttp reads the system's certificates twice when it is
loaded; here they are read when a connection first needs them. Nothing else is changed about any library.
"""

from __future__ import annotations

import ssl
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

#: How tracebacks are drawn in colours, which the daemon's log does not do.
_DRAWING: Final = ("rich",)
#: How the encoding of a text is guessed; the engine says it, or it is UTF-8.
_GUESSING: Final = ("charset_normalizer", "chardet")


def load() -> None:
    """Load them; to be called before anything else does."""
    with _without(*_DRAWING):
        import structlog.dev  # noqa: F401, PLC0415
    with _without(*_GUESSING), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
        import requests  # noqa: F401, PLC0415
    with _reading_certificates_late():
        import aiohttp  # noqa: F401, PLC0415


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """While it lasts, these modules cannot be loaded, as if they were not installed."""
    # The import system raises ImportError for a module whose entry is None (Python's reference, 5.3.1).
    barred = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(barred))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in barred:
            del sys.modules[name]


class _LateContext(ssl.SSLContext):
    """Trusts the authorities that the system trusts, and reads which these are when it is first used."""

    _has_read = False

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As asyncio begins a connection."""
        if not self._has_read:
            self._has_read = True
            self.load_default_certs()
        return super().wrap_bio(*args, **kwargs)


@contextmanager
def _reading_certificates_late() -> Iterator[None]:
    """While it lasts, client contexts that are made with the standard library's defaults read no certificates yet."""
    usual = ssl.create_default_context
    patched: Any = ssl
    patched.create_default_context = lambda: _LateContext(ssl.PROTOCOL_TLS_CLIENT)
    patched.SSLContext.set_default_verify_paths = lambda _: (
        None
    )  # asked for by the context that checks nothing
    try:
        yield
    finally:
        patched.create_default_context = usual
        del patched.SSLContext.set_default_verify_paths  # what it hid is inherited
