"""Runs done again as they were, whatever has become of their jobs since, and what differs between two runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import REPO, TAG, Api, World
from tests.api.test_policy import _tighten
from tests.lab.fake_engine import FakeEngine, FakeImage

FIRST, SECOND = "sha256:" + "1" * 64, "sha256:" + "2" * 64


async def replay(api: Api, one: dict[str, Any], body: object = None, query: str = "") -> dict[str, Any]:
    """Do a run again; the new one, once it has ended."""
    job = one["job"] if isinstance(one["job"], int) else one["job"]["id"]
    answer = await api.post(f"/v1/jobs/{job}/execs/{one['id']}/replay{query}", body)
    assert answer.status == 201, answer.text
    assert answer.headers["Location"] == f"/v1/jobs/{job}/execs/{answer.body['id']}"
    assert (answer.body["trigger_mode"], answer.body["replay_of"]) == ("M", one["id"])
    return await api.until_ended(job, answer.body["id"])


async def diff(api: Api, a: str, b: str) -> dict[tuple[str, str | None], tuple[str, Any, Any]]:
    """In what two runs differ: change, first and second value, by field and name."""
    answer = await api.get(f"/v1/execs/{a}/diff/{b}")
    assert answer.status == 200, answer.text
    found = answer.body["differences"]
    assert answer.body["is_same"] is not bool(found)
    return {(one["field"], one["name"]): (one["change"], one["a"], one["b"]) for one in found}


async def registry_job(api: Api, engine: FakeEngine, **fields: Any) -> int:
    """A job whose image comes from a registry."""
    engine.registry["r.example.com/app:1"] = FakeImage(digest=FIRST)
    image = {"docker_image_repo": "r.example.com/app", "docker_image_tag": "1"}
    return (await api.create(command="true", **image, **fields))["id"]


def move_tag(engine: FakeEngine) -> None:
    """The tag means another image by now, on the engine as well as in its registry; both have the first one still."""
    engine.images["r.example.com/app:old"] = engine.images["r.example.com/app:1"]
    engine.images["r.example.com/app:1"] = engine.registry["r.example.com/app:1"] = FakeImage(digest=SECOND)


async def test_a_replay_does_what_the_run_did_whatever_the_job_says_by_now(world: World):
    """Its command, variables, size, labels and options; its image by digest, although the tag has moved."""
    api, engine = world.api, world.engine
    job = await registry_job(
        api, engine, runtime_vars={"A": "1"}, resource_size="XS", labels={"l": "1"}, timeout_seconds=50,
    )  # fmt: skip
    one = await api.run(job)
    move_tag(engine)
    await api.change(
        job, command="false", runtime_vars={"B": "2"}, resource_size="M", labels={}, timeout_seconds=None
    )
    again = await replay(api, one)
    assert (again["status"], again["image_digest"], again["docker_image_digest"]) == ("S", FIRST, FIRST)
    for name in ("command", "runtime_vars", "resource_size", "labels", "docker_image_tag"):
        assert again[name] == one[name], name
    assert await diff(api, one["id"], again["id"]) == {}
    # A replay of it is one of the same image; the job goes on with what its tag means.
    assert (await replay(api, again))["image_digest"] == FIRST
    assert (await api.run(job))["image_digest"] == SECOND


async def test_a_replay_takes_changes_like_a_trigger(world: World):
    """A tag that is named means what it means by now; a size is the configured one."""
    api, engine = world.api, world.engine
    one = await api.run(await registry_job(api, engine, runtime_vars={"A": "1", "C": "3"}))
    move_tag(engine)
    again = await replay(
        api,
        one,
        {
            "command": "greet",
            "runtime_vars": {"A": "2", "B": "b"},
            "docker_image_tag": "1",
            "resource_size": "S",
            "labels": {"why": "test"},
            "priority": 5,
        },
    )
    assert (again["status"], again["image_digest"], again["docker_image_digest"]) == ("S", SECOND, None)
    assert await diff(api, one["id"], again["id"]) == {
        ("image_digest", None): ("changed", FIRST, SECOND),
        ("command", None): ("changed", ["true"], ["greet"]),
        ("resource_size", None): ("changed", "XXS", "S"),
        ("cpus", None): ("changed", 0.15, 0.5),
        ("memory_bytes", None): ("changed", 64 << 20, 256 << 20),
        ("priority", None): ("changed", 0, 5),
        ("runtime_vars", "A"): ("changed", "1", "2"),
        ("runtime_vars", "B"): ("added", None, "b"),
        ("labels", "why"): ("added", None, "test"),
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resource_size": "XXXXL"}, "resource_size"),
        ({"command": "'"}, "command"),
        ({"docker_image_repo": "other"}, "docker_image_repo"),
        ({"docker_image_tag": "a b"}, "docker_image_tag"),
    ],
)
async def test_a_change_that_cannot_be_made_is_refused_by_name(api: Api, body: dict[str, Any], field: str):
    """And no run comes of it."""
    job = (await api.create(command="true"))["id"]
    one = await api.run(job)
    answer = await api.post(f"/v1/jobs/{job}/execs/{one['id']}/replay", body)
    assert answer.status == 400, answer.text
    assert field in answer.errors()
    assert (await api.get(f"/v1/jobs/{job}/execs")).body["count"] == 1


async def test_an_image_that_is_gone_from_the_engine_is_fetched_again_by_its_digest(world: World):
    """And where its registry has it no more, the run says so and what to do."""
    api, engine = world.api, world.engine
    one = await api.run(await registry_job(api, engine, pull_policy="always"))
    del engine.images["r.example.com/app:1"]
    assert (await replay(api, one))["status"] == "S"
    engine.images.clear()
    engine.registry["r.example.com/app:1"] = FakeImage(digest=SECOND)
    gone = await replay(api, one)
    assert (gone["status"], gone["fail_reason"]) == ("F", "image_pull_failed")
    assert f"the image of run {one['id']} is no longer on the engine" in gone["error"]
    assert f"r.example.com/app@{FIRST} cannot be pulled" in gone["error"]
    assert "docker_image_tag" in gone["error"]
    assert (await replay(api, one, {"docker_image_tag": "1"}))["image_digest"] == SECOND


async def test_an_image_of_no_registry_is_found_by_its_id(world: World):
    """As long as the engine has it, whatever its tag means by now; the pull policy does not stand in the way."""
    api, engine = world.api, world.engine
    engine.images["local:1"] = FakeImage(digest=FIRST, local=True)
    job = await api.create(
        docker_image_repo="local", docker_image_tag="1", command="hang", pull_policy="never", max_retries=1,
        retry_backoff_seconds=0,
    )  # fmt: skip
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    engine.images |= {"local:old": engine.images["local:1"], "local:1": FakeImage(SECOND, local=True)}
    answer = await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/replay")
    assert answer.status == 201, answer.text
    again = await api.until_status(job["id"], answer.body["id"], "R")
    container = engine.container_of(again["id"])
    assert container is not None
    assert (container.spec.image, again["image_digest"]) == (FIRST, FIRST)
    # Without it there is nothing to run, and the retry looks for no other.
    del engine.images["local:old"]
    gone = await replay(api, one)
    assert (gone["status"], gone["fail_reason"]) == ("F", "image_pull_failed")
    assert "'never'" in gone["error"]
    [retry] = (await api.get(f"/v1/execs?trigger_mode=R&job={job['id']}")).body["results"]
    retry = await api.until_ended(job["id"], retry["id"])
    assert (retry["image_digest"], retry["replay_of"], retry["retry_of"]) == (FIRST, one["id"], gone["id"])
    assert "no longer on the engine" in retry["error"]


async def test_what_a_user_gives_as_digest_is_looked_for_in_its_repository_alone(world: World):
    """A run that never had an image makes no engine's id of it by being replayed."""
    api, engine = world.api, world.engine
    engine.images["private:1"] = FakeImage(digest=FIRST, local=True)
    job = (await api.create(command="true", docker_image_digest=FIRST))["id"]
    one = await api.run(job)
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    again = await replay(api, one)
    assert (again["status"], again["fail_reason"], again["image_digest"]) == ("F", "image_pull_failed", None)


