"""Helpers for the side tasks of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a side task and wait until it has ended, whatever its result.

    The task itself is not awaited: if the caller were cancelled at the same time, both cancellations would look
    alike.
    """
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not complain about it


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, or for some seconds; returns whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


async def unless(event: asyncio.Event, work: Awaitable[T]) -> T | None:
    """The result of `work`, which is cancelled if the event is set first; then None."""
    task = asyncio.ensure_future(work)
    stop = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await cancel(stop)
        await cancel(task)
