"""Reads the output that a run printed while no daemon was reading, from the engine's own copy of its log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from scheduler.logs.capture import Capture
from scheduler.logs.resume import Aligner, EngineFrame, Locator

#: Number of searches of the copy if the engine discards parts of it in the meantime.
TRIES: Final = 5
NO_TIME: Final = timedelta()


#: Opens the engine's copy from the beginning; the argument says whether to follow it.
OpenLog = Callable[[bool], Awaitable[AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]]]]


async def read_on(capture: Capture, open_log: OpenLog, *, follow: bool, ahead: timedelta = NO_TIME) -> None:
    """Add to a capture what the engine's copy contains beyond it.

    Returns when the copy ends: with ``follow`` when the container does (or the connection: inspect it afterwards). If
    the copy differs from what is stored, it is searched for the position at which to continue; if the result is
    uncertain, one of Timeball's own lines says so.

    Args:
        capture: receives the output.
        open_log: opens the copy, with times if the engine can provide them.
        follow: continue with new output.
        ahead: how far the clock of the copy's times is ahead of ours.
    """
    if ahead:
        open_log = partial(_by_our_clock, open_log, ahead)
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


async def _by_our_clock(
    open_log: OpenLog, ahead: timedelta, follow: bool
) -> AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]]:
    return _shifted(await open_log(follow), ahead)


@asynccontextmanager
async def _shifted(
    opened: AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]], ahead: timedelta
) -> AsyncIterator[AsyncIterator[Sequence[EngineFrame]]]:
    async def batches(source: AsyncIterator[Sequence[EngineFrame]]) -> AsyncIterator[Sequence[EngineFrame]]:
        async for frames in source:
            yield [(stream, data, None if at is None else at - ahead) for stream, data, at in frames]

    async with opened as source:
        yield batches(source)


async def _copy(capture: Capture, aligner: Aligner, open_log: OpenLog, *, follow: bool) -> bool:
    async with await open_log(follow) as source:
        async for frames in source:
            capture.add_frames(aligner.feed(frames))
            if aligner.is_lost:
                return False
            await capture.room()
    return aligner.finish()