async def test_secrets_are_those_of_now(world: World):
    """A run has their names; the values are looked up when its replay starts, or it fails for want of one."""
    api, engine = world.api, world.engine
    assert (await api.put("/v1/secrets/db?namespace=admin", {"value": "old-old-old"})).status == 201
    job = (await api.create(command="true", runtime_vars={"PASSWORD": {"secret": "db"}}))["id"]
    one = await api.run(job)
    assert (await api.put("/v1/secrets/db?namespace=admin", {"value": "new-new-new"})).status == 200
    answer = await api.post(f"/v1/jobs/{job}/execs/{one['id']}/replay", {"command": "hang"})
    again = await api.until_status(job, answer.body["id"], "R")
    container = engine.container_of(again["id"])
    assert container is not None
    assert container.spec.environment == {"PASSWORD": "new-new-new"}
    assert again["runtime_vars"] == {"PASSWORD": {"secret": "db"}}
    assert (await api.delete("/v1/secrets/db?namespace=admin")).status == 204
    assert (await replay(api, one))["fail_reason"] == "secret_missing"
    shown = await api.get(f"/v1/execs/{one['id']}/diff/{again['id']}")
    assert "new-new-new" not in shown.text


async def test_a_replay_is_held_to_the_policy_of_now(world: World):
    """Like any trigger, it fails naming the rule; a replay pins its image by itself."""
    api = world.api
    job = (await api.create(command="true"))["id"]
    one = await api.run(job)
    _tighten(world, require_digest=True)
    assert (await api.run(job))["fail_reason"] == "policy_denied"
    assert (await replay(api, one))["status"] == "S"
    _tighten(world, allowed_images=["registry.example.com/*"])
    denied = await replay(api, one)
    assert denied["fail_reason"] == "policy_denied"
    assert "allowed_images" in denied["error"]


