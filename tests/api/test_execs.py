"""Runs: overrides, snapshots, stopping, deleting, overlapping, and what they leave on the engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from api.http.keys import SERVICE
from scheduler.engine.types import Capacity
from tests.api.conftest import REPO, TAG, Api, World, check_problem, until
from tests.lab.fake_engine import FakeEngine
from tests.lab.fake_programs import FakeProcess, waits


async def no_containers(engine: FakeEngine) -> None:
    """Wait until the engine has none of our containers left."""

    async def left() -> int:
        return len(engine.containers)

    await until(left, lambda count: count == 0)


async def test_a_run_that_succeeds_says_all_about_itself(api: Api, engine: FakeEngine):
    """Status S, exit code 0, no reason, moments in order, the image's digest, and no container left."""
    job = await api.create(command="greet")
    one = await api.run(job["id"])
    facts = {
        name: one[name]
        for name in (
            "status",
            "exit_code",
            "fail_reason",
            "error",
            "attempt",
            "retry_of",
            "scheduled_for",
            "waiting_for",
        )
    }
    assert facts == {
        "status": "S",
        "exit_code": 0,
        "fail_reason": None,
        "error": None,
        "attempt": 1,
        "retry_of": None,
        "scheduled_for": None,
        "waiting_for": None,
    }
    assert one["image_digest"] == engine.images[f"{REPO}:{TAG}"].digest
    assert one["created_at"] <= one["started_at"] <= one["ended_at"]
    await no_containers(engine)


@pytest.mark.parametrize(
    ("fields", "reason", "words", "exit_code"),
    [
        ({"command": "false"}, "exit_code", "exit code 1", 1),
        ({"command": "/bin bash"}, "exit_code", "exit code 126", 126),
        ({"command": "greedy"}, "oom_killed", "64 MiB", 137),
        ({"command": "missing"}, "start_failed", "executable file not found", None),
        ({"docker_image_tag": "none"}, "image_pull_failed", "not found", None),
        (
            {"docker_image_tag": "none", "pull_policy": "never"},
            "image_pull_failed",
            "not on the engine",
            None,
        ),
    ],
)
async def test_a_run_that_fails_says_why(  # noqa: PLR0917 - pytest gives them by name
    api: Api, engine: FakeEngine, fields: dict[str, Any], reason: str, words: str, exit_code: int | None
):
    """Status F with a reason for programs, words for people, and nothing left on the engine."""
    job = await api.create(**fields)
    one = await api.run(job["id"])
    assert (one["status"], one["fail_reason"], one["exit_code"]) == ("F", reason, exit_code)
    assert words in one["error"]
    if reason in {"start_failed", "image_pull_failed"}:
        assert one["duration"] is None
        assert any(words in line["message"] for line in await api.logs(job["id"], one["id"]))
    await no_containers(engine)


async def test_a_run_beyond_its_time_is_stopped(api: Api):
    """`timeout_seconds` ends a run as F with `timeout`."""
    job = await api.create(command="patient", timeout_seconds=1)
    one = await api.run(job["id"])
    assert (one["status"], one["fail_reason"], one["exit_code"]) == ("F", "timeout", 143)
    assert one["duration"].keys() == {"hours", "minutes", "seconds"}
    # Not before its time; how long after it is the machine's.
    assert (one["duration"]["minutes"], one["duration"]["seconds"]) >= (0, 1)


async def test_a_failed_run_is_tried_again_as_an_exec_of_its_own(api: Api):
    """`max_retries` makes execs with `trigger_mode` R that name the first attempt."""
    job = await api.create(command="false", max_retries=2, retry_backoff_seconds=0)
    first = await api.trigger(job["id"])
    path = f"/v1/jobs/{job['id']}/execs"
    listed = await until(
        lambda: api.get(path), lambda a: [one["status"] for one in a.body["results"]] == ["F", "F", "F"]
    )
    shown = [(one["attempt"], one["trigger_mode"], one["retry_of"]) for one in listed.body["results"]]
    assert shown == [(3, "R", first["id"]), (2, "R", first["id"]), (1, "M", None)]


