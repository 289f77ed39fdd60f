"""A defect of ours at any step of a run costs that run a pause, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.process import faults
from scheduler.process.faults import FaultAction, Point
from tests.lab.stage import Stage, check, speaks

#: Where a single run is at work; a defect elsewhere is one of the whole daemon, which stops in order.
OF_ONE_RUN = (
    Point.PULLED,
    Point.CREATED,
    Point.ATTACHED,
    Point.STARTED,
    Point.RECORDING_START,
    Point.START_RECORDED,
    Point.ENDED,
    Point.RECORDING_END,
    Point.END_RECORDED,
    Point.REMOVED,
)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No fault outlives its test."""
    yield
    faults.disarm()


@pytest.mark.parametrize("point", OF_ONE_RUN)
async def test_a_defect_at_any_step_of_a_run_changes_nothing_about_its_end(
    stage: Stage, point: Point
) -> None:
    """It is noted, the run is taken up again from what is so on the engine, and the daemon goes on."""
    speaks(stage)
    await stage.create("speak")
    faults.arm(point, action=FaultAction.RAISE)

    await check(stage, await stage.trigger())


async def test_the_daemon_stops_in_order_when_the_part_that_plans_has_a_defect(stage: Stage) -> None:
    """What was committed as having run is run by the next daemon."""
    speaks(stage)
    faults.arm(Point.CLAIMED, action=FaultAction.RAISE)
    await stage.create("speak", schedule_mode="R1//PT1S", is_schedule_active=True)
    assert stage.daemon is not None
    await stage.daemon.failed.wait()
    await stage.daemon.stop()
    stage.daemon = None
    await stage.start()

    await check(stage, await stage.first_exec())
