"""The engine dies while a run stands exactly between two steps of its life, and comes back.

One engine for all cases: each daemon stops at its own point, then the engine is killed under all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from scheduler.process.faults import FaultAction, Point
from tests.lab.databases import put_into
from tests.lab.engine import connect
from tests.lab.nursery import Nursery
from tests.lab.private_engine import LOST_EXIT_CODE, PrivateEngine
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

LINES = [str(number) for number in range(1, 11)]
#: Prints ten lines and ends by itself.
ENDS = script("for i in $(seq 10); do echo $i; done; exit 7")
#: Prints lines until its engine asks it to end, for ten minutes at most.
GOES_ON = script(
    "trap 'echo asked to end; exit 9' TERM; i=0; "
    "while [ $i -lt 6000 ]; do i=$((i+1)); echo $i; sleep 0.1; done"
)
#: How a run ends for which the engine died when it stood there: its command, its status, its exit code.
ENDS_AS: Mapping[Point, tuple[list[str], str, int | None]] = {
    Point.PULLED: (ENDS, "F", 7),
    Point.CREATED: (ENDS, "F", 7),
    Point.ATTACHED: (ENDS, "F", 7),
    Point.START_REQUESTED: (ENDS, "F", 7),
    Point.STARTED: (GOES_ON, "F", 9),
    Point.START_RECORDED: (GOES_ON, "F", 9),
    Point.CHUNK_WRITTEN: (GOES_ON, "F", 9),
    Point.STOPPING: (GOES_ON, "C", 9),
    Point.STOPPED: (GOES_ON, "C", 9),
    Point.ENDED: (ENDS, "F", 7),
    Point.RECORDING_END: (ENDS, "F", 7),
    Point.END_RECORDED: (ENDS, "F", 7),
    Point.REMOVED: (ENDS, "F", 7),
}
#: The first chunks hold the service's own lines; this one comes while the container prints.
PASSINGS = {Point.CHUNK_WRITTEN: 3}


async def _stop_there(timeball: Timeball, point: Point) -> tuple[int, str]:
    """Start a daemon and a run, and return both when the daemon stands still at the point."""
    passing = PASSINGS.get(point, 1)
    await timeball.start(fault=f"{point.value}:{passing}:{FaultAction.STOP.value}")
    job = await timeball.create(ENDS_AS[point][0])
    run = await timeball.trigger(job)
    if point in (Point.STOPPING, Point.STOPPED):
        await timeball.until_printed(job, run, "3")
        asking = asyncio.create_task(timeball.post(f"/v1/jobs/{job}/execs/{run}/stop"))
        asking.add_done_callback(lambda task: task.exception())

    async def stands_still() -> bool:
        return timeball.stands_still

    await until(stands_still)
    return job, run


async def _check(timeball: Timeball, point: Point, job: int, run: str) -> None:
    _, status, exit_code = ENDS_AS[point]
    ended = await timeball.until_ended(job, run)
    exit_codes = {exit_code, LOST_EXIT_CODE} if ENDS_AS[point][0] is GOES_ON else {exit_code}
    assert ended["status"] == status, (point, ended)
    assert ended["exit_code"] in exit_codes, (point, ended)
    lines = await timeball.lines(job, run)
    if ENDS_AS[point][0] is ENDS:
        assert lines == LINES, point
    else:  # what it printed while nobody took it is lost with the engine
        numbers = [line for line in lines if line != "asked to end"]
        assert numbers == [str(number) for number in range(1, len(numbers) + 1)], point
    assert len(await timeball.execs(job)) == 1


@pytest.mark.promise("started-once")
async def test_an_engine_that_dies_between_two_steps_of_a_run_costs_no_more_than_that_run_and_tells_its_true_end(
    private_engine: PrivateEngine, nursery: Nursery, busybox_image: str, migrated: Path, tmp_path: Path
) -> None:
    """What had not started runs once and in full; what ran ends as the engine ended it; what had ended is known."""
    made = {
        point: Timeball(tmp_path / point.value, private_engine.url, busybox_image, nursery=nursery)
        for point in ENDS_AS
    }
    for timeball in made.values():
        put_into(timeball.data_dir, migrated)
    try:
        runs = await asyncio.gather(*(_stop_there(timeball, point) for point, timeball in made.items()))

        await asyncio.to_thread(private_engine.kill)
        for timeball in made.values():
            timeball.go_on()
        await asyncio.to_thread(private_engine.start)

        await asyncio.gather(
            *(
                _check(timeball, point, job, run)
                for (point, timeball), (job, run) in zip(made.items(), runs, strict=True)
            )
        )
        with connect(private_engine.url) as client:

            async def none_left() -> bool:
                return not client.containers(all=True)

            await until(
                none_left, seconds=120
            )  # what could not be removed meanwhile is looked for once a minute
    finally:
        for timeball in made.values():
            await timeball.clear_away()
