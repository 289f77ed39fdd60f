"""How the daemon is, and what happens while an engine is away."""

from __future__ import annotations

import pytest

from tests.api.conftest import Api, World, until
from tests.lab.fake_engine import FakeEngine


def take_down(engine: FakeEngine) -> None:
    """Make an engine unreachable."""
    engine.down = True
    engine.break_streams()


async def until_ready(api: Api, status: int) -> None:
    """Wait until `/readyz` answers with the status."""
    await until(lambda: api.get("/readyz"), lambda answer: answer.status == status)


async def test_the_daemon_says_without_a_token_that_it_is_alive(api: Api):
    """`/healthz` is for whoever restarts what is dead."""
    answer = await api.get("/healthz", token=None)
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_the_daemon_is_ready_when_database_and_engines_answer(api: Api):
    """`/readyz` names every part."""
    await until_ready(api, 200)
    answer = await api.get("/readyz", token=None)
    assert answer.body == {
        "status": "ok",
        "checks": {"database": "ok", "engine LOCAL": "ok", "engine BEIJING1": "ok"},
    }


async def test_an_engine_that_is_away_is_named_and_the_api_goes_on(api: Api, world: World):
    """503 says which engine and why; the daemon lives, the API answers, runs elsewhere run."""
    await until_ready(api, 200)
    take_down(world.engines["BEIJING1"])
    await until_ready(api, 503)
    answer = await api.get("/readyz", token=None)
    assert answer.headers["Retry-After"]
    assert answer.body["status"] == "unavailable"
    assert answer.body["checks"]["engine LOCAL"] == "ok"
    assert answer.body["checks"]["engine BEIJING1"] not in {"", "ok"}
    assert (await api.get("/healthz")).status == 200
    job = await api.create(command="true")
    assert (await api.run(job["id"]))["status"] == "S"


async def test_a_run_waits_for_an_absent_engine_and_says_so(api: Api, world: World):
    """W with a readable `waiting_for` that names the region; it runs when the engine is back."""
    engine = world.engines["BEIJING1"]
    await until_ready(api, 200)
    take_down(engine)
    await until_ready(api, 503)
    job = await api.create(command="true", region_name="BEIJING1")
    one = await api.trigger(job["id"])
    assert one["status"] == "W"
    waiting = await api.exec(job["id"], one["id"])
    assert waiting["status"] == "W"
    assert waiting["waiting_for"].startswith("waits for the engine of region BEIJING1 to answer")
    listed = (await api.get(f"/v1/jobs/{job['id']}/execs")).body["results"][0]
    assert listed["waiting_for"] == waiting["waiting_for"]
    engine.down = False
    ended = await api.until_ended(job["id"], one["id"])
    assert (ended["status"], ended["waiting_for"]) == ("S", None)


async def test_a_run_that_waits_for_an_absent_engine_can_be_stopped_and_deleted(api: Api, world: World):
    """Nothing needs the engine for that."""
    engine = world.engines["BEIJING1"]
    await until_ready(api, 200)
    take_down(engine)
    await until_ready(api, 503)
    job = await api.create(command="true", region_name="BEIJING1")
    first, second = await api.trigger(job["id"]), await api.trigger(job["id"])
    stopped = await api.post(f"/v1/jobs/{job['id']}/execs/{first['id']}/stop")
    assert (stopped.status, stopped.body["status"]) == (202, "C")
    assert (await api.delete(f"/v1/jobs/{job['id']}/execs/{second['id']}?force=true")).status == 204
    assert (await api.delete(f"/v1/jobs/{job['id']}")).status == 204
    assert not engine.containers


@pytest.mark.parametrize("token", [None, "wrong", ""])
async def test_the_figures_are_read_without_a_token(api: Api, token: str | None):
    """`/metrics` is Prometheus's text format, whatever token comes along."""
    answer = await api.get("/metrics", token=token)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    for name in ("timeball_execs_ended_total", "timeball_engine_up", "timeball_occurrences_total"):
        assert f"# TYPE {name.removesuffix('_total')}" in answer.text
