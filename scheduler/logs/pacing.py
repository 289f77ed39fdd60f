"""Shares the event loop between streams with much output and everything else.

Twenty runs that print as fast as they can have twenty pieces ready in every iteration of the event loop, and a
request takes several iterations. Therefore only a limited number of bytes is processed in each, in the order of
arrival.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

#: Number of bytes processed per iteration: about two milliseconds of work.
ROUND_BYTES: Final = 128 * 1024


class StreamPacer:
    """Lets streams continue: per iteration of the event loop as many as have at most `each` bytes together."""

    def __init__(self, each: int = ROUND_BYTES) -> None:
        self._each = each
        self._left = each
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._is_counting = False

    async def take(self, size: int) -> None:
        """Wait for a turn.

        Args:
            size: the number of bytes of the last read, as an estimate of the next one.
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
        # Nobody is waiting, and nobody came since the last iteration: counting starts again with the next stream.
        self._is_counting = bool(self._waiting)
        while self._waiting and self._left > 0:
            waiter, size = self._waiting.popleft()
            if not waiter.done():  # otherwise its stream was given up
                self._left -= size
                waiter.set_result(None)
        if self._is_counting:
            loop.call_soon(self._next_round, loop)
