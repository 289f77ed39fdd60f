"""An executor with one thread, which does not keep the process alive.

The interpreter waits at exit for the threads of a ThreadPoolExecutor. A write that hangs must not prevent the process
from ending, so its thread is a daemon thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Call = tuple[Future[Any], Callable[[], Any]]


class Worker(Executor):
    """Runs one call after another, in the order in which they were submitted.

    Args:
        name: the name of the thread, which starts with the first call.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on the thread, after all others.

        Raises:
            RuntimeError: `shutdown` was called.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"The thread {self._name} has been shut down")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_work, args=(self._calls,), name=self._name, daemon=True
                )
                self._thread.start()
            self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the thread end after the calls that were submitted.

        Args:
            wait: whether to wait for it.
            cancel_futures: whether to skip the calls that have not begun.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                if cancel_futures:
                    self._cancel_all()
                self._calls.put(None)
        if wait and self._thread is not None:
            self._thread.join()

    def _cancel_all(self) -> None:
        with suppress(Empty):
            while (call := self._calls.get_nowait()) is not None:
                call[0].cancel()


def _work(calls: SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        _run(*call)
        del call  # the call and its result must not live until the next one comes


def _run(future: Future[Any], function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - passed on to the caller
        future.set_exception(error)
    else:
        future.set_result(result)