async def test_a_trigger_may_override_what_this_run_does(api: Api, engine: FakeEngine):
    """Command, tag and size are replaced, variables merged, for this run alone; the job stays as it is."""
    engine.images[f"{REPO}:2"] = engine.images[f"{REPO}:{TAG}"]
    job = await api.create(command="false", runtime_vars={"A": "1", "B": "2"})
    override = {
        "command": ["hang"],
        "runtime_vars": {"B": "two", "C": "3"},
        "docker_image_tag": "2",
        "resource_size": "S",
    }
    one = await api.trigger(job["id"], override)
    merged = {**override, "runtime_vars": {"A": "1", "B": "two", "C": "3"}}
    assert {name: one[name] for name in merged} == merged
    await api.until_status(job["id"], one["id"], "R")
    (container,) = engine.containers.values()
    assert container.spec.command == ("hang",)
    assert dict(container.spec.environment) == merged["runtime_vars"]
    assert (container.spec.image, container.spec.cpus) == (f"{REPO}:2", 0.5)
    after = await api.job(job["id"])
    assert {**after, "last_exec": None} == job


@pytest.mark.parametrize(
    ("override", "command"),
    [({}, "false"), ({"command": None}, None), ({"command": ""}, ""), ({"command": []}, [])],
)
async def test_an_override_counts_only_if_it_is_named(api: Api, override: dict[str, Any], command: Any):
    """`{"command": null}` runs the image's own command once; an empty object overrides nothing."""
    job = await api.create(command="false", docker_image_tag="own")
    one = await api.run(job["id"], override)
    assert one["command"] == command
    assert one["status"] == ("F" if command == "false" else "S")


async def test_null_overrides_nothing_where_null_is_no_value(api: Api):
    """Clients that write null for what they do not set get the job's own tag, size and variables."""
    job = await api.create(command="true", runtime_vars={"A": "1"})
    one = await api.trigger(
        job["id"], {"docker_image_tag": None, "resource_size": None, "runtime_vars": None}
    )
    assert (one["docker_image_tag"], one["resource_size"], one["runtime_vars"]) == (TAG, "XXS", {"A": "1"})


async def test_a_run_is_a_snapshot_that_later_changes_leave_alone(api: Api):
    """A changed job changes the job inside the detail, and nothing of the run."""
    job = await api.create(command="greet", runtime_vars={"A": "1"})
    before = await api.run(job["id"])
    await api.change(
        job["id"],
        name="renamed",
        command="true",
        runtime_vars={},
        docker_image_repo="busybox",
        docker_image_tag="x",
        resource_size="L",
        region_name="BEIJING1",
    )
    after = await api.exec(job["id"], before["id"])
    assert {**after, "job": None} == {**before, "job": None}
    assert (after["job"]["name"], after["job"]["command"], after["job"]["runtime_vars"]) == (
        "renamed",
        "true",
        "{}",
    )


async def test_a_running_exec_can_be_stopped(api: Api, engine: FakeEngine):
    """The stop is accepted with 202; the container gets SIGTERM, and the run ends as C with its exit code."""
    job = await api.create(command="patient")
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    answer = await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")
    assert answer.status == 202
    assert (answer.body["id"], answer.body["job"]) == (one["id"], job["id"])
    ended = await api.until_ended(job["id"], one["id"])
    assert (ended["status"], ended["exit_code"], ended["fail_reason"]) == ("C", 143, None)
    messages = [line["message"] for line in await api.logs(job["id"], one["id"])]
    assert messages[-3:] == ["up", "Stopping: requested by admin", "down"]
    await no_containers(engine)


async def test_a_run_that_ignores_the_stop_is_killed_after_its_grace(api: Api):
    """`stop_grace_seconds` 0 kills at once."""
    job = await api.create(command="hang", stop_grace_seconds=0)
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")
    ended = await api.until_ended(job["id"], one["id"])
    assert (ended["status"], ended["exit_code"]) == ("C", 137)


