"""An engine that takes connections and says nothing, or leaves one kind of call unanswered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from docker.api.client import APIClient

from tests.integration.conftest import MakeTimeball
from tests.lab.proxy import EngineProxy
from tests.lab.timeball import PATIENCE, Timeball, script, tell, until, until_told

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: In which every request is answered while an engine hangs, on a busy machine: far less than a call to it may take.
QUICKLY = PATIENCE
REGION = "[regions.FAR]\nurl = '{url}'\nengine_answer_seconds = 1\nengine_call_seconds = {call}\n"
COUNTS = until_told(first="seq 1 20", then="seq 21 40")
LASTS = script("trap 'exit 0' TERM; echo up; while true; do sleep 0.1; done")


@pytest_asyncio.fixture(loop_scope="session")
async def door(engine_url: str) -> AsyncIterator[EngineProxy]:
    """A door to the engine that can be shut."""
    async with EngineProxy(engine_url.removeprefix("unix://")) as made:
        yield made


async def _says(timeball: Timeball, status: int) -> str:
    _, checks = await until(timeball.readiness, lambda seen: seen[0] == status)
    return checks["engine FAR"]


async def _metric(timeball: Timeball, line: str) -> float:
    _, raw = await timeball.send("GET", "/metrics")
    found = [one for one in raw.decode().splitlines() if one.startswith(line)]
    return sum(float(one.split()[-1]) for one in found)


async def test_the_api_stays_quick_and_other_regions_go_on_while_an_engine_hangs(
    door: EngineProxy, make_timeball: MakeTimeball, engine_client: APIClient
) -> None:
    """Whatever is asked of the API; when the engine answers again all of it has come about."""
    timeball = await make_timeball(config=REGION.format(url=door.url, call=10 * PATIENCE))
    far = await timeball.create(COUNTS, region_name="FAR", resource_size="XXS")
    lasting = await timeball.create(LASTS, region_name="FAR", resource_size="XXS")
    near = await timeball.create("echo near")
    going = await timeball.trigger(far)
    stopped, removed, gone = [await timeball.trigger(lasting) for _ in range(3)]
    doomed = await timeball.create(LASTS, region_name="FAR", resource_size="XXS")
    deleted = await timeball.trigger(doomed)
    for job, run in (
        (far, going),
        (lasting, stopped),
        (lasting, removed),
        (lasting, gone),
        (doomed, deleted),
    ):
        await timeball.until_status(job, run, "R")

    await timeball.until_printed(far, going, "ready")

    door.freeze()
    tell(engine_client, going)

    async def ask() -> None:
        for path in (
            f"/v1/jobs/{far}",
            f"/v1/jobs/{far}/execs/{going}",
            f"/v1/jobs/{far}/execs/{going}/logs",
        ):
            await timeball.get(path)
        for path in ("/healthz", "/readyz", "/metrics", "/v1/jobs"):
            assert (await timeball.send("GET", path))[0] in (200, 503)

    async with asyncio.timeout(QUICKLY):  # nobody has noticed yet
        await ask()
        await timeball.delete(f"/v1/jobs/{lasting}/execs/{gone}?force=true")
    words = await _says(timeball, 503)
    assert "hangs" in words
    async with asyncio.timeout(QUICKLY):
        await ask()
        late = await timeball.trigger(far)
        await timeball.post(f"/v1/jobs/{lasting}/execs/{stopped}/stop")
        await timeball.delete(f"/v1/jobs/{lasting}/execs/{removed}?force=true")
        await timeball.delete(f"/v1/jobs/{doomed}")
    waiting = await timeball.exec(far, late)
    assert waiting["status"] == "W"
    assert "engine of region FAR to answer: the engine hangs" in waiting["waiting_for"]
    assert await _metric(timeball, 'timeball_engine_circuit_open{region="FAR"}') == 1
    assert await _metric(timeball, 'timeball_engine_circuit_open{region="LOCAL"}') == 0
    assert (await timeball.until_ended(near, await timeball.trigger(near)))["status"] == "S"

    door.thaw()

    await timeball.until_printed(far, late, "ready")
    tell(engine_client, late)
    numbers = [str(number) for number in range(1, 41)]
    for run in (going, late):
        assert (await timeball.until_ended(far, run))["status"] == "S"
        assert await timeball.lines(far, run) == [*numbers[:20], "ready", *numbers[20:]]
    assert (await timeball.until_ended(lasting, stopped))["status"] == "C"
    await _says(timeball, 200)
    assert await _metric(timeball, 'timeball_engine_circuit_open{region="FAR"}') == 0

    async def none_left() -> bool:
        return not timeball.containers(engine_client)

    await until(none_left)


@pytest.mark.parametrize(
    ("request_line", "call"),
    [
        ("/containers/create", "create"),
        pytest.param("/start", "start", marks=pytest.mark.slow),
        pytest.param("/containers/[0-9a-f]{64}/json", "inspect", marks=pytest.mark.slow),
        pytest.param("/attach", "attach", marks=pytest.mark.slow),
    ],
)
async def test_a_call_that_takes_effect_without_an_answer_is_not_made_twice(
    door: EngineProxy, make_timeball: MakeTimeball, request_line: str, call: str
) -> None:
    """It is given up after a bounded time; what is so is found out by asking."""
    timeball = await make_timeball(config=REGION.format(url=door.url, call=1.5))
    job = await timeball.create(script("echo once"), region_name="FAR")
    door.hold_answers(request_line)
    run = await timeball.trigger(job)
    await until(
        lambda: _metric(
            timeball, f'timeball_engine_calls_total{{call="{call}",outcome="timeout",region="FAR"'
        )
    )
    assert (await timeball.exec(job, run))["status"] in "WR"

    door.release()

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["exit_code"]) == ("S", 0)
    assert await timeball.lines(job, run) == ["once"]


async def test_a_removal_without_an_answer_does_not_hold_up_the_run_s_end(
    door: EngineProxy, make_timeball: MakeTimeball, engine_client: APIClient
) -> None:
    """The end is recorded before; the container is removed later."""
    timeball = await make_timeball(config=REGION.format(url=door.url, call=1.5))
    job = await timeball.create(script("echo once"), region_name="FAR")
    door.hold("DELETE")
    ended = await timeball.until_ended(job, await timeball.trigger(job))
    assert ended["status"] == "S"
    await until(lambda: _metric(timeball, 'timeball_engine_calls_total{call="remove",outcome="timeout"'))
    door.release()

    async def none_left() -> bool:
        return not timeball.containers(engine_client)

    await timeball.terminate()
    await timeball.start()
    await until(none_left)