async def test_a_job_that_forbids_two_runs_forbids_a_replay_beside_another(api: Api):
    """409 that names the run, or `?force=true`; what counts is what the job says by now."""
    job = (await api.create(command="hang"))["id"]
    one = await api.trigger(job)
    await api.until_status(job, one["id"], "R")
    path = f"/v1/jobs/{job}/execs/{one['id']}/replay"
    beside = (await api.post(path)).body
    await api.change(job, concurrency_policy="forbid")
    refused = await api.post(path)
    assert refused.status == 409
    assert one["id"] in refused.text
    assert (await api.post(path + "?force=true")).status == 201
    assert beside["replay_of"] == one["id"]


async def test_a_run_that_has_not_started_cannot_be_replayed(world: World):
    """Nobody knows yet which image it is; what failed for want of one can, by its tag."""
    api, engine = world.api, world.engine
    engine.down = True
    job = (await api.create(command="true"))["id"]
    one = await api.trigger(job)
    refused = await api.post(f"/v1/jobs/{job}/execs/{one['id']}/replay")
    assert refused.status == 409
    assert "has not started" in refused.body["detail"]
    engine.down = False
    await api.until_ended(job, one["id"])
    missing = (await api.create("missing", docker_image_repo="r.example.com/none", command="true"))["id"]
    failed = await api.run(missing)
    assert failed["fail_reason"] == "image_pull_failed"
    engine.registry["r.example.com/none:" + TAG] = FakeImage(digest=FIRST)
    assert (await replay(api, failed))["image_digest"] == FIRST


async def test_a_deleted_job_or_run_is_not_found(api: Api):
    """Whichever of the two is gone, for replays and comparisons."""
    job = (await api.create(command="true"))["id"]
    one, other = await api.run(job), await api.run(job)
    path = f"/v1/jobs/{job}/execs/{one['id']}"
    assert (await api.delete(path)).status == 204
    assert (await api.post(path + "/replay")).status == 404
    for a, b in ((one["id"], other["id"]), (other["id"], one["id"]), ("x", other["id"])):
        assert (await api.get(f"/v1/execs/{a}/diff/{b}")).status == 404
    assert (await api.delete(f"/v1/jobs/{job}")).status == 204
    assert (await api.post(f"/v1/jobs/{job}/execs/{other['id']}/replay")).status == 404


async def test_runs_of_two_jobs_are_compared_to_how_they_ended(api: Api):
    """Outcome, exit code and reason; a command written otherwise is the same if its words are."""
    good = await api.run((await api.create("good", command="true"))["id"])
    same = await api.run((await api.create("same", command=["true"]))["id"])
    bad = await api.run((await api.create("bad", command="false", user="1000"))["id"])
    assert await diff(api, good["id"], same["id"]) == {}
    assert await diff(api, good["id"], bad["id"]) == {
        ("command", None): ("changed", ["true"], ["false"]),
        ("user", None): ("added", None, "1000"),
        ("status", None): ("changed", "S", "F"),
        ("exit_code", None): ("changed", 0, 1),
        ("fail_reason", None): ("added", None, "exit_code"),
        ("error", None): ("added", None, "The command ended with exit code 1."),
    }
    viewer = {"role": "viewer", "namespace": "elsewhere"}
    token = (await api.post("/v1/tokens", viewer)).body["token"]
    assert (await api.get(f"/v1/execs/{good['id']}/diff/{bad['id']}", token=token)).status == 404
    mine = (await api.create("mine", command="true", namespace="elsewhere"))["id"]
    own = await api.run(mine)
    assert (await api.get(f"/v1/execs/{own['id']}/diff/{own['id']}", token=token)).body["is_same"]
    assert (await api.get(f"/v1/execs/{own['id']}/diff/{good['id']}", token=token)).status == 404
    assert REPO in good["docker_image_repo"]
