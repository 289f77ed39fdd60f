"""An event loop without time of its own: one thread, simulated time, and an order of events that a seed decides.

Several processes live on it, each with its own queue: the daemons, and the world around them. What a daemon starts
belongs to it (tasks, timers, work for threads), because a context variable names the process and every handle keeps
the context in which it was made. A process can be killed between any two steps: what it had planned is dropped, and
none of its code runs again, not even a ``finally``. It can also be frozen for a while.

Work for threads runs on this thread, at a drawn moment, in one step: that is what a transaction looks like from
outside. Its answer arrives a drawn moment later, so that a process can also die in between.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import random
import sys
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context, ContextVar
from itertools import count
from typing import Any, Final, TypeVar

from scheduler.process.worker import Worker

T = TypeVar("T")

#: The longest duration of one step in seconds.
STEP: Final = 20e-6
#: Seconds in which steps are counted, to notice what never rests.
WINDOW: Final = 2.0
#: How often a coroutine is closed that waits while it is closed.
MOST_CLOSES: Final = 20
_numbers = count()


class Process:
    """What lives and dies as a whole.

    Attributes:
        name: of the process, for the trace.
        is_alive: whether its code still runs.
        is_frozen: whether it is stopped, to be continued later.
        tasks: all its tasks; kept after its death, because a task that is forgotten would run to its end.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_frozen = False
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: dict[_Task, None] = {}

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @contextmanager
    def here(self) -> Any:
        """Context whose new tasks and timers belong to this process."""
        token = PROCESS.set(self)
        try:
            yield
        finally:
            PROCESS.reset(token)

    def context(self) -> Context:
        """A context of this process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return context


WORLD: Final = Process("world")
PROCESS: Final[ContextVar[Process]] = ContextVar("PROCESS", default=WORLD)


class _Future(asyncio.Future[Any]):
    """A future with a hash that is the same in every process: sets of futures keep their order."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._number = next(_numbers)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    """A task with such a hash, which is kept by its process until it is done."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._number = next(_numbers)
        self._process = PROCESS.get()
        self._process.tasks[self] = None
        super().__init__(*args, **options)
        self.add_done_callback(_Task._forget)

    def __hash__(self) -> int:
        return self._number

    def _forget(self) -> None:
        self._process.tasks.pop(self, None)


