"""Takes down what an exec printed while nobody listened, from the engine's own copy of its log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from scheduler.logs.capture import Capture
from scheduler.logs.resume import Aligner, EngineFrame, Locator

#: How often the copy is searched anew when the engine throws away parts of it in the meantime.
TRIES: Final = 5


#: Opens the engine's copy from the beginning; the argument says whether to follow it.
OpenLog = Callable[[bool], Awaitable[AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]]]]


async def read_on(capture: Capture, open_log: OpenLog, *, follow: bool) -> None:
    """Add to a capture what the engine's copy has beyond it.

    Returns when the copy ends: with ``follow`` when the container does (or the connection: inspect after it).
    A copy that differs from what is stored is searched for the place to go on; where that leaves a doubt,
    one of Timeball's own lines says so.

    Args:
        capture: where it goes.
        open_log: opens the copy; with times if the engine can tell them.
        follow: go on with what is printed from now on.
    """
    aligner = Aligner(capture.cursor())
    if await _copy(capture, aligner, open_log, follow=follow):
        return
    for _ in range(TRIES):
        locator = Locator(capture.cursor())
        async with await open_log(False) as source:
            async for frames in source:
                locator.feed(frames)
        aligner = locator.aligner()
        for note in locator.notes:
            capture.system(note)
        if await _copy(capture, aligner, open_log, follow=follow):
            return
    capture.system("The engine's log changes faster than it can be read: lines may be missing here.")


async def _copy(capture: Capture, aligner: Aligner, open_log: OpenLog, *, follow: bool) -> bool:
    async with await open_log(follow) as source:
        async for frames in source:
            capture.add_frames(aligner.feed(frames))
            if aligner.is_lost:
                return False
            await capture.room()
    return aligner.finish()
