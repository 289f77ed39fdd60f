"""A container is asked to start once, whatever dies: an engine that has forgotten a process would start another."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.domain.stream import Stream
from scheduler.engine.errors import (
    EngineTroubledError,
    EngineUnavailableError,
    EngineUnreachableError,
    RunGoneError,
)
from scheduler.engine.types import RunState
from scheduler.process import faults
from scheduler.process.faults import FaultAction, Point
from scheduler.running import starting
from scheduler.store import execs, queue
from tests.lab.fake_programs import FakeProcess, waits_for_stop
from tests.lab.stage import ADMIN, PATIENCE, Stage, check, speaks

#: More than the calls of one run, so that the last ones find it ended.
CALLS_OF_A_RUN = 12


def _notes(stage: Stage) -> list[str]:
    """Give the engine a program that notes each time it runs, and for which run."""
    noted: list[str] = []

    async def program(process: FakeProcess) -> int:
        noted.append(process.spec.exec_id)
        process.out(b"noted\n")
        await asyncio.sleep(0.02)
        return 0

    stage.engine.programs["note",] = program
    return noted


async def _all_ended(stage: Stage) -> list[Exec]:
    """All attempts, the first one first, when none is left to come."""
    assert stage.service is not None
    assert stage.job is not None
    job_id = stage.job.id
    while True:  # nothing tells
        _, found = await stage.service._parts.database.read(
            lambda connection: execs.page(connection, job_id=job_id, offset=0, limit=100)
        )
        if found and all(run.ended_at is not None for run in found):
            return sorted(found, key=lambda run: run.attempt)
        await asyncio.sleep(0.005)


async def _until_requested(stage: Stage, exec_id: str) -> None:
    while (await stage.stored(exec_id)).start_requested_at is None:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("effect", ["before", "after"])
@pytest.mark.parametrize("call", range(CALLS_OF_A_RUN))
async def test_an_engine_that_dies_at_any_call_and_forgets_what_it_started_runs_no_attempt_twice(
    stage: Stage, call: int, effect: str
) -> None:
    """It takes what it has started for never started, as one does that was killed before it noted a start."""
    noted = _notes(stage)
    await stage.create("note", max_retries=1, retry_backoff_seconds=0)
    stage.engine.die_at(stage.engine.counted + call, takes_effect=effect == "after")
    await stage.trigger()

    attempts = await _all_ended(stage)
    for attempt in attempts:
        times = noted.count(attempt.id)
        assert times <= 1, attempt
        if attempt.status is ExecStatus.SUCCEEDED:
            assert times == 1
        else:
            assert attempt.fail_reason is FailReason.ENGINE_LOST, attempt
    assert attempts[-1].status is ExecStatus.SUCCEEDED
    await stage.until(lambda: not stage.engine.containers)


@pytest.mark.parametrize("call", range(CALLS_OF_A_RUN))
async def test_neither_does_one_that_dies_together_with_the_daemon(stage: Stage, call: int) -> None:
    """The next daemon knows of the request from the database alone."""
    noted = _notes(stage)
    await stage.create("note", max_retries=1, retry_backoff_seconds=0)
    stage.engine.hold_at = stage.engine.counted + call
    await stage.trigger()
    held = asyncio.create_task(stage.engine.held.wait())
    ended = asyncio.create_task(_all_ended(stage))
    await asyncio.wait((held, ended), return_when=asyncio.FIRST_COMPLETED)
    for task in (held, ended):
        task.cancel()
    await stage.stop()
    stage.engine.forget_starts()
    stage.engine.hold_at = None
    await stage.start()

    for attempt in await _all_ended(stage):
        assert noted.count(attempt.id) <= 1, attempt
        assert (attempt.status is ExecStatus.SUCCEEDED) or attempt.fail_reason is FailReason.ENGINE_LOST


async def test_a_start_without_an_answer_ends_as_lost_and_says_what_is_known(stage: Stage) -> None:
    """The engine has the container as never started; what it printed is kept."""
    noted = _notes(stage)
    await stage.create("note")
    stage.engine.die_at("start", takes_effect=True)
    exec_id = await stage.trigger()

    ended = await stage.ended(exec_id)
    assert noted == [exec_id]
    assert (ended.status, ended.fail_reason) == (ExecStatus.FAILED, FailReason.ENGINE_LOST)
    assert ended.error is not None
    assert "Whether the command ran is unknown, so it was not started again" in ended.error
    assert await stage.output(exec_id) == b"noted\n"
    assert ended.error.encode() in await stage.output(exec_id, Stream.SYSTEM)
    assert stage.engine.calls.count("start") == 1
    await stage.until(lambda: not stage.engine.containers)


@pytest.mark.parametrize(
    "failure",
    [EngineUnreachableError("connection refused"), RunGoneError("no such container")],
    ids=["unreached", "gone"],
)
async def test_a_request_that_certainly_had_no_effect_is_made_again(stage: Stage, failure: Exception) -> None:
    """The connection was refused, or the engine has answered that it has no such container."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.failures["start-request"] = [failure]

    await check(stage, await stage.trigger())


