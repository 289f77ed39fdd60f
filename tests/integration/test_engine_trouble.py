"""An engine may be absent, die and come back: the daemon stays up, says so, and every run ends truthfully."""

from __future__ import annotations

import asyncio

import pytest
from docker.api.client import APIClient

from tests.integration.conftest import MakeTimeball
from tests.lab.engine import connect
from tests.lab.private_engine import LOST_EXIT_CODE, PrivateEngine
from tests.lab.proxy import EngineProxy
from tests.lab.timeball import PATIENCE, Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Ends soon when its engine wants it to; counts, so that a second start would show.
COUNTS = script(
    "trap 'echo asked to end; exit 9' TERM; i=0; "
    "while [ $i -lt 6000 ]; do i=$((i+1)); echo $i; sleep 0.1; done"
)


async def _says(timeball: Timeball, status: int, part: str) -> dict[str, str]:
    """What `/readyz` says once it has that status."""
    _, checks = await until(timeball.readiness, lambda seen: seen[0] == status)
    assert (checks[part] == "ok") is (status == 200)
    return checks


@pytest.mark.promise("engine-death")
async def test_an_engine_that_comes_late_is_waited_for(
    private_engine: PrivateEngine, make_timeball: MakeTimeball
) -> None:
    """The daemon serves without it, says what is missing, and runs what waits as soon as it is there."""
    await asyncio.to_thread(private_engine.stop)
    timeball = await make_timeball(engine=private_engine.url, until_ready=False)
    checks = await _says(timeball, 503, "engine LOCAL")
    assert checks["database"] == "ok"
    assert "No such file or directory" in checks["engine LOCAL"]
    job = await timeball.create("echo at last")
    kept, stopped = await timeball.trigger(job), await timeball.trigger(job)
    waiting = await timeball.exec(job, kept)
    assert waiting["status"] == "W"
    assert "engine of region LOCAL" in waiting["waiting_for"]
    assert (await timeball.post(f"/v1/jobs/{job}/execs/{stopped}/stop"))["status"] == "C"

    await asyncio.to_thread(private_engine.start)

    assert (await timeball.until_ended(job, kept))["status"] == "S"
    assert await timeball.lines(job, kept) == ["at last"]
    assert (await timeball.exec(job, stopped))["status"] == "C"
    await _says(timeball, 200, "engine LOCAL")


@pytest.mark.promise("output-after")
async def test_an_engine_that_dies_amid_runs_takes_nothing_with_it(
    private_engine: PrivateEngine, make_timeball: MakeTimeball
) -> None:
    """The daemon stays up; when the engine is back every run has its true end, and nothing ran twice."""
    timeball = await make_timeball(engine=private_engine.url)
    job = await timeball.create(COUNTS, resource_size="S")
    quick = await timeball.create(script("echo once; sleep 1; exit 6"), resource_size="S")
    late = await timeball.create(script("echo once"), resource_size="L")
    doomed = await timeball.create(COUNTS, resource_size="S")
    going, ending, deleted = [await timeball.trigger(one) for one in (job, quick, doomed)]
    waiting = await timeball.trigger(late)
    for one, run, line in ((job, going, "5"), (quick, ending, "once"), (doomed, deleted, "5")):
        await timeball.until_printed(one, run, line)

    await asyncio.to_thread(private_engine.kill)

    await _says(timeball, 503, "engine LOCAL")
    assert timeball.is_running
    assert (await timeball.exec(job, going))["status"] == "R"
    assert (await timeball.exec(late, waiting))["status"] == "W"
    async with asyncio.timeout(PATIENCE):
        await timeball.delete(f"/v1/jobs/{doomed}")
    await asyncio.to_thread(private_engine.start)

    await _says(timeball, 200, "engine LOCAL")
    ended = await timeball.until_ended(job, going)
    # The engine ends what ran when it comes back: it is not set to let containers outlive it.
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("F", 9, "exit_code")
    lines = await timeball.lines(job, going)
    assert lines[-1] == "asked to end"
    assert lines[:-1] == [str(number) for number in range(1, len(lines))]
    own = await timeball.lines(job, going, "system")
    assert any("The connection to the engine was lost" in line for line in own)
    ended = await timeball.until_ended(quick, ending)
    assert ended["status"] == "F"
    assert ended["exit_code"] in (6, LOST_EXIT_CODE)
    assert await timeball.lines(quick, ending) == ["once"]
    assert (await timeball.until_ended(late, waiting))["status"] == "S"
    assert await timeball.lines(late, waiting) == ["once"]

    with connect(private_engine.url) as client:

        async def none_left() -> bool:
            return not timeball.containers(client)

        await until(none_left)