async def test_a_waiting_exec_is_stopped_at_once(api: Api, world: World):
    """A run that has not started ends as C in the very answer, without a start or a duration."""
    job = await api.create(command="hang", concurrency_policy="queue")
    first = await api.trigger(job["id"])
    await api.until_status(job["id"], first["id"], "R")
    second = await api.trigger(job["id"])
    waiting = await api.exec(job["id"], second["id"])
    assert (waiting["status"], waiting["waiting_for"]) == ("W", "waits for an earlier run of this job to end")
    answer = await api.post(f"/v1/jobs/{job['id']}/execs/{second['id']}/stop")
    assert answer.status == 202
    body = answer.body
    assert (body["status"], body["started_at"], body["duration"], body["waiting_for"]) == (
        "C",
        None,
        None,
        None,
    )
    assert body["ended_at"] is not None
    assert len(world.engine.containers) == 1


async def test_an_ended_exec_cannot_be_stopped(api: Api):
    """409 says that it has ended, and how."""
    job = await api.create(command="true")
    one = await api.run(job["id"])
    answer = await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")
    assert answer.status == 409
    check_problem(answer)
    assert "has already ended (status S)" in answer.body["detail"]


async def test_stopping_twice_is_stopping_once(api: Api):
    """A second stop before the end is accepted and changes nothing."""
    job = await api.create(command="patient")
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}/stop"
    answers = await asyncio.gather(*(api.post(path) for _ in range(5)))
    assert {answer.status for answer in answers} <= {202, 409}
    assert answers[0].status == 202
    assert (await api.until_ended(job["id"], one["id"]))["status"] == "C"


@pytest.mark.parametrize("status", ["W", "R"])
async def test_an_exec_that_has_not_ended_is_only_deleted_with_force(
    api: Api, engine: FakeEngine, status: str
):
    """409 says to stop it; `?force=true` stops it first, deletes it, and leaves no container."""
    job = await api.create(command="patient", concurrency_policy="queue")
    first = await api.trigger(job["id"])
    await api.until_status(job["id"], first["id"], "R")
    one = first if status == "R" else await api.trigger(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}"
    answer = await api.delete(path)
    assert answer.status == 409
    check_problem(answer)
    assert "Stop it first" in answer.body["detail"]
    assert "force=true" in answer.body["detail"]
    assert (await api.exec(job["id"], one["id"]))["status"] == status
    answer = await api.delete(path + "?force=true")
    assert (answer.status, answer.raw) == (204, b"")
    assert (await api.get(path)).status == 404
    assert len(engine.containers) == (0 if status == "R" else 1)


async def test_deleting_a_job_stops_its_runs_and_leaves_no_container(api: Api, engine: FakeEngine):
    """Runs that run and runs that wait go with their job; once it is answered, the engine has nothing of them."""
    job = await api.create(command="patient")
    other = await api.create("other", command="patient")
    kept = await api.trigger(other["id"])
    for _ in range(5):
        await api.trigger(job["id"])
    stubborn = await api.trigger(job["id"], {"command": "patient"})
    await api.until_status(job["id"], stubborn["id"], "R")
    await api.until_status(other["id"], kept["id"], "R")
    assert (await api.delete(f"/v1/jobs/{job['id']}")).status == 204
    assert {container.spec.job_id for container in engine.containers.values()} == {other["id"]}
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).status == 404
    assert (await api.exec(other["id"], kept["id"]))["status"] == "R"


async def test_a_job_is_deleted_while_it_is_being_triggered(api: Api, engine: FakeEngine):
    """Triggers that race with the deletion succeed or find nothing; in the end there is no container."""
    job = await api.create(command="patient")
    triggers = [asyncio.create_task(api.post(f"/v1/jobs/{job['id']}/execs")) for _ in range(10)]
    deletion = asyncio.create_task(api.delete(f"/v1/jobs/{job['id']}"))
    more = [asyncio.create_task(api.post(f"/v1/jobs/{job['id']}/execs")) for _ in range(10)]
    answers = await asyncio.gather(*triggers, *more)
    assert {answer.status for answer in answers} <= {201, 404}
    assert (await deletion).status == 204
    assert (await api.get(f"/v1/jobs/{job['id']}")).status == 404
    await no_containers(engine)


