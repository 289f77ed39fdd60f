"""Streams that bring much take turns, and leave the event loop to others in between."""

from __future__ import annotations

import asyncio

from scheduler.logs.pacing import StreamPacer


async def rounds(count: int) -> None:
    """Let the event loop go round so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_in_one_round_only_so_many_streams_go_on() -> None:
    """Of twenty that always have more, each as often as the others, and never more than two in a round."""
    turns = StreamPacer(each=200)
    took: list[int] = []

    async def stream(number: int) -> None:
        while True:
            took.append(number)
            await turns.take(100)

    tasks = [asyncio.create_task(stream(number)) for number in range(20)]
    await rounds(5)
    for _ in range(100):
        before = len(took)
        await rounds(1)
        assert len(took) - before <= 2
    counts = [took.count(number) for number in range(20)]
    assert max(counts) - min(counts) <= 3  # the first had the loop to itself
    assert sum(counts) >= 200
    for task in tasks:
        task.cancel()


async def test_one_stream_alone_waits_a_round_at_most() -> None:
    """However much it brings; and what is small does not wait at all."""
    turns = StreamPacer(each=200)
    for _ in range(3):
        await turns.take(1_000_000)
        await rounds(3)
    assert [await asyncio.wait_for(turns.take(10), 60) for _ in range(3)] == [None] * 3


async def test_a_stream_that_is_given_up_takes_no_turn() -> None:
    """Whoever waits behind it goes on in its place."""
    turns = StreamPacer(each=100)
    _, given_up, other = tasks = [asyncio.create_task(turns.take(100)) for _ in range(3)]
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait_for(other, 60)
    await asyncio.wait(tasks)
    assert given_up.cancelled()
