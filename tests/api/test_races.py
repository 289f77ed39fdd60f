"""Many clients at once: what must come out exactly so."""

from __future__ import annotations

import asyncio

from tests.api.conftest import Api, until
from tests.lab.fake_engine import FakeEngine


async def test_of_many_that_create_the_same_name_exactly_one_succeeds(api: Api):
    """One 201, the others 409, and one job."""
    body = {"name": "twin", "docker_image_repo": "busybox"}
    answers = await asyncio.gather(*(api.post("/v1/jobs", body) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    assert (await api.get("/v1/jobs")).body["count"] == 1


async def test_of_two_that_rename_to_the_same_name_exactly_one_succeeds(api: Api):
    """One 200, one 409."""
    jobs = [await api.create(f"job {number}") for number in range(2)]
    answers = await asyncio.gather(*(api.put(f"/v1/jobs/{job['id']}", {"name": "same"}) for job in jobs))
    assert sorted(answer.status for answer in answers) == [200, 409]


async def test_changes_of_different_fields_at_once_do_not_undo_each_other(api: Api):
    """Each change is made upon what is stored, not upon what its sender had read."""
    job = await api.create()
    changes = [
        {"command": "true"}, {"max_retries": 3}, {"labels": {"a": "b"}}, {"runtime_vars": {"A": "1"}},
        {"timeout_seconds": 60}, {"email_enabled": True}, {"pull_policy": "never"},
    ]  # fmt: skip
    answers = await asyncio.gather(*(api.put(f"/v1/jobs/{job['id']}", change) for change in changes))
    assert {answer.status for answer in answers} == {200}
    after = await api.job(job["id"])
    for change in changes:
        assert {name: after[name] for name in change} == change


async def test_forbid_lets_one_of_many_triggers_through(api: Api):
    """One 201, the others 409."""
    job = await api.create(command="hang", concurrency_policy="forbid")
    answers = await asyncio.gather(*(api.post(f"/v1/jobs/{job['id']}/execs") for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19


async def test_two_hundred_runs_triggered_at_once_all_end(api: Api, engine: FakeEngine):
    """Every one succeeds with its output, and the engine is empty afterwards."""
    job = await api.create(command="greet", resource_size="S")
    made = await asyncio.gather(*(api.trigger(job["id"]) for _ in range(200)))
    path = f"/v1/jobs/{job['id']}/execs?page_size=1000"
    listed = await until(
        lambda: api.get(path), lambda answer: all(one["ended_at"] for one in answer.body["results"])
    )
    assert {one["id"] for one in listed.body["results"]} == {one["id"] for one in made}
    assert {one["status"] for one in listed.body["results"]} == {"S"}
    last = await api.logs(job["id"], made[-1]["id"], "?stream=stdout")
    assert [line["message"] for line in last] == ["hello", "world"]

    async def left() -> int:
        return len(engine.containers)

    await until(left, lambda count: count == 0)


async def test_a_thousand_runs_behind_one_another_hold_up_nobody_else(api: Api, monkeypatch):
    """A job whose runs queue fills its own queue alone; another job's run starts at once."""
    monkeypatch.setattr("scheduler.running.dispatcher.HELD", 10)
    slow = await api.create("slow", command="hang", concurrency_policy="queue")
    await asyncio.gather(*(api.trigger(slow["id"]) for _ in range(30)))
    quick = await api.create("quick", command="greet")

    ended = await api.run(quick["id"])

    assert ended["status"] == "S"
    waiting = (await api.get(f"/v1/jobs/{slow['id']}/execs")).body["results"][0]
    assert waiting["waiting_for"] == "waits for an earlier run of this job to end"
    await api.delete(f"/v1/jobs/{slow['id']}")


async def test_runs_in_back_off_hold_up_nobody_else(api: Api, monkeypatch):
    """However many wait to be tried again, a new run starts at once."""
    monkeypatch.setattr("scheduler.running.dispatcher.HELD", 4)
    failing = await api.create("failing", command="false", max_retries=1, retry_backoff_seconds=600)
    made = await asyncio.gather(*(api.trigger(failing["id"]) for _ in range(10)))
    for one in made:
        await api.until_ended(failing["id"], one["id"])
    quick = await api.create("quick", command="greet")

    assert (await api.run(quick["id"]))["status"] == "S"
    await api.delete(f"/v1/jobs/{failing['id']}")
