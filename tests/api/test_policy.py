"""What containers may do, as users meet it: jobs beyond the policy are refused, and runs of it are denied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.http.keys import SERVICE
from scheduler.policy.options import PolicySettings
from scheduler.settings.namespaces import container_policies_of
from scheduler.settings.settings import Settings
from tests.api.conftest import REPO, TAG, Api, World
from tests.lab.fake_engine import FakeEngine, FakeImage

ESCAPES: list[tuple[str, Any, str]] = [
    ("capabilities", ["SYS_ADMIN"], "allowed_capabilities"),
    ("capabilities", ["cap_sys_admin"], "allowed_capabilities"),
    ("capabilities", ["ALL"], "invalid entry at position 1"),
    ("capabilities", "SYS_ADMIN", "not a list"),
    ("mounts", [{"source": "/var/run/docker.sock", "target": "/sock"}], "allowed_mounts"),
    ("mounts", [{"source": "//var//run/./docker.sock", "target": "/sock"}], "allowed_mounts"),
    ("mounts", [{"source": "/", "target": "/host"}], "allowed_mounts"),
    ("network", "host", "allowed_networks"),
    ("network", "container:abc", "not a valid name of a network"),
    ("user", "root; reboot", "not a valid user"),
    ("docker_image_digest", "sha256:abc", "not a valid image digest"),
    ("docker_image_repo", "--privileged", "not a valid name of an image repository"),
    ("docker_image_repo", "busybox --privileged", "not a valid name of an image repository"),
    ("docker_image_repo", "../../etc", "not a valid name of an image repository"),
    ("privileged", True, "not a field of a job"),
    ("network_mode", "host", "not a field of a job"),
    ("pid_mode", "host", "not a field of a job"),
    ("ipc_mode", "host", "not a field of a job"),
    ("userns_mode", "host", "not a field of a job"),
    ("devices", ["/dev/sda"], "not a field of a job"),
    ("security_opt", ["seccomp=unconfined"], "not a field of a job"),
    ("volumes", ["/:/host"], "not a field of a job"),
]


@pytest.mark.parametrize(("field", "value", "words"), ESCAPES)
async def test_an_escape_in_a_definition_is_refused_by_name(api: Api, field: str, value: Any, words: str):
    """The error has the field, what is wrong or the rule, and a remedy; no job comes of it."""
    body = {"name": "escape", "docker_image_repo": REPO, "docker_image_tag": TAG, field: value}
    answer = await api.post("/v1/jobs", body)
    assert answer.status == 400, answer.text
    assert words in answer.errors()[field]["message"]
    assert (await api.get("/v1/jobs?name=escape")).body["count"] == 0


@pytest.mark.parametrize(
    ("mount", "field", "words"),
    [
        ({"source": "/srv/../var/run/docker.sock", "target": "/s"}, "source", "contains"),
        ({"source": "srv", "target": "/s"}, "source", "not an absolute path"),
        ({"source": "/srv\x00", "target": "/s"}, "source", "control character"),
        ({"source": "/srv", "target": "/proc/self"}, "target", "cannot be a mount point"),
        ({"source": "/srv", "target": "/"}, "target", "cannot be a mount point"),
        ({"source": "/srv", "target": "//"}, "target", "cannot be a mount point"),
        ({"source": "/srv", "target": "/a/../.."}, "target", "contains"),
    ],
)
async def test_a_mount_of_a_bad_form_is_refused(api: Api, mount: dict[str, str], field: str, words: str):
    """Whatever the policy allows."""
    answer = await api.post("/v1/jobs", {"name": "m", "docker_image_repo": REPO, "mounts": [mount]})
    assert answer.status == 400, answer.text
    (named,) = answer.errors()
    assert named.startswith("mounts")
    assert named.endswith(field)
    assert words in answer.errors()[named]["message"]


async def test_a_job_beyond_the_policy_is_neither_made_by_a_change(api: Api):
    """The stored job stays as it was, and other changes of it are still possible."""
    job = await api.create()
    answer = await api.put(f"/v1/jobs/{job['id']}", {"capabilities": ["SYS_ADMIN"]})
    assert answer.status == 400
    assert "allowed_capabilities" in answer.errors()["capabilities"]["message"]
    assert (await api.job(job["id"]))["capabilities"] == []


async def test_a_run_is_denied_when_the_policy_has_changed_since(world: World):
    """It fails before anything is asked of the engine, says which rule, and is not tried again."""
    api = world.api
    job = await api.create(command="true", max_retries=3, retry_backoff_seconds=0)
    _tighten(world, allowed_images=["registry.example.com/*"])
    world.engine.calls.clear()
    one = await api.run(job["id"])
    assert (one["status"], one["fail_reason"]) == ("F", "policy_denied")
    assert "allowed_images" in one["error"]
    assert "docker.io/timeball-test/fake" in one["error"]
    assert not {"ensure_image", "create"} & set(world.engine.calls)
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 1
    assert any("allowed_images" in line["message"] for line in await api.logs(job["id"], one["id"]))
    # What it is about can be put right, or be switched off; but not be switched on as it is.
    assert (await api.put(f"/v1/jobs/{job['id']}", {"labels": {"a": "b"}})).status == 200
    on = {"schedule_mode": "@hourly", "is_schedule_active": True}
    assert "docker_image_repo" in (await api.put(f"/v1/jobs/{job['id']}", on)).errors()


async def test_a_container_gets_what_the_policy_and_the_job_say(world: World):
    """Nothing but the policy's own where a job asks for nothing."""
    api = world.api
    job = await api.create(command="hang", user="1000:1000", read_only_root=True, network="none")
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    container = world.engine.container_of(one["id"])
    assert container is not None
    spec = container.spec
    assert (spec.user, spec.read_only_root, spec.network) == ("1000:1000", True, "none")
    assert spec.no_new_privileges
    assert spec.mounts == ()
    assert "SYS_ADMIN" not in spec.capabilities
    assert "NET_RAW" not in spec.capabilities
    assert "CHOWN" in spec.capabilities
    assert (spec.pids_limit, spec.nofile_limit) == (512, 16_384)