async def test_forbid_refuses_a_second_run_unless_it_is_forced(api: Api):
    """409 names the run that is going and the way out; `?force=true` runs; when all have ended, all is well."""
    job = await api.create(command="patient", concurrency_policy="forbid")
    first = await api.trigger(job["id"])
    answer = await api.post(f"/v1/jobs/{job['id']}/execs")
    assert answer.status == 409
    check_problem(answer)
    assert first["id"] in answer.body["detail"]
    assert "?force=true" in answer.body["detail"]
    second = await api.trigger(job["id"], query="?force=true")
    for one in (first, second):
        await api.until_status(job["id"], one["id"], "R")
        await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")
        await api.until_ended(job["id"], one["id"])
    assert (await api.trigger(job["id"]))["status"] == "W"


async def test_queue_starts_the_next_run_when_the_earlier_one_has_ended(api: Api, engine: FakeEngine):
    """Queued runs wait with a reason and then go, in the order they came."""
    turns: list[str] = []
    go_on = asyncio.Event()

    async def program(process: FakeProcess) -> int:
        turns.append(process.spec.exec_id)
        await go_on.wait()
        return 0

    engine.programs["turn",] = program
    job = await api.create(command="turn", concurrency_policy="queue")
    made = [(await api.trigger(job["id"]))["id"] for _ in range(3)]
    await api.until_status(job["id"], made[0], "R")
    assert [(await api.exec(job["id"], one))["status"] for one in made] == ["R", "W", "W"]
    go_on.set()
    for one in made:
        assert (await api.until_ended(job["id"], one))["status"] == "S"
    assert turns == made


async def test_replace_stops_the_earlier_run_and_starts_the_new_one(api: Api, engine: FakeEngine):
    """The earlier run ends as C before the new one starts."""
    job = await api.create(command="patient", concurrency_policy="replace")
    first = await api.trigger(job["id"])
    await api.until_status(job["id"], first["id"], "R")
    second = await api.trigger(job["id"])
    running = await api.until_status(job["id"], second["id"], "R")
    ended = await api.exec(job["id"], first["id"])
    assert ended["status"] == "C"
    assert ended["ended_at"] <= running["started_at"]
    assert len(engine.containers) == 1


async def test_what_does_not_fit_waits_and_says_for_what(api: Api, engine: FakeEngine):
    """A size is a reservation: of 17 runs with 4 processors each, 16 fit on 64, and the last one waits."""
    job = await api.create(command="patient", resource_size="XL")
    many = [await api.trigger(job["id"]) for _ in range(17)]
    await api.until_status(job["id"], many[15]["id"], "R")
    last = await api.exec(job["id"], many[16]["id"])
    assert (last["status"], last["waiting_for"]) == ("W", "waits for 4 CPU (0.00 of 64 free)")
    assert len(engine.containers) == 16
    await api.delete(f"/v1/jobs/{job['id']}/execs/{many[0]['id']}?force=true")
    await api.until_status(job["id"], many[16]["id"], "R")


async def test_what_is_larger_than_the_engine_fails_and_says_so(api: Api, engine: FakeEngine):
    """A size beyond the whole engine can never start: F with `no_capacity` and the figures."""
    engine._capacity = Capacity(cpus=2, memory_bytes=1 << 30)
    engine.break_streams()  # so that the daemon asks again what the engine has
    job = await api.create(command="hang", resource_size="XL", max_retries=3)
    one = await api.run(job["id"])
    assert (one["status"], one["fail_reason"]) == ("F", "no_capacity")
    assert "4 CPU and 2048 MiB" in one["error"]
    assert "2 CPU and 1024 MiB" in one["error"]


