"""Long-lived responses of a Docker Engine: a container's output, and the engine's events.

Each stream is one aiohttp response that is read as fast as the caller asks for more; meanwhile the engine waits, so
nothing accumulates here.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp

from scheduler.engine.docker_dialect import DockerDialect
from scheduler.engine.errors import EngineUnavailableError, StreamBrokenError
from scheduler.engine.frames import FrameDecoder
from scheduler.engine.types import LABEL_EXEC, EngineEvent, EventKind, LogFrame


class _Stream:
    """The common part of all streams: they are their own iterators, and are closed at the end of their context."""

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, if there is one."""


class _Reading(_Stream):
    """The common part of all streams with a connection: reading and closing."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._closed = False

    async def aclose(self) -> None:
        """Close the connection; the container continues to run. Closing twice is not an error."""
        self._closed = True
        self._response.close()

    async def _read(self) -> bytes:
        """The next bytes as they arrive; empty at the end, and after the stream was closed."""
        if self._closed:
            return b""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            if self._was_closed():  # by another task while this one was waiting
                return b""
            self._response.close()
            raise EngineUnavailableError(f"the connection to the engine was lost: {error}") from error

    def _was_closed(self) -> bool:
        return self._closed


class DockerFrameStream(_Reading):
    """A container's output; one batch of frames per read."""

    def __init__(self, response: aiohttp.ClientResponse, *, timestamps: bool) -> None:
        super().__init__(response)
        self._decoder = FrameDecoder(timestamps=timestamps)

    async def __anext__(self) -> list[LogFrame]:
        while data := await self._read():
            if frames := self._decoder.feed(data):
                return frames
        if not self._closed:
            await self.aclose()
            self._decoder.finish()
        raise StopAsyncIteration


class EndedFrameStream(_Stream):
    """The output of a container that cannot be started: nothing."""

    async def __anext__(self) -> list[LogFrame]:
        raise StopAsyncIteration


class DockerEventStream(_Reading):
    """The events of this installation's containers; the engine sends one JSON object per line."""

    def __init__(self, response: aiohttp.ClientResponse, dialect: DockerDialect) -> None:
        super().__init__(response)
        self._dialect = dialect
        self._rest = b""
        self._events: deque[EngineEvent] = deque()

    async def __anext__(self) -> EngineEvent:
        while not self._events:
            data = await self._read()
            if not data:
                if self._closed:
                    raise StopAsyncIteration
                self._response.close()
                raise EngineUnavailableError("the engine ended its event stream")
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    self._take(line)
        return self._events.popleft()

    def _take(self, line: bytes) -> None:
        try:
            message: dict[str, Any] = json.loads(line)
            kind = self._dialect.event_kind(message["Action"])
            attributes: dict[str, str] = message["Actor"]["Attributes"]
            exec_id = attributes.get(LABEL_EXEC)
            if exec_id is None:  # another container that has our installation's label
                return
            event = EngineEvent(
                kind=kind,
                exec_id=exec_id,
                at=datetime.fromtimestamp(message["timeNano"] / 1e9, UTC),
                exit_code=int(attributes["exitCode"]) if kind is EventKind.DIE else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StreamBrokenError(f"the engine sent an invalid event: {line[:300]!r}") from error
        self._events.append(event)
