"""The threads in which blocking calls run."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from scheduler.engine.docker_calls import CallPool
from scheduler.engine.errors import EngineTimeoutError, EngineUnavailableError


async def test_a_call_returns_or_raises_what_its_function_does() -> None:
    """In another thread than the event loop's."""
    pool = CallPool("test", size=2, seconds=5)
    assert await pool.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0)
    pool.close()


async def test_no_more_calls_run_at_once_than_there_are_threads() -> None:
    """The others wait their turn, and all are answered."""
    pool = CallPool("test", size=3, seconds=5)
    running = 0
    most = 0
    lock = threading.Lock()

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    await asyncio.gather(*(pool.run(call) for _ in range(30)))
    assert most == 3
    pool.close()


async def test_a_call_that_hangs_is_given_up_and_so_are_those_behind_it() -> None:
    """All within one limit: nobody waits for the failures of those before."""
    pool = CallPool("test", size=1, seconds=0.2)
    release = threading.Event()
    began = time.monotonic()
    results = await asyncio.gather(*(pool.run(release.wait) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [EngineTimeoutError] * 5
    assert time.monotonic() - began < 0.4
    release.set()
    assert await pool.run(lambda: 7) == 7
    pool.close()


async def test_waiting_long_for_ones_turn_is_fine_while_others_finish() -> None:
    """A queue that moves is no engine that hangs."""
    pool = CallPool("test", size=1, seconds=0.2)
    results = await asyncio.gather(*(pool.run(lambda: time.sleep(0.05)) for _ in range(10)))
    assert results == [None] * 10
    pool.close()


async def test_a_cancelled_call_that_has_not_begun_never_runs() -> None:
    """Its turn is skipped."""
    pool = CallPool("test", size=1, seconds=5)
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
    pool = CallPool("test", size=1, seconds=5)
    pool.close()
    with pytest.raises(EngineUnavailableError, match="closed"):
        await pool.run(lambda: None)


async def test_calls_that_hang_do_not_keep_later_ones_from_their_turn() -> None:
    """Others take the place of the threads that are held; when those are free again there are no more than before."""
    pool = CallPool("held", size=2, seconds=0.1)
    release = threading.Event()
    await asyncio.gather(*(pool.run(release.wait) for _ in range(2)), return_exceptions=True)

    assert await pool.run(lambda: "answered") == "answered"
    assert await asyncio.gather(*(pool.run(lambda: 1) for _ in range(20))) == [1] * 20
    release.set()
    async with asyncio.timeout(10):
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
