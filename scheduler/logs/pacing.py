"""Shares the event loop out between streams that bring much at once and everybody else.

Twenty runs that print as fast as they can have twenty pieces ready in every round of the event loop, and a request
takes several rounds. So only some bytes are taken down in each, and streams go on in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

#: So much is taken down in one round: about two milliseconds' work.
ROUND_BYTES: Final = 128 * 1024


class StreamPacer:
    """Lets streams go on, in one round of the running event loop as many as have brought `each` bytes together."""

    def __init__(self, each: int = ROUND_BYTES) -> None:
        self._each = each
        self._left = each
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._is_counting = False

    async def take(self, size: int) -> None:
        """Wait for a turn.

        Args:
            size: the bytes that were brought with the last one, as the next one's will be.
        """
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._next_round, loop)
        if self._left > 0 and not self._waiting:
            self._left -= size
            return
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append((waiter, size))
        await waiter

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._each
        # Nobody waits, and nobody came since the last round: the next to come begins anew.
        self._is_counting = bool(self._waiting)
        while self._waiting and self._left > 0:
            waiter, size = self._waiting.popleft()
            if not waiter.done():  # else its stream was given up
                self._left -= size
                waiter.set_result(None)
        if self._is_counting:
            loop.call_soon(self._next_round, loop)
