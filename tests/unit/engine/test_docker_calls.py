"""The threads in which blocking calls run."""

from __future__ import annotations

import asyncio
import threading

import pytest

from scheduler.engine import docker_calls
from scheduler.engine.docker_calls import CallPool
from scheduler.engine.errors import EngineTimeoutError, EngineUnavailableError

PATIENCE = 60.0


class Clock:
    """What the pool takes for the time: it stands still unless a test lets it pass."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Its time."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The pool's clock."""
    made = Clock()
    monkeypatch.setattr(docker_calls, "time", made)
    return made


class Hanging:
    """A call that hangs until it is released, and tells that it has begun."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.count = 0
        self._begun = threading.Semaphore(0)

    def __call__(self) -> None:
        """Hang."""
        self.count += 1
        self._begun.release()
        assert self.release.wait(PATIENCE)

    async def begun(self, count: int = 1) -> None:
        """Return when so many have begun."""
        for _ in range(count):
            assert await asyncio.to_thread(self._begun.acquire, timeout=PATIENCE)


async def test_a_call_returns_or_raises_what_its_function_does() -> None:
    """In another thread than the event loop's."""
    pool = CallPool("test", size=2, seconds=PATIENCE)
    assert await pool.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0)
    pool.close()


async def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    """The others wait their turn, and all are answered."""
    pool = CallPool("test", size=3, seconds=PATIENCE)
    running = 0
    most = 0
    lock = threading.Lock()
    three = threading.Barrier(3, timeout=PATIENCE)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        three.wait()
        with lock:
            running -= 1

    await asyncio.gather(*(pool.run(call) for _ in range(30)))
    assert most == 3
    pool.close()


async def test_a_call_that_hangs_is_given_up_and_so_are_those_behind_it(clock: Clock) -> None:
    """All within one limit: nobody waits for the failures of those before."""
    pool = CallPool("test", size=1, seconds=0.05)
    hanging = Hanging()
    calls = [asyncio.create_task(pool.run(hanging)) for _ in range(5)]
    await hanging.begun()
    clock.seconds += 0.06
    async with asyncio.timeout(PATIENCE):
        # One of those behind it may begin as it is given up, and has a limit of its own then.
        while hanging.count < 2 and not all(call.done() for call in calls):  # noqa: ASYNC110 - threads tell nothing
            await asyncio.sleep(0.005)
        clock.seconds += 0.06
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [EngineTimeoutError] * 5
    hanging.release.set()
    assert await pool.run(lambda: 7) == 7
    pool.close()


async def test_waiting_long_for_ones_turn_is_fine_while_others_finish(clock: Clock) -> None:
    """A queue that moves is no engine that hangs."""
    pool = CallPool("test", size=1, seconds=0.2)

    def take_long() -> None:
        clock.seconds += 0.15

    results = await asyncio.gather(*(pool.run(take_long) for _ in range(10)))
    assert results == [None] * 10
    pool.close()


async def test_a_cancelled_call_that_has_not_begun_never_runs() -> None:
    """Its turn is skipped."""
    pool = CallPool("test", size=1, seconds=PATIENCE)
    release = threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(pool.run(release.wait))
    second = asyncio.create_task(pool.run(lambda: ran.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    release.set()
    await first
    await pool.run(lambda: ran.append("third"))
    assert ran == ["third"]
    pool.close()


async def test_a_closed_pool_takes_no_calls() -> None:
    """It says so instead of waiting."""
    pool = CallPool("test", size=1, seconds=PATIENCE)
    pool.close()
    with pytest.raises(EngineUnavailableError, match="closed"):
        await pool.run(lambda: None)


async def test_calls_that_hang_do_not_keep_later_ones_from_their_turn(clock: Clock) -> None:
    """Others take the place of the threads that are held; when those are free again there are no more than before."""
    pool = CallPool("held", size=2, seconds=0.1)
    hanging = Hanging()
    calls = [asyncio.create_task(pool.run(hanging)) for _ in range(2)]
    await hanging.begun(2)
    clock.seconds += 0.11
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [EngineTimeoutError] * 2

    assert await pool.run(lambda: "answered") == "answered"
    assert await asyncio.gather(*(pool.run(lambda: 1) for _ in range(20))) == [1] * 20
    hanging.release.set()
    async with asyncio.timeout(PATIENCE):
        while sum(thread.name.startswith("held") for thread in threading.enumerate()) > 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    pool.close()


async def test_threads_that_are_held_are_replaced_a_bounded_number_of_times() -> None:
    """However many calls hang, one after the other."""
    pool = CallPool("bounded", size=1, seconds=0.02)
    release = threading.Event()
    for _ in range(12):
        with pytest.raises(EngineTimeoutError):
            await pool.run(release.wait)
    assert sum(thread.name.startswith("bounded") for thread in threading.enumerate()) <= 5
    release.set()
    pool.close()
