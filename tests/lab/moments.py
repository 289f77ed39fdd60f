"""Moments in a little while, for schedules that have to be there before they are due, however slow the machine is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")


def written(moment: datetime) -> str:
    """A moment as schedules write it, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def in_time(
    ask: Callable[[datetime], Awaitable[T]],
    seconds: float,
    *,
    undo: Callable[[T], Awaitable[object]] | None = None,
) -> tuple[datetime, T]:
    """A moment in a little while, and what was made for it before it came.

    Args:
        ask: makes something for the moment.
        seconds: until the moment, at most; it is a whole second where this is one or more, else a whole millisecond.
        undo: takes back what was made too late; then all is done again with twice the time.
    """
    while True:
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        moment = moment.replace(microsecond=0 if seconds >= 1 else moment.microsecond // 1000 * 1000)
        made = await ask(moment)
        if datetime.now(UTC) < moment:
            return moment, made
        if undo is not None:
            await undo(made)
        seconds *= 2
