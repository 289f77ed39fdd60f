"""Defining jobs: defaults, changes, names, commands."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from api.http.keys import SERVICE
from tests.api.conftest import REPO, TAG, Api, World, check_problem
from tests.lab.fake_engine import FakeEngine

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


async def test_only_a_name_and_a_repository_are_needed(api: Api):
    """Everything else has a default, and all of them are shown."""
    answer = await api.post("/v1/jobs", {"name": "n", "docker_image_repo": "busybox"})
    assert answer.status == 201
    job = answer.body
    for moment in ("created_at", "updated_at"):
        assert MOMENT.fullmatch(job.pop(moment))
    assert job == {
        "id": 1,
        "name": "n",
        "namespace": "admin",
        "command": None,
        "docker_image_repo": "busybox",
        "docker_image_tag": "latest",
        "resource_size": "XXS",
        "region_name": "LOCAL",
        "is_schedule_active": False,
        "schedule_mode": None,
        "schedule_timezone": None,
        "runtime_vars": {},
        "email_enabled": False,
        "labels": {},
        "misfire_policy": "latest",
        "misfire_grace_seconds": 1,
        "concurrency_policy": "allow",
        "timeout_seconds": None,
        "stop_grace_seconds": 10,
        "max_retries": 0,
        "retry_backoff_seconds": 10,
        "retry_on": [
            "exit_code",
            "timeout",
            "oom_killed",
            "image_pull_failed",
            "start_failed",
            "engine_lost",
        ],
        "priority": 0,
        "max_running": None,
        "pull_policy": "if_not_present",
        "log_limit_bytes": None,
        "retention_days": None,
        "retention_count": None,
        "retention_log_bytes": None,
        "capabilities": [],
        "mounts": [],
        "user": None,
        "read_only_root": False,
        "secret_files": {},
        "network": None,
        "pin_digest": False,
        "docker_image_digest": None,
        "created_by": "admin",
        "next_run_at": None,
        "schedule_state": "none",
        "last_exec": None,
    }


async def test_every_addition_comes_back_as_it_was_given(api: Api):
    """Fields beyond the documented ones are stored, shown, and kept by a change that does not name them."""
    given = {
        "email_enabled": True,
        "labels": {"team": "data", "example.com/stage": "", "note": "全角　空格"},
        "schedule_timezone": "Europe/Berlin",
        "misfire_policy": "all",
        "misfire_grace_seconds": 0,
        "concurrency_policy": "queue",
        "timeout_seconds": 3600,
        "stop_grace_seconds": 0,
        "max_retries": 3,
        "retry_backoff_seconds": 1,
        "pull_policy": "never",
        "retention_days": 0,
        "retention_count": 7,
        "retention_log_bytes": 1 << 40,
        "capabilities": ["CHOWN"],
        "user": "1000:1000",
        "read_only_root": True,
        "network": "none",
        "pin_digest": True,
        "docker_image_digest": "sha256:" + "0" * 64,
        "region_name": "BEIJING1",
        "resource_size": "XL",
    }
    job = await api.create(**given)
    assert {name: job[name] for name in given} == given
    job = await api.change(job["id"], name="another")
    assert {name: job[name] for name in given} == given


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_put_and_patch_change_what_they_name(api: Api, method: str):
    """Both methods mean the same: named fields change, null clears where null is a value, the rest stays."""
    job = await api.create(command="greet", timeout_seconds=5, runtime_vars={"A": "1", "B": "2"})
    answer = await api.send(
        method,
        f"/v1/jobs/{job['id']}",
        {"command": None, "timeout_seconds": None, "runtime_vars": {"C": "3"}},
    )
    assert answer.status == 200
    changed = {"command": None, "timeout_seconds": None, "runtime_vars": {"C": "3"}}
    assert answer.body == {**job, **changed, "updated_at": answer.body["updated_at"]}


async def test_a_change_of_nothing_is_a_change_that_succeeds(api: Api):
    """An empty object answers 200 with the job as it is."""
    job = await api.create(command="greet")
    answer = await api.put(f"/v1/jobs/{job['id']}", {})
    assert answer.status == 200
    assert answer.body == {**job, "updated_at": answer.body["updated_at"]}


async def test_a_refused_change_changes_nothing(api: Api):
    """Where one field is wrong, the right ones beside it are not taken either."""
    job = await api.create()
    answer = await api.put(f"/v1/jobs/{job['id']}", {"name": "better", "resource_size": "HUGE"})
    assert answer.status == 400
    assert await api.job(job["id"]) == job


async def test_a_job_whose_region_is_no_longer_configured_can_be_switched_off(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """And renamed; but not switched on, nor be given that region anew."""
    schedule = {"is_schedule_active": True, "schedule_mode": "R/2999-01-01T00:00:00Z/P1D"}
    job = await world.api.create(region_name="BEIJING1", **schedule)
    path = f"/v1/jobs/{job['id']}"
    assert world.api.client.app is not None
    jobs = world.api.client.app[SERVICE].jobs
    others = {name: region for name, region in jobs._parts.regions.items() if name != "BEIJING1"}
    monkeypatch.setattr(jobs, "_parts", replace(jobs._parts, regions=others))
    answer = await world.api.send("PATCH", path, {"is_schedule_active": False})
    assert (answer.status, answer.body["schedule_state"]) == (200, "inactive")
    assert (await world.api.send("PATCH", path, {"name": "old"})).status == 200
    for change in ({"is_schedule_active": True}, {"region_name": "BEIJING1"}):
        answer = await world.api.send("PATCH", path, change)
        assert (answer.status, set(answer.errors())) == (400, {"region_name"})


async def test_an_unknown_field_is_refused_with_the_one_that_was_meant(api: Api):
    """A slip of the pen is named with its value and a suggestion, on creation as on change."""
    job = await api.create()
    for answer in (
        await api.post("/v1/jobs", {"name": "n", "docker_image_repo": "busybox", "runtime_var": {}}),
        await api.put(f"/v1/jobs/{job['id']}", {"runtime_var": {}}),
    ):
        assert answer.status == 400
        entry = answer.errors()["runtime_var"]
        assert entry["value"] == {}
        assert entry["message"] == "is not a field of a job"
        assert "did you mean 'runtime_vars'" in entry["remedy"]
    answer = await api.put(f"/v1/jobs/{job['id']}", {"zzz": 1})
    assert answer.errors()["zzz"]["remedy"] == "remove it"


@pytest.mark.parametrize(
    "field", ["id", "created_by", "created_at", "updated_at", "next_run_at", "schedule_state", "last_exec"]
)
async def test_a_read_only_field_is_refused_by_name(api: Api, field: str):
    """What only answers have cannot be set, and the message says that this is why."""
    job = await api.create()
    answer = await api.put(f"/v1/jobs/{job['id']}", {field: job[field]})
    assert answer.status == 400
    assert answer.errors()[field]["message"] == "is read-only"


async def test_a_name_is_unique_within_its_namespace(api: Api):
    """A second job of the same name answers 409 that names both; another namespace may have it."""
    await api.create("twin")
    answer = await api.post("/v1/jobs", {"name": "twin", "docker_image_repo": "busybox"})
    assert answer.status == 409
    check_problem(answer)
    assert "'twin'" in answer.body["detail"]
    assert "'admin'" in answer.body["detail"]
    assert (await api.create("twin", namespace="other"))["name"] == "twin"


async def test_renaming_onto_another_jobs_name_is_refused(api: Api):
    """A rename, or a move to another namespace, into a taken name answers 409 and changes nothing."""
    await api.create("first")
    second = await api.create("second")
    moved = await api.create("first", namespace="other")
    for job, change in ((second, {"name": "first"}), (moved, {"namespace": "admin"})):
        answer = await api.put(f"/v1/jobs/{job['id']}", change)
        assert answer.status == 409
        check_problem(answer)
        assert await api.job(job["id"]) == job


async def test_a_job_may_keep_its_own_name(api: Api):
    """Naming a job what it is called already is no conflict."""
    job = await api.create("same")
    assert (await api.change(job["id"], name="same"))["name"] == "same"


async def test_a_deleted_jobs_name_is_free_and_its_id_is_not_used_again(api: Api):
    """The name can be taken at once; the id never comes back."""
    job = await api.create("phoenix")
    await api.delete(f"/v1/jobs/{job['id']}")
    assert (await api.create("phoenix"))["id"] > job["id"]


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "任务",
        "Überwachung №5",
        "with spaces and / slashes",
        "👩‍👩‍👧 family",
        "می‌خواهم",
        "x" * 200,
        "<b>&amp;",
        "'; --",
    ],
)
async def test_a_name_may_be_any_unicode_on_one_line(api: Api, name: str):
    """Names are free, also with joiners, signs and white space of other scripts."""
    assert (await api.create(name))["name"] == name


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("greet", ("greet",)),
        ("say 'two words' \"it's\"", ("say", "two words", "it's")),
        (["say", "two words", "it's"], ("say", "two words", "it's")),
        (["say", "$HOME", "", "a;b"], ("say", "$HOME", "", "a;b")),
        ("say $HOME && * `x`", ("say", "$HOME", "&&", "*", "`x`")),
        ("say 你好\\ 世界", ("say", "你好 世界")),
        (None, ("own",)),
        ("", ("own",)),
        ("   ", ("own",)),
        ([], ("own",)),
    ],
)
async def test_a_string_is_split_as_a_shell_would_and_a_list_is_taken_as_it_is(
    api: Api, engine: FakeEngine, command: Any, words: tuple[str, ...]
):
    """No shell runs; null, an empty string and an empty list run the image's own command; all are shown as given."""
    engine.programs[words] = engine.programs["greet",]
    job = await api.create(command=command, docker_image_tag="own")
    assert job["command"] == command
    seen: list[tuple[str, ...] | None] = []
    make = engine.create

    async def watch(spec: Any) -> Any:
        handle = await make(spec)
        seen.append(engine.containers[handle.engine_id].spec.command)
        return handle

    engine.create = watch  # type: ignore[method-assign]
    ended = await api.run(job["id"])
    assert (ended["status"], ended["command"]) == ("S", command)
    assert seen == [words]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("say 'two words", "no closing quotation"),
        ("say \\", "no escaped character"),
        ("'' x", "starts with an empty word"),
        ([""], "starts with an empty word"),
        (5, "neither a string nor a list of strings"),
        (True, "neither a string nor a list of strings"),
        ({"a": "b"}, "neither a string nor a list of strings"),
        (["a", 1], "at position 2"),
        (["a", None], "at position 2"),
        (["a", ["b"]], "at position 2"),
        ("nul\x00", "NUL"),
        (["nul", "\x00"], "NUL"),
        ("x" * 140_000, "is longer than 131072 bytes"),
    ],
)
async def test_a_command_that_cannot_be_one_is_refused_when_it_is_given(api: Api, command: Any, message: str):
    """Job and trigger refuse alike: once, by the field's name, with a remedy."""
    job = await api.create()
    for answer in (
        await api.put(f"/v1/jobs/{job['id']}", {"command": command}),
        await api.post(f"/v1/jobs/{job['id']}/execs", {"command": command}),
    ):
        assert answer.status == 400
        errors = answer.errors()
        assert set(errors) == {"command"}
        assert message in errors["command"]["message"].lower() or message in errors["command"]["message"]


