"""Keeps a few open files in reserve, so that connections can be answered when no more files can be opened.

Without them, a daemon at its limit could not accept a connection to say so. asyncio tries again after a second, but
logs every failure with a traceback, a hundred at once (CPython 3.11).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

import structlog

from scheduler.process.metrics import ACCEPT_FAILURES

log = structlog.get_logger()

#: Number of connections that can be accepted per second when no more files can be opened.
SPARE: Final = 16
RESTORE_SECONDS: Final = 1.0
#: Seconds between two log lines about it.
TELL_SECONDS: Final = 30.0


class SpareFiles:
    """Open files whose only purpose is to be closed."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._told_at = float("-inf")
        self._restoring: asyncio.TimerHandle | None = None
        self._fill()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the event loop's failures to accept connections."""
        loop.set_exception_handler(self._handle)

    def close(self) -> None:
        """Close all of them."""
        if self._restoring is not None:
            self._restoring.cancel()
        while self._held:
            os.close(self._held.pop())

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message", "")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
            return
        ACCEPT_FAILURES.inc()
        while self._held:
            os.close(self._held.pop())
        if self._restoring is None:
            self._restoring = loop.call_later(RESTORE_SECONDS, self._restore, loop)
        if loop.time() - self._told_at >= TELL_SECONDS:
            self._told_at = loop.time()
            log.error(
                "api.too_many_open_files",
                error=str(context.get("exception")),
                remedy="raise the limit of open files (ulimit -n, LimitNOFILE=)",
            )

    def _restore(self, loop: asyncio.AbstractEventLoop) -> None:
        self._restoring = None
        if not self._fill():
            self._restoring = loop.call_later(RESTORE_SECONDS, self._restore, loop)

    def _fill(self) -> bool:
        try:
            while len(self._held) < SPARE:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return False
        return True