async def test_a_job_whose_size_is_gone_is_not_run_until_a_size_is_named(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    """An operator may take a size away; the trigger answers 409 and what to do, not a 400 for what was not sent."""
    job = await api.create(command="true", resource_size="L")
    assert api.client.app is not None
    execs = api.client.app[SERVICE].execs
    monkeypatch.setattr(execs, "_parts", replace(execs._parts, sizes={"XXS": execs._parts.sizes["XXS"]}))
    answer = await api.post(f"/v1/jobs/{job['id']}/execs")
    assert answer.status == 409
    check_problem(answer)
    assert "'L' is no longer configured" in answer.body["detail"]
    assert (await api.trigger(job["id"], {"resource_size": "XXS"}))["resource_size"] == "XXS"


async def test_logs_of_a_run_in_progress_are_what_it_has_printed_so_far(api: Api, engine: FakeEngine):
    """A line can be read as soon as it is printed, and the rest when it is there."""
    go_on = asyncio.Event()
    engine.programs["slow",] = waits(go_on, out=b"first\npart", last=b"ial\nlast\n")
    job = await api.create(command="slow")
    one = await api.trigger(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}/logs?stream=stdout"
    await until(lambda: api.get(path), lambda answer: any(line["message"] == "first" for line in answer.body))
    go_on.set()
    await api.until_ended(job["id"], one["id"])
    assert [line["message"] for line in (await api.get(path)).body] == ["first", "partial", "last"]


async def test_logs_of_a_waiting_run_are_an_empty_array(api: Api):
    """A run that has not begun has printed nothing, and that is not an error."""
    job = await api.create(command="hang", concurrency_policy="queue")
    await api.trigger(job["id"])
    second = await api.trigger(job["id"])
    assert await api.logs(job["id"], second["id"]) == []


async def test_only_the_ends_that_the_job_names_are_tried_again(api: Api):
    """`retry_on` is given back as it was sent, can be changed, and holds for the run that was made with it."""
    job = await api.create(command="false", max_retries=1, retry_backoff_seconds=0, retry_on=["timeout"])
    assert job["retry_on"] == ["timeout"]
    final = await api.trigger(job["id"])
    await api.until_ended(job["id"], final["id"])
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 1

    changed = await api.send("PATCH", f"/v1/jobs/{job['id']}", {"retry_on": ["exit_code"]})
    assert (changed.status, changed.body["retry_on"]) == (200, ["exit_code"])
    first = await api.trigger(job["id"])
    await api.until_ended(job["id"], first["id"])
    newest = (await api.get(f"/v1/jobs/{job['id']}/execs")).body["results"][0]
    assert (newest["trigger_mode"], newest["attempt"], newest["retry_of"]) == ("R", 2, first["id"])


async def test_a_stopped_run_says_who_stopped_it(api: Api):
    """In `stop_reason`, in `error` and in its log."""
    job = await api.create(command="patient")
    one = await api.trigger(job["id"])
    assert one["stop_reason"] is None
    await api.until_status(job["id"], one["id"], "R")
    await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")

    ended = await api.until_ended(job["id"], one["id"])

    assert (ended["stop_reason"], ended["error"]) == (
        "requested by admin",
        "The run was stopped: requested by admin.",
    )


async def test_a_replaced_run_says_which_run_replaced_it(api: Api):
    """Whether it ran or still waited."""
    job = await api.create(command="patient", concurrency_policy="replace")
    runs = [await api.trigger(job["id"])]
    await api.until_status(job["id"], runs[0]["id"], "R")
    runs += [await api.trigger(job["id"]) for _ in range(2)]

    for earlier, later in pairwise(runs):
        ended = await api.until_ended(job["id"], earlier["id"])
        assert ended["stop_reason"] == f"replaced by run {later['id']}"
        assert ended["stop_reason"] in ended["error"]
    messages = [line["message"] for line in await api.logs(job["id"], runs[0]["id"])]
    assert f"Stopping: replaced by run {runs[1]['id']}" in messages
