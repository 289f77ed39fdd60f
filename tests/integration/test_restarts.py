"""The daemon may end at any moment: what it knew is there again, and what ran goes on."""

from __future__ import annotations

import asyncio
import signal
from datetime import datetime, timedelta
from typing import Any

import pytest
from docker.api.client import APIClient

from tests.lab.timeball import PATIENCE, Timeball, script, tell, until, until_told

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Prints numbers on both streams; the later ones when it is told.
COUNTS = until_told(
    first="for i in $(seq 20); do echo out $i; echo err $i >&2; sleep 0.05; done",
    then="for i in $(seq 21 60); do echo out $i; echo err $i >&2; sleep 0.05; done; printf end",
)


async def _snapshot(timeball: Timeball, job: int) -> dict[str, Any]:
    """All that the API says of a job whose runs have ended."""
    runs = await timeball.execs(job)
    found = {
        "job": await timeball.get(f"/v1/jobs/{job}"),
        "runs": runs,
        "ledger": await timeball.ledger(job),
        "schedule": await timeball.get(f"/v1/jobs/{job}/schedule"),
        "logs": [await timeball.logs(job, run["id"]) for run in runs],
    }
    found["schedule"].pop("as_of", None)
    return found


@pytest.mark.promise("output-after")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_after_a_restart_everything_is_there_and_runs_have_gone_on(
    own_timeball: Timeball, engine_client: APIClient, number: signal.Signals
) -> None:
    """Jobs, runs, logs, schedules; the same container; each line once; the true end of what ended meanwhile."""
    timeball = own_timeball
    past, done = await timeball.run(script("echo before; exit 3"))
    assert done["status"] == "F"
    planned = await timeball.create(
        "true", name="每天", is_schedule_active=True, schedule_mode="R/2040-01-01T00:00:00Z/P1D"
    )
    going_job, ending_job = await timeball.create(COUNTS), await timeball.create(until_told(then="exit 4"))
    going, ending = await timeball.trigger(going_job), await timeball.trigger(ending_job)
    await timeball.until_printed(ending_job, ending, "ready")
    await timeball.until_printed(going_job, going, "out 5")
    container = engine_client.inspect_container(f"timeball-{going}")["Id"]
    before = [await _snapshot(timeball, past), await _snapshot(timeball, planned)]

    if number is signal.SIGKILL:
        await timeball.kill()
    else:
        assert (await timeball.terminate())[0] == 0
    assert engine_client.inspect_container(container)["State"]["Running"]
    tell(engine_client, ending)
    status = await asyncio.to_thread(engine_client.wait, f"timeball-{ending}")
    assert status["StatusCode"] == 4
    finished = engine_client.inspect_container(f"timeball-{ending}")["State"]["FinishedAt"]
    await timeball.start()

    assert [await _snapshot(timeball, past), await _snapshot(timeball, planned)] == before
    ended = await timeball.until_ended(ending_job, ending)
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("F", 4, "exit_code")
    late = datetime.fromisoformat(ended["ended_at"]) - datetime.fromisoformat(finished[:26] + "+00:00")
    assert abs(late) < timedelta(milliseconds=1)
    assert (await timeball.exec(going_job, going))["status"] == "R"
    assert engine_client.inspect_container(f"timeball-{going}")["Id"] == container
    await timeball.until_printed(going_job, going, "ready")
    tell(engine_client, going)
    assert (await timeball.until_ended(going_job, going))["status"] == "S"
    for stream, word, last in (("stdout", "out", ["end"]), ("stderr", "err", [])):
        lines = [line for line in await timeball.lines(going_job, going, stream) if line != "ready"]
        assert lines == [f"{word} {i}" for i in range(1, 61)] + last
    own_lines = await timeball.lines(going_job, going, "system")
    assert [line.split(":")[0] for line in own_lines] == ["Start pulling image", "Start running!"]

    async def gone() -> bool:
        return not timeball.containers(engine_client)

    await until(gone)