async def test_a_moment_has_microseconds_and_an_offset_even_on_the_full_second(api: Api):
    """`next_run_at` on a full second is written with its six zeros."""
    job = await api.create(is_schedule_active=True, schedule_mode="R/2099-01-01T00:00:00Z/P1D")
    assert job["next_run_at"] == "2099-01-01T00:00:00.000000+00:00"


async def test_the_last_exec_is_shown_with_its_job(api: Api):
    """A job shows its newest run in short, in detail and in the list."""
    job = await api.create(command="false")
    assert job["last_exec"] is None
    await api.run(job["id"])
    ended = await api.run(job["id"])
    expected = {
        name: ended[name]
        for name in (
            "id", "status", "trigger_mode", "created_at", "scheduled_for", "started_at", "ended_at", "exit_code",
            "fail_reason",
        )
    }  # fmt: skip
    assert (expected["status"], expected["exit_code"], expected["fail_reason"]) == ("F", 1, "exit_code")
    assert (await api.job(job["id"]))["last_exec"] == expected
    assert (await api.get("/v1/jobs")).body["results"][0]["last_exec"] == expected


async def test_the_image_is_run_with_the_variables_and_the_size_of_the_job(api: Api, engine: FakeEngine):
    """What the engine is asked for is the job's image, environment and the size's limits."""
    job = await api.create(command="hang", runtime_vars={"A": "1", "B_2.x": "zwei=2 \n"}, resource_size="XS")
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    (container,) = engine.containers.values()
    spec = container.spec
    assert (spec.image, dict(spec.environment)) == (f"{REPO}:{TAG}", {"A": "1", "B_2.x": "zwei=2 \n"})
    assert (spec.cpus, spec.memory_bytes) == (0.25, 128 * 2**20)
