"""The simulated event loop."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from scheduler.process.worker import Worker
from tests.simulation.loop import DeadlockError, Process, SimulatedLoop, spawn


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    """A loop."""
    made = SimulatedLoop(random.Random(1))
    yield made
    made.close()


def test_an_hour_takes_no_time(loop: SimulatedLoop) -> None:
    """Nobody waits for a timer."""
    began = time.monotonic()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() >= 3600
    assert time.monotonic() - began < 60


def test_what_waits_for_ever_is_noticed(loop: SimulatedLoop) -> None:
    """Instead of hanging."""
    with pytest.raises(DeadlockError):
        loop.run_until_complete(asyncio.Event().wait())


def _life(log: list[str]) -> Callable[[], object]:
    async def life() -> None:
        try:
            for number in range(100):
                log.append(str(number))
                await asyncio.sleep(1)
        finally:
            log.append("cleaned up")

    return life


def test_a_dead_process_does_nothing_more(loop: SimulatedLoop) -> None:
    """Not even in its finally blocks; others go on."""
    log: list[str] = []
    process = Process("a")
    loop.add(process)

    async def main() -> None:
        spawn(process, _life(log)())  # type: ignore[arg-type]
        await asyncio.sleep(2.5)
        loop.kill(process)
        await asyncio.sleep(10)

    loop.run_until_complete(main())
    assert log == ["0", "1", "2"]


def test_a_frozen_process_continues_where_it_was(loop: SimulatedLoop) -> None:
    """Its timers have run out in the meantime."""
    log: list[str] = []
    process = Process("a")
    loop.add(process)

    async def main() -> None:
        spawn(process, _life(log)())  # type: ignore[arg-type]
        await asyncio.sleep(2.5)
        process.is_frozen = True
        await asyncio.sleep(10)
        assert log == ["0", "1", "2"]
        process.is_frozen = False
        await asyncio.sleep(1.1)
        assert log == ["0", "1", "2", "3", "4"]

    loop.run_until_complete(main())


def test_work_for_a_thread_takes_effect_although_its_process_dies_before_the_answer(
    loop: SimulatedLoop,
) -> None:
    """As a commit does."""
    done: list[str] = []
    process = Process("a")
    loop.add(process)
    loop.work_seconds = lambda: 1.0

    async def work() -> None:
        await asyncio.to_thread(done.append, "done")
        done.append("answered")

    async def main() -> None:
        spawn(process, work())
        await asyncio.sleep(1.5)
        loop.kill(process)
        await asyncio.sleep(5)

    loop.run_until_complete(main())
    assert done == ["done"]


def test_a_single_thread_keeps_the_order(loop: SimulatedLoop) -> None:
    """However long each piece of work takes."""
    done: list[int] = []
    worker = Worker("one")

    async def main() -> None:
        running = asyncio.get_running_loop()
        await asyncio.gather(*(running.run_in_executor(worker, done.append, number) for number in range(50)))

    loop.run_until_complete(main())
    assert done == list(range(50))


def test_a_buried_process_leaves_nothing_and_has_no_effect(loop: SimulatedLoop) -> None:
    """Its tasks are closed, also those that wait in a finally block; what they start then is dropped."""
    log: list[str] = []
    process = Process("a")
    loop.add(process)

    async def speak() -> None:
        log.append("spoke")

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            loop.create_task(speak())
            await asyncio.sleep(1)
            log.append("cleaned up")

    async def main() -> None:
        task = weakref.ref(spawn(process, work()))
        await asyncio.sleep(1)
        loop.kill(process)
        loop.bury(process)
        await asyncio.sleep(200)
        gc.collect()
        assert task() is None

    loop.run_until_complete(main())
    assert (log, loop.errors, process.tasks) == ([], [], {})


def _orders(seed: int) -> list[str]:
    loop = SimulatedLoop(random.Random(seed))
    log: list[str] = []

    async def speak(name: str) -> None:
        for _ in range(5):
            log.append(name)
            await asyncio.sleep(0)

    async def main() -> None:
        processes = [Process(name) for name in "abc"]
        for process in processes:
            loop.add(process)
        await asyncio.gather(*(spawn(process, speak(process.name)) for process in processes))

    loop.run_until_complete(main())
    loop.close()
    return log


def test_the_seed_decides_the_order() -> None:
    """The same seed always the same, another seed another one."""
    assert _orders(1) == _orders(1)
    assert len({tuple(_orders(seed)) for seed in range(10)}) > 5