class DeadlockError(AssertionError):
    """Nothing can happen any more, but what was waited for has not happened."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The loop.

    Args:
        source: the random numbers that decide the order of events.

    Attributes:
        after_work: called after each piece of work for a thread, in the process that asked for it.
        before_step: called before each step with the process that makes it; the process may be dead afterwards.
        work_seconds: draws how long a piece of work for a thread takes before and after it has its effect.
        blocked_until: before when no work for a thread begins, because all threads hang.
        errors: what nobody handled.
        busiest: the most steps within `WINDOW` seconds.
    """

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._time = 0.0
        self._timers: list[tuple[float, int, asyncio.Handle]] = []
        self._number = count()
        self._processes: list[Process] = [WORLD]
        self._is_running = False
        self._closed = False
        self._steps = 0
        self._window, self._in_window = 0, 0
        self.busiest = 0
        self.after_work: Callable[[], None] = lambda: None
        self.before_step: Callable[[Process], None] = lambda _: None
        self.work_seconds: Callable[[], float] = lambda: self._source.expovariate(4000.0)
        self.blocked_until = 0.0
        self.errors: list[dict[str, Any]] = []
        WORLD.ready.clear()
        WORLD.tasks.clear()

    # ---- processes ----------------------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return self._steps

    def add(self, process: Process) -> None:
        """Give a process its turns."""
        self._processes.append(process)

    def kill(self, process: Process) -> None:
        """End a process at once: none of its code runs again."""
        process.is_alive = False
        process.ready.clear()
        for task in process.tasks:
            task._log_destroy_pending = False
        self._processes.remove(process)

    def bury(self, process: Process) -> None:
        """Close what is left of the tasks of a process, without effect on anything; nothing keeps them afterwards."""
        was_closed, self._closed = self._closed, True  # what a 'finally' plans, is dropped
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for task in list(process.tasks):
                    task._log_destroy_pending = False
                    process.context().run(_close, task.get_coro())
                process.tasks.clear()
                process.ready.clear()
        finally:
            self._closed = was_closed
            sys.unraisablehook = hook

    # ---- running --------------------------------------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        """Run until a coroutine of the world is done, and return its result.

        Raises:
            DeadlockError: nothing can happen any more.
        """
        before = events._get_running_loop()
        events._set_running_loop(self)
        self._is_running = True
        try:
            task = asyncio.ensure_future(future, loop=self)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._is_running = False
            events._set_running_loop(before)

    def _step(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._time:
            self._make_ready(heapq.heappop(timers)[2])
        able = [process for process in self._processes if process.ready and not process.is_frozen]
        if not able:
            if not timers:
                raise DeadlockError("nothing can happen any more")
            self._time = timers[0][0]
            return
        process = able[0] if len(able) == 1 else able[self._source.randrange(len(able))]
        handle = process.ready.popleft()
        if handle._cancelled:
            return
        self._count()
        self.before_step(process)
        self._time += self._source.random() * STEP
        if process.is_alive:
            handle._run()

    def _count(self) -> None:
        self._steps += 1
        window = int(self._time / WINDOW)
        if window != self._window:
            self._window, self._in_window = window, 0
        self._in_window += 1
        self.busiest = max(self.busiest, self._in_window)

    def _make_ready(self, handle: asyncio.Handle) -> None:
        if handle._cancelled:
            return
        process = handle._context.get(PROCESS, WORLD)
        if process.is_alive:
            process.ready.append(handle)

    # ---- what asyncio asks of a loop ------------------------------------------------------------------------

    def time(self) -> float:
        """The simulated time in seconds."""
        return self._time

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Call it in one of the next steps of its process."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self._closed:
            self._make_ready(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at a time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._closed:
            heapq.heappush(self._timers, (when, next(self._number), handle))
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it after some seconds."""
        return self.call_at(self._time + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return _Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        """A task of the process that asks for it, or of the one that the context names."""
        if context is not None:
            return context.run(lambda: _Task(coro, loop=self, name=name))
        return _Task(coro, loop=self, name=name or "task")

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Do a piece of work for a thread in a later step; an executor of one thread keeps the order."""
        answer = self.create_future()
        begins = max(self._time, self.blocked_until) + self.work_seconds()
        if isinstance(executor, Worker) or getattr(executor, "_max_workers", 0) == 1:
            begins = max(begins, getattr(executor, "busy_until", 0.0) + 1e-9)
            executor.busy_until = begins  # type: ignore[attr-defined]
        self.call_at(begins, self._work, answer, func, args)
        return answer

    def _work(self, answer: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if answer.cancelled():
            return
        result, error = None, None
        try:
            result = func(*args)
        except Exception as caught:  # noqa: BLE001 - it belongs to whoever asked
            error = caught
        self.after_work()
        if PROCESS.get().is_alive:
            self.call_later(self.work_seconds(), _settle, answer, result, error)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is dropped when its time comes."""

    def get_debug(self) -> bool:
        """No."""
        return False

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._is_running

    def is_closed(self) -> bool:
        """Whether its world has ended."""
        return self._closed

    def close(self) -> None:
        """End every process, and let nothing of them happen any more."""
        self._closed = True
        self._timers.clear()
        for process in self._processes:
            process.ready.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody handled, unless its process is dead."""
        if PROCESS.get().is_alive and not self._closed:
            self.errors.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """The same."""
        self.call_exception_handler(context)

    async def shutdown_asyncgens(self) -> None:
        """Nothing is left to do."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""


def _settle(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _close(coroutine: Any) -> None:
    """Close a coroutine; one that waits for something in a 'finally' has to be told again."""
    for _ in range(MOST_CLOSES):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:  # noqa: BLE001, S110 - nobody is left to care
            pass
        return


def spawn(process: Process, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Start a task that belongs to the given process instead of the current one."""
    loop = asyncio.get_running_loop()
    return loop.create_task(work, name=name, context=process.context())
