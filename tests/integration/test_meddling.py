"""People stop, kill, pause, rename and remove containers of runs by hand: what is recorded is what happened."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import docker.errors
import pytest
from docker.api.client import APIClient

from scheduler.engine.types import LABEL_EXEC
from tests.integration.conftest import MakeTimeball
from tests.lab.timeball import Timeball, is_there, script, tell, until, until_told

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Counts for ten minutes, until it is asked to end.
COUNTS = script(
    "trap 'echo asked; exit 9' TERM; i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo $i; sleep 0.1; done"
)
#: Counts to two, and to thirty once it is told to.
COUNTS_ON = script("trap 'on=1' USR1; seq 2; while [ -z $on ]; do sleep 0.1; done; seq 3 30")


async def _started(timeball: Timeball, command: list[str], line: str = "2", **fields: Any) -> tuple[int, str]:
    """A run that has printed a line."""
    job = await timeball.create(command, **fields)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, line)
    return job, run


async def _gone(client: APIClient, run: str) -> None:
    async def gone() -> bool:
        return not is_there(client, run)

    await until(gone)


@pytest.mark.promise("exit-codes")
async def test_a_container_that_somebody_stops_or_kills_ends_its_run_with_its_exit_code(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """`docker stop` and `docker kill`: it failed, which is not the same as having been cancelled here."""
    (asked_job, asked), (killed_job, killed) = [await _started(timeball, COUNTS) for _ in range(2)]
    await asyncio.to_thread(engine_client.stop, f"timeball-{asked}", timeout=30)
    await asyncio.to_thread(engine_client.kill, f"timeball-{killed}")

    ended = await timeball.until_ended(asked_job, asked)
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("F", 9, "exit_code")
    assert (await timeball.lines(asked_job, asked))[-1] == "asked"
    ended = await timeball.until_ended(killed_job, killed)
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("F", 137, "exit_code")
    for run in (asked, killed):
        await _gone(engine_client, run)


async def test_a_container_that_somebody_pauses_goes_on_afterwards_or_can_be_stopped(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """`docker pause`: its run is running all the while, and loses nothing."""
    (job, run), (stopped_job, stopped) = await _started(timeball, COUNTS_ON), await _started(timeball, COUNTS)
    for one in (run, stopped):
        await asyncio.to_thread(engine_client.pause, f"timeball-{one}")

    await timeball.post(f"/v1/jobs/{stopped_job}/execs/{stopped}/stop")
    assert (await timeball.until_ended(stopped_job, stopped))["status"] == "C"
    assert (await timeball.exec(job, run))["status"] == "R"
    await asyncio.to_thread(engine_client.unpause, f"timeball-{run}")
    engine_client.kill(f"timeball-{run}", signal="USR1")

    assert (await timeball.until_ended(job, run))["status"] == "S"
    assert await timeball.lines(job, run) == [str(number) for number in range(1, 31)]


async def test_a_container_that_somebody_restarts_is_heard_to_its_last_end(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """`docker restart`: one run with one container, and the output of both its lives."""
    job, run = await _started(timeball, script("trap 'exit 9' TERM; echo here; sleep 5 & wait"), "here")
    with suppress(docker.errors.APIError):  # it is removed while the engine restarts it
        await asyncio.to_thread(engine_client.restart, f"timeball-{run}", timeout=30)

    ended = await timeball.until_ended(job, run)
    # Between its two lives it has ended: if that is seen, it is the end of the run.
    lines = await timeball.lines(job, run)
    assert (ended["status"], ended["exit_code"], lines) in (
        ("S", 0, ["here", "here"]),
        ("F", 9, ["here"]),
    )
    await _gone(engine_client, run)


async def test_what_somebody_does_to_containers_while_the_daemon_is_down_is_found_out_at_its_start(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """Removed: its end is unknown. Renamed: it goes on. Stopped: its exit code is known. None is started again."""
    timeball = own_timeball
    (removed_job, removed), (renamed_job, renamed), (stopped_job, stopped), (paused_job, paused) = [
        await _started(timeball, command) for command in (COUNTS, COUNTS_ON, COUNTS, COUNTS_ON)
    ]
    await timeball.kill()
    engine_client.remove_container(f"timeball-{removed}", force=True)
    engine_client.rename(f"timeball-{renamed}", f"renamed-{renamed}")
    await asyncio.to_thread(engine_client.stop, f"timeball-{stopped}", timeout=30)
    engine_client.pause(f"timeball-{paused}")
    await timeball.start()

    ended = await timeball.until_ended(removed_job, removed)
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("F", None, "engine_lost")
    assert "disappeared from the engine" in ended["error"]
    ended = await timeball.until_ended(stopped_job, stopped)
    assert (ended["status"], ended["exit_code"]) == ("F", 9)
    engine_client.unpause(f"timeball-{paused}")
    for name in (f"timeball-{paused}", f"renamed-{renamed}"):
        engine_client.kill(name, signal="USR1")
    assert (await timeball.until_ended(renamed_job, renamed))["status"] == "S"
    assert (await timeball.until_ended(paused_job, paused))["status"] == "S"
    for job, run in ((renamed_job, renamed), (paused_job, paused)):
        assert await timeball.lines(job, run) == [str(number) for number in range(1, 31)]
        assert len(await timeball.execs(job)) == 1

    async def none_left() -> bool:
        return not timeball.containers(engine_client)

    await until(none_left)


@pytest.mark.promise("own-only")
async def test_a_name_that_a_foreign_container_holds_is_not_taken_from_it(
    own_timeball: Timeball, engine_client: APIClient, busybox_image: str
) -> None:
    """The run cannot start and says why; the other container stays as it is."""
    timeball = own_timeball
    blocker = await timeball.create(COUNTS, concurrency_policy="queue")
    first, second = await timeball.trigger(blocker), await timeball.trigger(blocker)
    await timeball.until_printed(blocker, first, "1")
    foreign = engine_client.create_container(busybox_image, ["true"], name=f"timeball-{second}")["Id"]
    try:
        await timeball.post(f"/v1/jobs/{blocker}/execs/{first}/stop")
        ended = await timeball.until_ended(blocker, second)
        assert (ended["status"], ended["fail_reason"]) == ("F", "start_failed")
        assert "already in use" in ended["error"]
        assert engine_client.inspect_container(foreign)["State"]["Status"] == "created"
        assert LABEL_EXEC not in (engine_client.inspect_container(foreign)["Config"]["Labels"] or {})
    finally:
        engine_client.remove_container(foreign, force=True)


async def test_a_daemon_that_stands_still_for_longer_than_its_lease_goes_on_as_if_nothing_had_been(
    make_timeball: MakeTimeball, engine_client: APIClient
) -> None:
    """SIGSTOP, a run that ends meanwhile, due times that pass, SIGCONT: no second run, no line twice."""
    timeball = await make_timeball(config="lease_seconds = 3\n")
    job, run = await _started(timeball, until_told(first="seq 5", then="seq 6 20; exit 4"), "ready")
    going_job, going = await _started(timeball, until_told(first="seq 5", then="seq 6 20"), "ready")
    due_job = await timeball.create(
        "echo due", misfire_policy="all", is_schedule_active=True, schedule_mode="R4//PT1S"
    )
    start = datetime.fromisoformat((await timeball.get(f"/v1/jobs/{due_job}"))["schedule_mode"].split("/")[1])

    timeball.stand_still()
    tell(engine_client, run)
    await asyncio.to_thread(engine_client.wait, f"timeball-{run}")

    async def lease_ended() -> bool:
        now = datetime.now(UTC).timestamp() * 1_000_000
        with timeball.database() as connection:
            [(until_micros,)] = connection.execute("SELECT lease_until FROM instances").fetchall()
        return bool(until_micros < now - 1_000_000)

    await until(lease_ended)
    timeball.go_on()

    tell(engine_client, going)
    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["exit_code"]) == ("F", 4)
    assert (await timeball.until_ended(going_job, going))["status"] == "S"
    for one, its_run in ((job, run), (going_job, going)):
        first, last = [[str(number) for number in numbers] for numbers in (range(1, 6), range(6, 21))]
        assert await timeball.lines(one, its_run) == [*first, "ready", *last]
        assert len(await timeball.execs(one)) == 1
    entries = await timeball.until_decided(due_job, count=4)
    assert [datetime.fromisoformat(entry["due_at"]) for entry in entries] == [
        start + timedelta(seconds=number) for number in range(4)
    ]
    assert [entry["outcome"] for entry in entries] == ["ran"] * 4
    for each in await timeball.until_all_ended(due_job, count=4):
        assert await timeball.lines(due_job, each["id"]) == ["due"]

    async def none_left() -> bool:
        return not timeball.containers(engine_client)

    await until(none_left)
