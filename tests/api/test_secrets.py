"""Secrets: set and never shown, used by runs, masked in what those print, and sealed in the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.secrets.sealing import Keyring, new_key
from scheduler.secrets.vault import SecretUnavailableError, Vault
from scheduler.store import hooks
from tests.api.conftest import Api, World
from tests.lab.fake_programs import FakeProcess

VALUE = "correct-horse-battery-staple"


async def _put(api: Api, name: str = "db", value: str = VALUE, query: str = "") -> dict[str, Any]:
    answer = await api.put(f"/v1/secrets/{name}{query}", {"value": value})
    assert answer.status in (200, 201), answer.text
    assert value not in answer.text
    return answer.body


async def test_a_secret_is_set_listed_and_deleted_without_its_value(api: Api):
    """201 the first time, 200 the next; how many jobs name it is told."""
    assert (await api.put("/v1/secrets/db", {"value": VALUE})).status == 201
    assert (await api.put("/v1/secrets/db", {"value": VALUE + "2"})).status == 200
    await api.create(runtime_vars={"A": {"secret": "db"}, "B": '{"secret": "db"}'})
    found = await api.get("/v1/secrets")
    assert found.body["count"] == 1
    one = found.body["results"][0]
    assert (one["name"], one["namespace"], one["used_by"], one["created_by"]) == ("db", "admin", 1, "admin")
    assert (await api.get("/v1/secrets/db")).body == one
    assert VALUE not in found.text
    assert (await api.get("/v1/secrets?namespace=other")).body["count"] == 0
    assert (await api.delete("/v1/secrets/db")).status == 204
    assert (await api.delete("/v1/secrets/db")).status == 404
    assert (await api.get("/v1/secrets/db")).status == 404


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("db", {}, "value"),
        ("db", {"value": ""}, "value"),
        ("db", {"value": 5}, "value"),
        ("db", {"value": "a\x00b"}, "value"),
        ("db", {"value": "x" * 65_537}, "value"),
        ("db", {"value": "x", "name": "y"}, "name"),
        ("a%20b", {"value": "x"}, "name"),
        ("..%2fb", {"value": "x"}, "name"),
    ],
)
async def test_a_bad_secret_is_refused(api: Api, name: str, body: dict[str, Any], field: str):
    """By the field, and without showing a value."""
    answer = await api.put(f"/v1/secrets/{name}", body)
    assert answer.status in (400, 404), answer.text
    if answer.status == 400:
        assert field in answer.errors()
    assert "xxx" not in answer.text


@pytest.mark.parametrize(
    "value",
    [{"secret": 5}, {"secret": "a b"}, {"secret": ""}, {"secrets": "a"}, {"secret": "a", "b": "c"}, {}],
)
async def test_a_reference_that_is_none_is_refused(api: Api, value: object):
    """With how to write one."""
    answer = await api.post(
        "/v1/jobs", {"name": "x", "docker_image_repo": "busybox", "runtime_vars": {"A": value}}
    )
    assert answer.status == 400
    (entry,) = answer.errors().values()
    assert entry["field"] == "runtime_vars.A"
    assert "secret" in entry["remedy"]


async def test_a_trigger_cannot_name_secrets(api: Api):
    """Whoever may only trigger a job has of secrets what its editor gave it."""
    job = await api.create(command="true")
    answer = await api.post(f"/v1/jobs/{job['id']}/execs", {"runtime_vars": {"A": {"secret": "db"}}})
    assert answer.status == 400
    assert "runtime_vars.A" in answer.errors()


async def test_a_run_has_the_value_and_everybody_else_the_name(world: World, tmp_path: Path):
    """Not in any answer, nor in the output however it is cut, nor in the database."""
    api = world.api

    async def tells(process: FakeProcess) -> int:
        process.out(b"it is " + VALUE[:9].encode())
        process.out(VALUE[9:].encode() + b" indeed\n")
        process.err(VALUE.encode())
        return 0

    world.engine.programs["tell",] = tells
    await _put(api)
    job = await api.create(command="tell", runtime_vars={"PASSWORD": {"secret": "db"}, "USER": "ada"})
    assert job["runtime_vars"] == {"PASSWORD": {"secret": "db"}, "USER": "ada"}
    seen: list[dict[str, str]] = []
    create = world.engine.create

    async def spying(spec: Any) -> Any:
        seen.append(dict(spec.environment))
        return await create(spec)

    world.engine.create = spying  # type: ignore[method-assign] # to see what a container is given
    one = await api.run(job["id"])
    assert one["status"] == "S", one
    assert seen == [{"PASSWORD": VALUE, "USER": "ada"}]
    assert one["runtime_vars"] == job["runtime_vars"]
    assert json.loads(one["job"]["runtime_vars"]) == job["runtime_vars"]
    stars = "*" * len(VALUE)
    lines = [line["message"] for line in await api.logs(job["id"], one["id"]) if line["stream"] != "system"]
    assert sorted(lines) == sorted([f"it is {stars} indeed", stars])
    for path in ("/v1/jobs", "/v1/execs", f"/v1/jobs/{job['id']}/execs", "/v1/audit", "/api/jobs"):
        assert VALUE not in (await api.get(path)).text
    assert not _holds(tmp_path, VALUE)


def _holds(directory: Path, text: str) -> bool:
    """Whether the text is in any file of the directory."""
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert any(file.name == "timeball.db" for file in files)
    return any(text.encode() in file.read_bytes() for file in files)


async def test_a_run_without_its_secret_fails_and_says_which(world: World):
    """It is not tried again, and nothing is asked of the engine."""
    api = world.api
    job = await api.create(command="true", runtime_vars={"A": {"secret": "absent"}}, max_retries=3)
    world.engine.calls.clear()
    one = await api.run(job["id"])
    assert (one["status"], one["fail_reason"]) == ("F", "secret_missing")
    assert "The secret 'absent' does not exist in namespace" in one["error"]
    assert "create it there" in one["error"]
    assert "create" not in world.engine.calls


async def test_a_secret_is_of_its_namespace_alone(api: Api):
    """A job of another one does not get it, though it has the same name."""
    await _put(api, query="?namespace=theirs")
    job = await api.create(namespace="mine", command="true", runtime_vars={"A": {"secret": "db"}})
    assert (await api.run(job["id"]))["fail_reason"] == "secret_missing"


async def test_a_new_key_takes_over_and_the_former_one_can_go(world: World, tmp_path: Path):
    """Secrets and hooks' secrets are sealed anew at the start, and opened afterwards without the former key."""
    api = world.api
    await _put(api)
    job = await api.create(runtime_vars={"A": {"secret": "db"}}, command="true")
    hook = {"name": "h", "url": "http://127.0.0.1:1025/", "subject_type": "job", "subject": job["id"]}
    assert (await api.post("/v1/hooks", {**hook, "events": ["job:fail"], "secret": VALUE})).status == 201
    assert not _holds(tmp_path, VALUE)
    database, former, present = world.parts.database, (tmp_path / "secret.key").read_text().strip(), new_key()
    await Vault(database, Keyring([present, former])).renew()
    alone = Vault(database, Keyring([present]))
    assert await alone.values("admin", ["db"]) == {"db": VALUE}
    ((_, stored),) = await database.read(hooks.all_sealed)
    assert alone.of_hook(stored) == VALUE
    with pytest.raises(SecretUnavailableError, match="does not have"):
        await Vault(database, Keyring([former])).values("admin", ["db"])
    await Vault(database, Keyring([former])).renew()  # of no use, and does no harm
    assert await alone.values("admin", ["db"]) == {"db": VALUE}
