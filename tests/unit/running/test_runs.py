"""Runs on an engine in memory that fails, hangs or breaks off at each single call: the end is the same."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from scheduler.domain.execution import ExecStatus, FailReason
from scheduler.domain.stream import Stream
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import RunState
from scheduler.store import execs
from tests.lab.fake_programs import waits, waits_for_stop
from tests.lab.stage import ADMIN, PATIENCE, Stage, check, speaks, waiting

#: The calls that bring a run from nothing to its end.
CALLS = ("ensure_image", "create", "attach", "start", "inspect", "remove")


@pytest.mark.parametrize("call", [*CALLS, "find", "logs"])
async def test_a_call_that_fails_once_changes_nothing_about_the_run(stage: Stage, call: str) -> None:
    """Whichever call it is: the run is looked at again, and goes on from where it was."""
    speaks(stage)
    await stage.create("speak")
    # The first call fails as well, so that the calls which look for what is there come about.
    stage.engine.failures = {"create": [EngineUnavailableError("no answer")]}
    stage.engine.failures.setdefault(call, []).append(EngineUnavailableError("no answer"))

    await check(stage, await stage.trigger())


@pytest.mark.parametrize("silently", [True, False])
async def test_a_stream_that_breaks_is_made_good_from_the_engines_log(stage: Stage, silently: bool) -> None:
    """Also when it seems to have ended well: a stream's end is not a container's end."""
    speaks(stage, pieces=6)
    await stage.create("speak")
    exec_id = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.starts))
    stage.engine.break_streams(silently=silently)

    await check(stage, exec_id)


@pytest.mark.parametrize("minutes", [-60, 60])
async def test_an_engine_whose_clock_is_wrong_hides_no_break_of_its_streams(
    stage: Stage, minutes: int
) -> None:
    """The container ends after the break, but by its engine's clock an hour before; or long after it."""
    stage.engine.set_clock(lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    speaks(stage)
    await stage.create("speak")
    exec_id = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.starts))
    stage.engine.break_streams(silently=True, events=False)

    await check(stage, exec_id)
    assert "logs" in stage.engine.calls
    reaches = await stage.reaches(exec_id)
    assert reaches == sorted(reaches)
    assert reaches[-1] <= datetime.now(UTC)


async def test_output_that_came_whole_is_not_read_again(stage: Stage) -> None:
    """Whatever the engine's clock says."""
    stage.engine.set_clock(lambda: datetime.now(UTC) + timedelta(minutes=60))
    speaks(stage)
    await stage.create("speak")
    await check(stage, await stage.trigger())
    assert "logs" not in stage.engine.calls


async def test_a_time_limit_holds_after_the_stream_has_ended_early(stage: Stage) -> None:
    """Nothing more is heard of the container, and it is stopped all the same."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=143)
    await stage.create("wait", timeout_seconds=1)
    exec_id = await stage.trigger()
    await stage.until(lambda: "logs" in stage.engine.calls or "start" in stage.engine.calls)
    stage.engine.break_streams(silently=True)

    one = await stage.ended(exec_id)
    assert one.fail_reason is FailReason.TIMEOUT
    assert await stage.output(exec_id) == b"up\ndown\n"


@pytest.mark.parametrize("step", range(9))
async def test_a_daemon_that_stops_at_any_call_leaves_the_run_to_the_next(stage: Stage, step: int) -> None:
    """The call is held while the daemon goes, as a slow engine would hold it."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.hold_at = stage.engine.counted + step
    exec_id = await stage.trigger()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await stage.engine.held.wait()
    await stage.stop()
    stage.engine.hold_at = None
    await stage.start()

    await check(stage, exec_id)


async def test_a_container_that_cannot_be_removed_now_is_removed_later(stage: Stage) -> None:
    """The run has ended and gives its capacity back; the container is an orphan until the engine can."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.failures = {"remove": [EngineUnavailableError("device or resource busy")] * 3}

    await check(stage, await stage.trigger())


async def test_a_container_that_cannot_be_removed_does_not_keep_the_region_down(stage: Stage) -> None:
    """Orphans are no reason to run nothing."""
    speaks(stage)
    await stage.create("speak")
    await stage.stop()
    stage.engine.failures = {"list_ours": [EngineUnavailableError("timeout")] * 2}
    await stage.start()

    await check(stage, await stage.trigger())


async def test_a_start_that_fails_is_recorded_once_even_if_the_container_stays(stage: Stage) -> None:
    """It is not started again when its removal was refused."""
    await stage.create("no-such-command")
    stage.engine.failures = {"remove": [EngineUnavailableError("busy")] * 2}
    exec_id = await stage.trigger()

    assert (await stage.ended(exec_id)).fail_reason is FailReason.START_FAILED
    await stage.until(lambda: not stage.engine.containers)
    assert stage.engine.calls.count("start") == 1


async def test_a_container_that_is_taken_away_before_its_start_is_made_anew(stage: Stage) -> None:
    """It has not run, so nothing runs twice."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.hold_at = stage.engine.counted + 2  # to attach
    exec_id = await stage.trigger()
    await stage.engine.held.wait()
    await stage.stop()
    stage.engine.hold_at = None
    stage.engine.containers.clear()
    await stage.start()

    await check(stage, exec_id)


