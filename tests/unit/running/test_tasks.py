"""Side tasks end when they are told to, and never swallow the end of the task that they stand beside."""

from __future__ import annotations

import asyncio

import pytest

from scheduler.running.tasks import cancel, unless, wait_for_event


async def test_a_cancellation_that_comes_while_a_side_task_ends_is_not_lost() -> None:
    """The outer task ends as well, although the side task takes its time."""
    slow_to_end = asyncio.Event()
    began_to_end = asyncio.Event()

    async def side() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            began_to_end.set()
            await slow_to_end.wait()

    async def outer() -> None:
        task = asyncio.create_task(side())
        await asyncio.sleep(0)
        await cancel(task)
        pytest.fail("the outer task went on")

    task = asyncio.create_task(outer())
    await began_to_end.wait()
    task.cancel()
    slow_to_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_whatever_a_side_task_ends_with_is_its_own_affair() -> None:
    """An error, a result, an end long ago."""

    async def fails() -> None:
        raise ValueError

    failed = asyncio.create_task(fails())
    done = asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait((failed, done))
    await cancel(failed)
    await cancel(done)


async def test_an_event_ends_what_is_done_unless_it_is_set() -> None:
    """The result if that comes first, None and a cancelled task if the event does; errors come through."""
    event = asyncio.Event()

    async def quick() -> int:
        return 7

    async def fails() -> int:
        raise ValueError("no")

    assert await unless(event, quick()) == 7
    with pytest.raises(ValueError, match="no"):
        await unless(event, fails())
    forever: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(event.set)
    assert await unless(event, forever) is None
    assert forever.cancelled()


async def test_waiting_for_an_event_says_whether_it_came() -> None:
    """Also when no time is given."""
    event = asyncio.Event()
    assert await wait_for_event(event, 0) is False
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, 30) is True
    assert await wait_for_event(event, 0) is True
