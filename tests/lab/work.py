"""How much work something is, as a count that is the same on every machine and at every load; never as a time.

`calls_of` counts what Python calls. What a call does inside C (a regular expression, a large number) is not counted,
and is bounded by `processor_seconds`: far more than it takes, and far less than what grows too fast would take.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Some thousand times what anything here takes that does not grow too fast.
PLENTY_OF_SECONDS = 30.0


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, in Python and in C, are called by it."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    gc.disable()  # what others left to be finalized is none of its work
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@contextmanager
def processor_seconds(seconds: float = PLENTY_OF_SECONDS) -> Iterator[None]:
    """Fail what takes more time of the processor than that; time in which others have it does not count."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"it took more than {seconds:g} s of the processor")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