@pytest.mark.parametrize(
    "failure",
    [EngineUnavailableError("reset by peer"), EngineTroubledError("containerd: transport is closing")],
    ids=["broken-off", "troubled"],
)
async def test_a_request_that_may_have_had_an_effect_is_not(stage: Stage, failure: Exception) -> None:
    """Not even if the engine itself answered that something is wrong with it."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.failures["start-request"] = [failure]
    exec_id = await stage.trigger()

    assert (await stage.ended(exec_id)).fail_reason is FailReason.ENGINE_LOST
    assert stage.engine.calls.count("start") == 1


async def test_a_start_that_shows_late_is_followed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow engine carries the request out after it was given up."""
    monkeypatch.setattr(starting, "LIMIT", PATIENCE)
    noted = _notes(stage)
    await stage.create("note")
    stage.engine.failures["start-request"] = [EngineUnavailableError("no answer in time")]
    exec_id = await stage.trigger()
    await _until_requested(stage, exec_id)
    [container] = stage.engine.containers.values()
    await stage.engine.start(container.handle)

    assert (await stage.ended(exec_id)).status is ExecStatus.SUCCEEDED
    assert noted == [exec_id]
    assert await stage.output(exec_id) == b"noted\n"


async def test_a_start_that_the_engine_refused_without_being_heard_ends_as_refused(stage: Stage) -> None:
    """The engine has recorded why it could not start the container."""
    await stage.create("no-such-command")
    stage.engine.die_at("start", takes_effect=True)
    exec_id = await stage.trigger()

    ended = await stage.ended(exec_id)
    assert ended.fail_reason is FailReason.START_FAILED
    assert "executable file not found" in (ended.error or "")
    assert stage.engine.calls.count("start") == 1


async def test_a_container_that_disappears_after_the_request_is_not_made_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have run, unlike one that disappears before."""
    monkeypatch.setattr(starting, "LIMIT", PATIENCE)
    noted = _notes(stage)
    await stage.create("note")
    stage.engine.failures["start-request"] = [EngineUnavailableError("no answer in time")]
    exec_id = await stage.trigger()
    await _until_requested(stage, exec_id)
    stage.engine.containers.clear()

    ended = await stage.ended(exec_id)
    assert ended.fail_reason is FailReason.ENGINE_LOST
    assert "the container disappeared from the engine" in (ended.error or "")
    assert noted == []
    assert stage.engine.calls.count("create") == 1


async def test_a_run_that_was_recorded_as_started_is_not_started_by_an_engine_that_lost_its_notes(
    stage: Stage,
) -> None:
    """As after a power cut of the engine's machine alone."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"", exit_code=143)
    await stage.create("wait")
    exec_id = await stage.trigger()
    while (await stage.stored(exec_id)).status is not ExecStatus.RUNNING:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)
    stage.engine.forget_starts()
    stage.engine.break_streams()

    assert (await stage.ended(exec_id)).fail_reason is FailReason.ENGINE_LOST
    assert stage.engine.calls.count("start") == 1


async def test_a_run_that_is_stopped_while_its_start_is_in_doubt_ends_as_stopped(stage: Stage) -> None:
    """And it is not claimed that it never ran."""
    noted = _notes(stage)
    await stage.create("note")
    stage.engine.die_at("start", takes_effect=True)
    stage.engine.stays_down = True
    exec_id = await stage.trigger()
    await stage.until(lambda: stage.engine.down)
    assert stage.service is not None
    assert stage.job is not None
    await stage.service.execs.stop(ADMIN, str(stage.job.id), exec_id)
    stage.engine.down = False

    ended = await stage.ended(exec_id)
    assert ended.status is ExecStatus.CANCELLED
    assert "did not answer whether it had started" in (ended.error or "")
    assert noted == [exec_id]


