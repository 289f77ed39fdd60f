"""The streams of the fake engine: queues that end, or break, when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import EngineEvent, LogFrame

T = TypeVar("T")


class Feed(Generic[T]):
    """A stream of things, ended by None or by an error."""

    def __init__(self, on_close: Callable[[Any], None]) -> None:
        self._queue: asyncio.Queue[T | EngineUnavailableError | None] = asyncio.Queue()
        self._on_close = on_close
        self._ended = False

    def put(self, item: T | EngineUnavailableError | None) -> None:
        """Send a thing, an error, or the end (None)."""
        self._queue.put_nowait(item)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        item = None if self._ended else await self._queue.get()
        if item is None or isinstance(item, EngineUnavailableError):
            self._ended = True
            self._on_close(self)
            raise item or StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Listen no more."""
        self._on_close(self)
        self._ended = True
        self.put(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class FrameFeed(Feed[list[LogFrame]]):
    """A container's output.

    Args:
        on_close: is told when nobody listens any more.
        timestamps: whether the frames keep their times.
    """

    def __init__(self, on_close: Callable[[Any], None], *, timestamps: bool = False) -> None:
        super().__init__(on_close)
        self._timestamps = timestamps

    def put_frame(self, frame: LogFrame) -> None:
        """Send one frame."""
        self.put([frame if self._timestamps else frame._replace(at=None)])


EventFeed = Feed[EngineEvent]