async def test_deleting_a_run_that_is_being_stopped_patiently_does_not_wait_for_that(stage: Stage) -> None:
    """The grace period of the deletion counts from the deletion on."""
    stage.engine.programs["hang",] = waits(out=b"hanging\n")
    await stage.create("hang", stop_grace_seconds=600)
    exec_id = await stage.trigger()
    assert stage.service is not None
    assert stage.job is not None
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    await stage.service.execs.stop(ADMIN, str(stage.job.id), exec_id)
    await stage.until(lambda: "stop" in stage.engine.calls)

    async with asyncio.timeout(PATIENCE):
        await stage.service.jobs.delete(ADMIN, str(stage.job.id))
    assert not stage.engine.containers


async def test_deleting_a_run_of_an_engine_that_is_away_does_not_wait_for_it(stage: Stage) -> None:
    """Its container is removed when the engine is back."""
    stage.engine.programs["hang",] = waits(out=b"hanging\n")
    await stage.create("hang")
    await stage.trigger()
    assert stage.service is not None
    assert stage.job is not None
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    stage.engine.down = True
    stage.engine.break_streams()

    async with asyncio.timeout(PATIENCE):
        await stage.service.jobs.delete(ADMIN, str(stage.job.id))
    assert stage.engine.containers
    stage.engine.down = False
    await stage.until(lambda: not stage.engine.containers)


async def test_runs_that_were_missed_start_in_the_order_of_their_due_times(stage: Stage) -> None:
    """Also those that the next daemon reads from the database."""
    speaks(stage)
    await stage.create(
        "speak",
        concurrency_policy="queue",
        misfire_policy="all",
        is_schedule_active=True,
        schedule_mode="R/2020-01-01T00:00:00Z/PT1H",
    )
    await stage.stop()
    with closing(sqlite3.connect(stage.folder / "timeball.db")) as database, database:
        database.execute("UPDATE jobs SET next_due_at = next_due_at - ?", (10 * 3600 * 10**6,))
    stage.engine.down = True
    await stage.start()
    await stage.until(lambda: len(waiting(stage)) >= 10)
    await stage.stop()
    stage.engine.down = False
    await stage.start()

    ended = [await stage.ended(exec_id) for exec_id in waiting(stage)]
    in_turn = sorted(ended, key=lambda one: one.started_at or one.created_at)
    due = [one.scheduled_for for one in in_turn if one.scheduled_for is not None]
    assert due == sorted(due)
    assert len(due) >= 10
    ends = [(one.started_at, one.ended_at) for one in in_turn]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(ends) if earlier[1] and later[0])


async def test_a_stop_that_the_engine_did_not_take_is_asked_for_again(stage: Stage) -> None:
    """The wish stays until the container has ended."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=143)
    await stage.create("wait")
    stage.engine.failures = {"stop": [EngineUnavailableError("no answer")] * 2}
    exec_id = await stage.trigger()
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    assert stage.service is not None
    assert stage.job is not None
    await stage.service.execs.stop(ADMIN, str(stage.job.id), exec_id)

    one = await stage.ended(exec_id)
    assert (one.status, one.exit_code) == (ExecStatus.CANCELLED, 143)
    assert await stage.output(exec_id) == b"up\ndown\n"
    assert stage.engine.calls.count("stop") == 3


async def test_a_stop_that_comes_while_the_end_is_decided_prevents_the_next_attempt(stage: Stage) -> None:
    """As one that another daemon has taken: this one has not heard of it when it writes the end down."""
    failing = asyncio.Event()
    stage.engine.programs["fail",] = waits(failing, out=b"up\n", exit_code=3)
    await stage.create("fail", max_retries=3, retry_backoff_seconds=0)
    exec_id = await stage.trigger()
    assert stage.daemon is not None
    async with asyncio.timeout(PATIENCE):
        while (one := await stage.stored(exec_id)).status is not ExecStatus.RUNNING:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
    now = datetime.now(UTC)
    await stage.service._parts.database.write(
        lambda c: execs.stop(c, one, now=now, reason="requested by ada")
    )
    failing.set()

    one = await stage.ended(exec_id)
    assert (one.status, one.exit_code, one.fail_reason) == (ExecStatus.CANCELLED, 3, None)
    assert one.error == "The run was stopped: requested by ada."
    assert await stage.first_exec() == exec_id == waiting(stage)[-1]
    assert (await stage.output(exec_id, Stream.SYSTEM)).endswith(b"there will be no further attempt\n")
    assert await stage.output(exec_id) == b"up\n"
