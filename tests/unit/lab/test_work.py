"""Work is counted, and a limit of the processor's time ends what takes far too much of it."""

from __future__ import annotations

import pytest

from tests.lab.work import calls_of, processor_seconds


def test_the_same_work_is_always_as_much():
    """Twice as many calls, in Python or in C, are twice the work."""

    def work(count: int) -> None:
        for number in range(count):
            abs(number)

    once, twice = [calls_of(lambda count=count: work(count)) for count in (1_000, 2_000)]
    assert once == calls_of(lambda: work(1_000))
    assert twice - once == 1_000


def test_what_takes_far_too_long_is_ended():
    """By the time of the processor that it has used."""

    def never_end() -> None:
        while True:
            pass

    with pytest.raises(AssertionError, match=r"more than 0\.05 s of the processor"), processor_seconds(0.05):
        never_end()
