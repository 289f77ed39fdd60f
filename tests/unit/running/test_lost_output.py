"""Output that an engine had and cannot give any more: the run ends all the same, and its log says what is missing."""

from __future__ import annotations

from scheduler.domain.execution import FailReason
from scheduler.domain.stream import Stream
from scheduler.engine.errors import EngineTroubledError
from scheduler.engine.types import RunState
from tests.lab.fake_programs import waits_for_stop
from tests.lab.stage import ADMIN, Stage, speaks


async def _told(stage: Stage, exec_id: str) -> str:
    """Timeball's own lines about a run."""
    return (await stage.output(exec_id, Stream.SYSTEM)).decode()


async def test_a_log_that_the_engine_refuses_to_give_does_not_keep_the_run_open(stage: Stage) -> None:
    """It is asked for some times; then the run's true end is recorded, and the log says what is lost."""
    speaks(stage)
    await stage.create("speak")
    stage.engine.failures = {"logs": [EngineTroubledError("the log file is corrupt")] * 1000}
    exec_id = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.starts))
    stage.engine.break_streams()

    one = await stage.ended(exec_id)
    assert (one.exit_code, one.fail_reason) == (3, FailReason.EXIT_CODE)
    assert "The engine cannot provide the rest of the output, which is lost: the log file is corrupt" in (
        await _told(stage, exec_id)
    )
    assert len(stage.engine.starts) == 1


async def test_a_connection_that_broke_amid_a_run_is_told_in_its_log(stage: Stage) -> None:
    """Nobody knows what an engine that died had read and not kept."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=0)
    await stage.create("wait")
    exec_id = await stage.trigger()
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    stage.engine.break_streams()
    await stage.until(lambda: "logs" in stage.engine.calls)
    assert stage.service is not None
    assert stage.job is not None
    await stage.service.execs.stop(ADMIN, str(stage.job.id), exec_id)

    await stage.ended(exec_id)
    assert (await _told(stage, exec_id)).count("The connection to the engine was lost;") == 1
    assert await stage.output(exec_id) == b"up\ndown\n"


async def test_a_container_that_vanishes_takes_unread_output_with_it_and_the_log_says_so(
    stage: Stage,
) -> None:
    """Its end is unknown, and so is what it printed last."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=0)
    await stage.create("wait")
    exec_id = await stage.trigger()
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    await stage.stop()
    stage.engine.containers.clear()
    await stage.start()

    assert (await stage.ended(exec_id)).fail_reason is FailReason.ENGINE_LOST
    assert "output that had not been read is lost" in await _told(stage, exec_id)