@pytest.mark.parametrize("is_content_addressed", [False, True], ids=["overlay2", "containerd"])
async def test_a_pinned_job_runs_the_image_of_its_first_run(
    api: Api, engine: FakeEngine, is_content_addressed: bool
):
    """Even when the tag means another one later; naming another image, or a change of mind, forgets it."""
    engine.is_content_addressed = is_content_addressed
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    engine.registry["r.example.com/app:1"] = FakeImage(digest=first)
    job = await api.create(
        docker_image_repo="r.example.com/app", docker_image_tag="1", command="true", pin_digest=True
    )
    assert (await api.run(job["id"]))["image_digest"] == first
    assert (await api.job(job["id"]))["docker_image_digest"] == first
    engine.images["r.example.com/app:other"] = engine.images["r.example.com/app:1"]
    engine.images["r.example.com/app:1"] = FakeImage(digest=second)
    again = await api.run(job["id"])
    assert (again["status"], again["image_digest"], again["docker_image_digest"]) == ("S", first, first)
    by_hand = await api.run(job["id"], {"docker_image_tag": "other"})
    assert by_hand["docker_image_digest"] is None
    job = (await api.put(f"/v1/jobs/{job['id']}", {"docker_image_tag": "other"})).body
    assert job["docker_image_digest"] is None
    job = (await api.put(f"/v1/jobs/{job['id']}", {"docker_image_digest": first, "pin_digest": False})).body
    assert job["docker_image_digest"] == first


async def test_a_pinned_job_whose_image_has_no_digest_does_not_run(api: Api, engine: FakeEngine):
    """A promise that cannot be kept is not made."""
    engine.images["local:1"] = FakeImage(local=True)
    job = await api.create(
        docker_image_repo="local", docker_image_tag="1", command="true", pin_digest=True, max_retries=0
    )
    one = await api.run(job["id"])
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "cannot be pinned" in one["error"]


async def test_variables_that_would_turn_our_own_process_are_only_the_containers(world: World):
    """They reach the container as they are, and nothing of ours looks at them."""
    api = world.api
    variables = {"LD_PRELOAD": "/evil.so", "DOCKER_HOST": "tcp://evil:2375", "PATH": "/evil"}
    job = await api.create(command="hang", runtime_vars=variables)
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    container = world.engine.container_of(one["id"])
    assert container is not None
    assert dict(container.spec.environment) == variables


async def test_more_variables_than_a_process_can_have_are_refused(api: Api):
    """By their size, before any engine has to; nothing is stored of them."""
    body = {"name": "big", "docker_image_repo": REPO, "runtime_vars": {"V": "x" * 200_000}}
    answer = await api.post("/v1/jobs", body)
    assert answer.status == 400
    assert "runtime_vars" in answer.errors()
    assert (await api.get("/v1/jobs?name=big")).body["count"] == 0


def _tighten(world: World, **rules: Any) -> None:
    """Let the daemon have another policy, as after a restart with other settings."""
    settings = Settings(data_dir=Path("/nowhere"), policy=PolicySettings(**rules))
    policy_of = container_policies_of(settings)
    app = world.api.client.app
    assert app is not None
    for part in (world.parts.runner._surroundings, app[SERVICE]._parts):
        object.__setattr__(part, "policy_of", policy_of)
