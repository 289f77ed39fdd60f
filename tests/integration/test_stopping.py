"""Stops, time limits and deletions: soon, truthful, and without a container left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
from docker.api.client import APIClient

from tests.lab.timeball import PATIENCE, Timeball, is_there, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Says that it was asked to end, and does.
ENDS_WHEN_ASKED = script("trap 'echo asked to end; exit 7' TERM; echo ready; while true; do sleep 0.05; done")
#: Does not care.
IGNORES_IT = script("trap '' TERM; echo ready; while true; do sleep 0.05; done")


def _seconds(run: dict[str, str]) -> float:
    spent = datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["started_at"])
    return spent.total_seconds()


@pytest_asyncio.fixture(loop_scope="session")
async def silent_registry() -> AsyncIterator[str]:
    """The address of a registry that accepts connections and never answers."""
    done = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    done.set()
    server.close()


@pytest.mark.promise("stop")
async def test_a_stop_asks_first_and_the_run_may_say_its_last_words(timeball: Timeball) -> None:
    """SIGTERM arrives, what is printed then is kept, and the run ends as C with its own exit code."""
    job = await timeball.create(ENDS_WHEN_ASKED)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("C", 7, None)
    assert await timeball.lines(job, run) == ["ready", "asked to end"]
    assert "Stopping: requested by admin" in await timeball.lines(job, run, "system")


@pytest.mark.promise("stop")
async def test_a_run_that_does_not_care_is_killed_after_its_grace_period(timeball: Timeball) -> None:
    """Not before, and soon after."""
    job = await timeball.create(IGNORES_IT, stop_grace_seconds=2)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    asked = time.monotonic()
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["exit_code"]) == ("C", 137)
    assert 1.9 <= time.monotonic() - asked < PATIENCE


async def test_a_run_that_waits_is_stopped_at_once(own_timeball: Timeball) -> None:
    """And never starts."""
    timeball = own_timeball
    job = await timeball.create(ENDS_WHEN_ASKED, resource_size="L")
    first, second = await timeball.trigger(job), await timeball.trigger(job)
    await timeball.until_printed(job, first, "ready")

    answer = await timeball.post(f"/v1/jobs/{job}/execs/{second}/stop")
    assert answer["status"] == "C"
    ended = await timeball.exec(job, second)
    assert (ended["status"], ended["started_at"]) == ("C", None)
    await timeball.post(f"/v1/jobs/{job}/execs/{first}/stop")
    assert (await timeball.until_ended(job, first))["status"] == "C"
    assert await timeball.logs(job, second) == []
    status, _ = await timeball.send("POST", f"/v1/jobs/{job}/execs/{second}/stop")
    assert status == 409


async def test_a_run_that_pulls_is_stopped_at_once(timeball: Timeball, silent_registry: str) -> None:
    """A registry that does not answer is not waited for."""
    job = await timeball.create("true", docker_image_repo=f"{silent_registry}/nothing")
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, f"Start pulling image: {silent_registry}/nothing:{timeball.tag}")
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["started_at"]) == ("C", None)


async def test_a_run_beyond_its_time_limit_fails_with_that_reason(timeball: Timeball) -> None:
    """It is asked to end as by a stop; its last words are kept, and it may be tried again."""
    job = await timeball.create(ENDS_WHEN_ASKED, timeout_seconds=1, max_retries=1, retry_backoff_seconds=0)
    run = await timeball.trigger(job)
    first, second = await timeball.until_all_ended(job, count=2)

    assert first["id"] == run
    for ended in (first, second):
        assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("F", 7, "timeout")
        assert 1 <= _seconds(ended) < PATIENCE
        assert (await timeball.lines(job, ended["id"]))[-1] == "asked to end"
    assert "Stopping: the run exceeded timeout_seconds = 1" in await timeball.lines(job, run, "system")


async def test_a_time_limit_counts_on_while_the_daemon_is_down(own_timeball: Timeball) -> None:
    """One limit passes after the restart, one before it, and one stop is begun by a daemon that dies."""
    timeball = own_timeball
    later = await timeball.create(ENDS_WHEN_ASKED, timeout_seconds=7)
    sooner = await timeball.create(ENDS_WHEN_ASKED, timeout_seconds=2)
    begun = await timeball.create(IGNORES_IT, timeout_seconds=1, stop_grace_seconds=2)
    runs = {job: await timeball.trigger(job) for job in (begun, sooner, later)}
    for job, run in runs.items():
        await timeball.until_printed(job, run, "ready")
    await timeball.until_printed(begun, runs[begun], "Stopping: the run exceeded timeout_seconds = 1")
    await timeball.kill()
    await asyncio.sleep(3)  # the limit has to pass while nobody is there to see it
    await timeball.start()

    ended = {job: await timeball.until_ended(job, run) for job, run in runs.items()}
    reasons = {job: (one["status"], one["fail_reason"], one["exit_code"]) for job, one in ended.items()}
    assert reasons == {
        begun: ("F", "timeout", 137),
        sooner: ("F", "timeout", 7),
        later: ("F", "timeout", 7),
    }
    # Of how late it is, a busy machine decides; none may come too early.
    assert [_seconds(ended[job]) >= least for job, least in ((begun, 3), (sooner, 2), (later, 7))] == [
        True
    ] * 3


async def test_a_stop_that_was_asked_for_is_carried_out_by_the_next_daemon(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """The wish is stored; a run that waited as well as one that ran ends as C."""
    timeball = own_timeball
    job = await timeball.create(IGNORES_IT, stop_grace_seconds=3)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")
    await timeball.kill()
    await timeball.start()

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["exit_code"]) == ("C", 137)

    async def gone() -> bool:
        return not is_there(engine_client, run)

    await until(gone)


async def test_deleting_a_job_stops_its_runs_and_leaves_no_container(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """Whether they run, are being stopped with much patience, or wait for a back-off."""
    job = await timeball.create(IGNORES_IT, stop_grace_seconds=600)
    going, stopping = await timeball.trigger(job), await timeball.trigger(job)
    failing = await timeball.create(script("exit 1"), max_retries=1, retry_backoff_seconds=600)
    await timeball.until_ended(failing, await timeball.trigger(failing))
    for run in (going, stopping):
        await timeball.until_printed(job, run, "ready")
    await timeball.post(f"/v1/jobs/{job}/execs/{stopping}/stop")
    await timeball.until_printed(job, stopping, "Stopping: requested by admin")

    began = time.monotonic()
    await timeball.delete(f"/v1/jobs/{job}")
    await timeball.delete(f"/v1/jobs/{failing}")
    assert time.monotonic() - began < PATIENCE
    assert not is_there(engine_client, going)
    assert not is_there(engine_client, stopping)
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/execs/{going}", f"/v1/jobs/{failing}/execs"):
        assert (await timeball.send("GET", path))[0] == 404


async def test_deleting_a_run_that_goes_on_has_to_be_forced(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """409 that says how; by force the container is gone with the run."""
    job = await timeball.create(ENDS_WHEN_ASKED)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    status, raw = await timeball.send("DELETE", f"/v1/jobs/{job}/execs/{run}")
    assert status == 409
    assert b"?force=true" in raw

    await timeball.delete(f"/v1/jobs/{job}/execs/{run}?force=true")
    assert not is_there(engine_client, run)
    assert await timeball.execs(job) == []


async def test_deleting_a_run_that_pulls_does_not_wait_for_the_registry(
    timeball: Timeball, silent_registry: str
) -> None:
    """Nothing of it is left."""
    job = await timeball.create("true", docker_image_repo=f"{silent_registry}/nothing")
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, f"Start pulling image: {silent_registry}/nothing:{timeball.tag}")

    began = time.monotonic()
    await timeball.delete(f"/v1/jobs/{job}/execs/{run}?force=true")
    assert time.monotonic() - began < PATIENCE / 2
    assert await timeball.execs(job) == []