@pytest.mark.promise("engine-death")
async def test_an_engine_that_comes_back_with_nothing_ends_its_runs_and_goes_on(
    private_engine: PrivateEngine,
    make_timeball: MakeTimeball,
    engine_client: APIClient,
    busybox_image: str,
) -> None:
    """Its data directory was wiped: what ran is lost and says so, its output so far is kept, new runs start."""
    timeball = await make_timeball(engine=private_engine.url)
    job = await timeball.create(COUNTS, resource_size="S")
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "5")

    await asyncio.to_thread(private_engine.kill)
    await _says(timeball, 503, "engine LOCAL")
    await asyncio.to_thread(private_engine.wipe)
    await asyncio.to_thread(private_engine.start)
    await asyncio.to_thread(private_engine.load, engine_client, busybox_image)

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["fail_reason"], ended["exit_code"]) == ("F", "engine_lost", None)
    lines = await timeball.lines(job, run)
    assert lines[:5] == ["1", "2", "3", "4", "5"]
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    assert "disappeared from the engine" in (await timeball.lines(job, run, "system"))[-1]
    await _says(timeball, 200, "engine LOCAL")
    again = await timeball.create("echo and again", resource_size="S")
    assert (await timeball.until_ended(again, await timeball.trigger(again)))["status"] == "S"


@pytest.mark.promise("engine-death")
async def test_a_run_whose_container_is_taken_away_is_lost_and_says_so(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """Somebody removes it behind our back: its end is unknown, and that is what is recorded."""
    job = await timeball.create(COUNTS)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "3")
    engine_client.remove_container(f"timeball-{run}", force=True)

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["fail_reason"]) == ("F", "engine_lost") or (
        # The engine tells of the end before it removes: that is true as well.
        (ended["status"], ended["exit_code"]) == ("F", 137)
    )


async def test_a_far_engine_is_a_region_like_the_local_one(
    private_engine: PrivateEngine, make_timeball: MakeTimeball
) -> None:
    """By tcp:// in the configuration; its connection breaks amid a run, which goes on."""
    async with EngineProxy(private_engine.url.removeprefix("unix://")) as door:
        timeball = await make_timeball(config=f"[regions.FAR]\nurl = '{door.url}'\ncpus = 1.5\n")
        _, checks = await timeball.readiness()
        assert checks == {"database": "ok", "engine LOCAL": "ok", "engine FAR": "ok"}
        near = await timeball.create("echo near")
        far = await timeball.create(
            script("i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo $i; sleep 0.1; done"),
            region_name="FAR",
            resource_size="M",
        )
        run, blocked = await timeball.trigger(far), await timeball.trigger(far)
        await timeball.until_printed(far, run, "5")
        assert "1 CPU (0.50 of 1.5 free)" in (await timeball.exec(far, blocked))["waiting_for"]

        await door.close()

        await _says(timeball, 503, "engine FAR")
        assert (await timeball.until_ended(near, await timeball.trigger(near)))["status"] == "S"
        await door.open()

        for one in (run, blocked):
            ended = await timeball.until_ended(far, one)
            assert (ended["status"], ended["region_name"]) == ("S", "FAR"), ended
            assert await timeball.lines(far, one) == [str(number) for number in range(1, 31)]
        await timeball.terminate()


async def test_runs_of_a_region_that_is_configured_no_more_do_not_stay_open_for_ever(
    make_timeball: MakeTimeball, engine_url: str
) -> None:
    """They fail with a reason, so that a job that forbids two runs is not blocked."""
    timeball = await make_timeball(config=f"[regions.SECOND]\nurl = '{engine_url}'\n")
    job = await timeball.create(COUNTS, region_name="SECOND", concurrency_policy="forbid")
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "1")
    await timeball.terminate()
    timeball.configure("")
    await timeball.start()

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["fail_reason"]) == ("F", "engine_lost")
    assert "SECOND is not configured any more" in ended["error"]
    await timeball.send("PUT", f"/v1/jobs/{job}", {"region_name": "LOCAL"})
    again = await timeball.trigger(job)
    await timeball.until_printed(job, again, "1")
    await timeball.delete(f"/v1/jobs/{job}")