@pytest.mark.promise("output-after")
async def test_output_of_an_outage_comes_back_although_the_run_has_ended(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """All of it was printed and the container ended while nobody listened."""
    timeball = own_timeball
    job = await timeball.create(until_told(then="seq 20000; printf last; exit 5"))
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    await timeball.kill()
    tell(engine_client, run)
    await asyncio.to_thread(engine_client.wait, f"timeball-{run}")
    await timeball.start()

    assert (await timeball.until_ended(job, run))["exit_code"] == 5
    assert await timeball.lines(job, run) == ["ready", *map(str, range(1, 20_001)), "last"]


async def test_sigterm_ends_the_daemon_soon_whatever_is_going_on(own_timeball: Timeball) -> None:
    """Runs in progress, runs that wait, an answer that nobody reads: it exits with 0 all the same."""
    timeball = own_timeball
    printing, _ = await timeball.run("seq 300000", resource_size="M")
    [printed] = await timeball.execs(printing)
    busy = await timeball.create(
        script("trap '' TERM; while true; do echo x; sleep 0.01; done"), resource_size="M"
    )
    going = [await timeball.trigger(busy) for _ in range(2)]
    for run in going:
        await timeball.until_status(busy, run, "R")
    waiting = await timeball.create("true", resource_size="S")
    runs = [await timeball.trigger(waiting) for _ in range(20)]
    assert timeball._session is not None
    async with timeball._session.get(
        f"{timeball._url}/v1/jobs/{printing}/execs/{printed['id']}/logs", read_bufsize=1024
    ) as response:
        await response.content.read(100)

        status, seconds = await timeball.terminate()

    assert status == 0
    assert seconds < PATIENCE
    await timeball.start()
    assert {(await timeball.exec(busy, run))["status"] for run in going} == {"R"}
    assert {(await timeball.exec(waiting, run))["status"] for run in runs} == {"W"}
    await timeball.delete(f"/v1/jobs/{busy}")
    assert {run["status"] for run in await timeball.until_all_ended(waiting, count=20)} == {"S"}


@pytest.mark.parametrize("is_changed", [False, True])
async def test_a_secret_stays_masked_when_the_daemon_is_killed_while_it_is_printed(
    own_timeball: Timeball, engine_client: APIClient, *, is_changed: bool
) -> None:
    """What is read again from the engine's own log is masked alike: each line once, none in clear.

    Also where the secret has another value by then, for the container still has the former one.
    """
    timeball, value = own_timeball, "zwölf-Boxkämpfer"
    counts = until_told(
        first="for i in $(seq 20); do echo $i $WORD $WORD$WORD; done",
        then="for i in $(seq 21 40); do echo $i $WORD $WORD$WORD; done",
    )
    status, _ = await timeball.send("PUT", "/v1/secrets/word?namespace=admin", {"value": value})
    assert status == 201
    job = await timeball.create(counts, runtime_vars={"WORD": {"secret": "word"}})
    going = await timeball.trigger(job)
    stars = "*" * len(value.encode())
    await timeball.until_printed(job, going, f"20 {stars} {stars}{stars}")
    if is_changed:
        status, _ = await timeball.send("PUT", "/v1/secrets/word?namespace=admin", {"value": "another"})
        assert status == 200
    await timeball.kill()
    tell(engine_client, going)
    await timeball.start()
    ended = await timeball.until_ended(job, going)
    assert ended["status"] == "S", ended
    lines = [line["message"] for line in await timeball.logs(job, going)]
    assert [line for line in lines if stars in line] == [
        f"{number} {stars} {stars}{stars}" for number in range(1, 41)
    ]
    assert not any(value in line for line in lines)
    held = [path for path in timeball.data_dir.rglob("*") if path.is_file()]
    assert not [path.name for path in held if value.encode() in path.read_bytes()]
