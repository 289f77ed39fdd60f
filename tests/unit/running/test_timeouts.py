"""A timeout is measured by one clock, however wrong those of the engine and of the machine are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.execution import FailReason
from tests.lab.fake_programs import waits, waits_for_stop
from tests.lab.stage import Stage


@pytest.fixture(params=[-3600, 3600], ids=["slow", "fast"])
def skew(request: pytest.FixtureRequest, stage: Stage) -> timedelta:
    """How far the engine's clock is off, which is an hour."""
    ahead = timedelta(seconds=request.param)
    stage.engine.set_clock(lambda: datetime.now(UTC) + ahead)
    return ahead


@pytest.mark.usefixtures("skew")
async def test_a_run_on_an_engine_whose_clock_is_off_is_not_stopped_early(stage: Stage) -> None:
    """Also not after the daemon was started again in the middle of it."""
    let_go = asyncio.Event()
    stage.engine.programs["wait",] = waits(let_go)
    await stage.create("wait", timeout_seconds=600)
    exec_id = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.containers))
    await stage.stop()
    await stage.start()
    let_go.set()
    one = await stage.ended(exec_id)
    assert (one.exit_code, one.fail_reason) == (0, None)


@pytest.mark.usefixtures("skew")
async def test_a_run_on_an_engine_whose_clock_is_off_is_stopped_all_the_same(stage: Stage) -> None:
    """After its timeout."""
    stage.engine.programs["wait",] = waits_for_stop(exit_code=7)
    await stage.create("wait", timeout_seconds=1)
    one = await stage.ended(await stage.trigger())
    assert (one.exit_code, one.fail_reason) == (7, FailReason.TIMEOUT)