async def test_a_daemon_that_lost_the_run_meanwhile_does_not_ask(stage: Stage) -> None:
    """The request is refused by the database, whatever the daemon believes."""
    noted = _notes(stage)
    await stage.create("note")
    stage.engine.hold_at = stage.engine.counted + 3  # the start, before it is requested
    exec_id = await stage.trigger()
    await stage.engine.held.wait()
    assert stage.service is not None
    run = await stage.stored(exec_id)
    database = stage.service._parts.database
    assert await database.write(lambda connection: queue.adopt(connection, run, owner="another"))
    stage.engine.hold_at = None
    stage.engine.let_go.set()
    await stage.until(lambda: "start" in stage.engine.calls)

    assert not await database.write(
        lambda connection: execs.request_start(connection, exec_id, owner=run.owner, at=run.created_at)
    )
    assert noted == []
    assert all(c.status.state is RunState.CREATED for c in stage.engine.containers.values())


async def test_a_daemon_that_fails_between_the_request_and_the_start_leaves_the_run_lost(
    stage: Stage,
) -> None:
    """It cannot know whether the other half was done; the next attempt is another run."""
    noted = _notes(stage)
    await stage.create("note", max_retries=1, retry_backoff_seconds=0)
    faults.arm(Point.START_REQUESTED, action=FaultAction.RAISE)
    try:
        await stage.trigger()
        first, second = await _all_ended(stage)
    finally:
        faults.disarm()
    assert (first.fail_reason, second.status) == (FailReason.ENGINE_LOST, ExecStatus.SUCCEEDED)
    assert noted == [second.id]


async def test_a_daemon_that_is_stopped_before_it_asks_takes_the_request_back(stage: Stage) -> None:
    """The request was being stored at that moment; the next daemon starts the container."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.hold_at = stage.engine.counted + 3  # the start, before it is requested
    exec_id = await stage.trigger()
    await stage.engine.held.wait()
    assert stage.service is not None
    gate = threading.Event()
    busy = asyncio.create_task(stage.service._parts.database.write(lambda _: gate.wait()))
    stage.engine.hold_at = None
    stage.engine.let_go.set()
    for _ in range(10):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(stage.stop())
    for _ in range(10):
        await asyncio.sleep(0)
    gate.set()
    await busy
    await stopping
    assert not stage.engine.starts
    await stage.start()

    await check(stage, exec_id)


async def test_a_start_that_a_dead_daemon_did_not_come_to_is_made_by_the_next_one(stage: Stage) -> None:
    """The request was stored. The engine was there all the time, so what it says of the container is true."""
    speaks(stage)
    await stage.create("speak")
    await _leave_requested(stage)
    await stage.start()

    await check(stage, await stage.first_exec())


async def test_but_not_on_an_engine_that_has_been_restarted_since(stage: Stage) -> None:
    """It may have forgotten the start."""
    speaks(stage)
    await stage.create("speak")
    await _leave_requested(stage)
    stage.engine.forget_starts()
    await stage.start()

    assert (await stage.ended(await stage.first_exec())).fail_reason is FailReason.ENGINE_LOST
    assert not stage.engine.starts


async def test_nor_if_another_daemon_has_asked_which_may_only_be_frozen(stage: Stage) -> None:
    """It could come to the start at any time."""
    speaks(stage)
    await stage.create("speak")
    await _leave_requested(stage)
    with closing(sqlite3.connect(stage.folder / "timeball.db")) as database, database:
        database.execute("UPDATE execs SET owner = 'another'")
    await stage.start()

    assert (await stage.ended(await stage.first_exec())).fail_reason is FailReason.ENGINE_LOST
    assert not stage.engine.starts


async def _leave_requested(stage: Stage) -> None:
    """Make a run, and let its daemon end when it has stored that it asks for the start, and before it asks."""
    stage.engine.hold_at = stage.engine.counted + 3  # the start, before it is requested
    exec_id = await stage.trigger()
    await stage.engine.held.wait()
    await stage.stop()
    with closing(sqlite3.connect(stage.folder / "timeball.db")) as database, database:
        database.execute("UPDATE execs SET start_requested_at = dispatched_at WHERE id = ?", (exec_id,))
    stage.engine.hold_at = None
