"""Runs the Docker SDK's blocking calls in separate threads, so that they never block the event loop.

The threads are daemon threads: a call that hangs must not prevent the process from ending. That rules out
ThreadPoolExecutor, because the interpreter waits for its threads at exit. All waiting is limited.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from scheduler.engine.errors import EngineTimeoutError, EngineUnavailableError

T = TypeVar("T")

MOST_LOST = 4
"""Maximum number of threads in abandoned calls, as a multiple of the pool's size."""


@dataclass(slots=True, eq=False)
class _Call:
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    begun_at: float | None = None
    abandoned: bool = False
    ended: bool = False
    lost: bool = False


class CallPool:
    """A few threads for one kind of blocking call; further calls wait for their turn.

    Args:
        name: prefix of the threads' names.
        size: maximum number of concurrent calls.
        seconds: maximum duration of a call, and maximum wait for a turn while no call finishes.
    """

    def __init__(self, name: str, *, size: int, seconds: float) -> None:
        self._name = name
        self._size = size
        self._seconds = seconds
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lost = 0  # number of threads that are still in an abandoned call
        self._lock = threading.Lock()
        self._unfinished = 0
        self._finished_at = time.monotonic()
        self._made = 0
        self._closed = False

    async def run(self, function: Callable[[], T]) -> T:
        """Run the function in one of the threads, and return its result or raise its exception.

        Cancelling does not interrupt a call that has begun.

        Raises:
            EngineUnavailableError: it takes too long.
        """
        if self._closed:
            raise EngineUnavailableError("the connection to the engine has been closed")
        loop = asyncio.get_running_loop()
        call = _Call(function, loop, loop.create_future())
        if not self._unfinished:
            self._finished_at = time.monotonic()
        self._unfinished += 1
        self._queue.put(call)
        if len(self._threads) - self._lost < min(self._size, self._unfinished):
            self._add_thread()
        try:
            await self._wait(call)
            answer: T = call.answer.result()
            # Only a successful answer counts as progress for waiting calls: if the engine hangs, each of them
            # would otherwise wait for the failures of all calls before it.
            self._finished_at = time.monotonic()
            return answer
        finally:
            self._abandon(call)
            self._unfinished -= 1

    def close(self) -> None:
        """Let the threads end after their current calls, without waiting for them."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def _abandon(self, call: _Call) -> None:
        """Stop waiting for a call; one that hangs must not block others once the engine answers again."""
        with self._lock:
            call.abandoned = True
            if call.begun_at is None or call.ended or self._lost >= MOST_LOST * self._size:
                return
            call.lost = True
            self._lost += 1
        if not self._closed and len(self._threads) - self._lost < min(self._size, self._unfinished - 1):
            self._add_thread()

    async def _wait(self, call: _Call) -> None:
        while True:
            since = call.begun_at if call.begun_at is not None else self._finished_at
            left = since + self._seconds - time.monotonic()
            if left <= 0:
                raise EngineTimeoutError(f"the engine did not answer within {self._seconds:g} s")
            done, _ = await asyncio.wait((call.answer,), timeout=left)
            if done:
                return

    def _add_thread(self) -> None:
        self._made += 1
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            with self._lock:
                if call.abandoned:
                    continue
                call.begun_at = time.monotonic()
            result: object = None
            failure: Exception | None = None
            try:
                result = call.function()
            except Exception as error:  # noqa: BLE001 - passed on to the caller
                failure = error
            if self._has_been_replaced(call):
                return
            _answer(call, result, failure)

    def _has_been_replaced(self, call: _Call) -> bool:
        """Whether the thread that has finished this call is no longer needed."""
        with self._lock:
            call.ended = True
            if not call.lost:
                return False
            self._lost -= 1
            self._threads.remove(threading.current_thread())
            return not self._closed  # otherwise the queue contains a sentinel for it


def _answer(call: _Call, result: object, error: Exception | None) -> None:
    def deliver() -> None:
        if call.abandoned or call.answer.done():
            return
        if error is None:
            call.answer.set_result(result)
        else:
            call.answer.set_exception(error)

    with suppress(RuntimeError):  # the event loop has ended, so nobody is waiting
        call.loop.call_soon_threadsafe(deliver)
