"""A loopback TCP door to an engine's unix socket, to freeze or slam without touching the engine."""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from types import TracebackType
from typing import Self


class EngineProxy:
    """Listens on a free loopback port and passes every connection on to a unix socket.

    While frozen it accepts and says nothing, like an engine that hangs; `cut` breaks all connections, like
    one that dies; closed, nobody listens. Single kinds of requests can be held as well: `hold` lets nothing of
    them reach the engine, `hold_answers` lets them take effect there and keeps back the answer.

    Attributes:
        held: how many requests are or were held.
    """

    def __init__(self, socket_path: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._socket_path = socket_path
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._held: tuple[re.Pattern[bytes], ...] = ()
        self._held_answers: tuple[re.Pattern[bytes], ...] = ()
        self._released = asyncio.Event()
        self.held = 0
        self.port = 0

    @property
    def url(self) -> str:
        """Where an engine seems to listen."""
        return f"tcp://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen; on the same port as before, if it listened before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Break all connections and listen no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Pass nothing on until `thaw`."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on what waits, and all that comes."""
        self._flowing.set()

    def hold(self, *requests: str) -> None:
        """Let no request through whose first line has one of these patterns, until `release`."""
        self._released.clear()
        self._held = tuple(re.compile(request.encode()) for request in requests)

    def hold_answers(self, *requests: str) -> None:
        """Let no answer back to a request whose first line has one of these patterns, until `release`."""
        self._released.clear()
        self._held_answers = tuple(re.compile(request.encode()) for request in requests)

    def release(self) -> None:
        """Pass on what is held, and hold nothing more."""
        self._held = self._held_answers = ()
        self._released.set()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._flowing.wait()
            far_reader, far_writer = await asyncio.open_unix_connection(self._socket_path)
        except (asyncio.CancelledError, OSError):
            writer.transport.abort()
            self._tasks.discard(task)
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            with suppress(asyncio.CancelledError, OSError):
                answering = asyncio.Event()
                answering.set()
                await asyncio.gather(
                    self._pump(reader, far_writer, answering), self._answer(far_reader, writer, answering)
                )
        finally:
            self._writers -= both
            self._tasks.discard(task)
            for each in both:
                each.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answering: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            line = data[:300].split(b"\r\n", 1)[0]
            if any(kind.search(line) for kind in self._held):
                self.held += 1
                await self._released.wait()
            if any(kind.search(line) for kind in self._held_answers):
                self.held += 1
                answering.clear()
            writer.write(data)
            await writer.drain()
        _end(writer)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answering: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            if not answering.is_set():
                await self._released.wait()
                answering.set()
            writer.write(data)
            await writer.drain()
        _end(writer)


def _end(writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof():
        writer.write_eof()
    else:  # TLS knows no half-closed connections
        writer.close()
