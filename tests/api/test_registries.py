"""Credentials for registries: set and never shown, and used by the pulls of their namespace alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scheduler.secrets.sealing import Keyring, new_key
from scheduler.secrets.vault import Vault
from tests.api.conftest import Api, World
from tests.lab.fake_engine import FakeImage

HOST = "registry.example.com:5000"
REPOSITORY = f"{HOST}/team/app"
USERNAME, PASSWORD = "robot", "correct-horse-battery-staple"
LOGIN = {"username": USERNAME, "password": PASSWORD}


@pytest.fixture(params=["overlay2", "containerd"])
def store(request: pytest.FixtureRequest) -> str:
    """How the engine keeps images: in the latter, an image's id is its digest."""
    return str(request.param)


@pytest.fixture
def private(world: World, store: str) -> World:
    """A world whose registry asks for a credential."""
    world.engine.is_content_addressed = store == "containerd"
    world.engine.registry[f"{REPOSITORY}:1"] = FakeImage(digest="sha256:" + "7" * 64)
    world.engine.logins[HOST] = (USERNAME, PASSWORD)
    return world


async def _run(api: Api, **fields: Any) -> dict[str, Any]:
    image = {"docker_image_repo": REPOSITORY, "docker_image_tag": "1", "command": "true"}
    job = await api.create(**{"name": f"job {len(fields)} {sorted(fields.items())}", **image, **fields})
    return await api.run(job["id"])


async def test_a_credential_is_set_listed_and_deleted_without_its_password(api: Api):
    """201 the first time, 200 the next; the user name is told, and who set it."""
    first = await api.put(f"/v1/registries/{HOST}", LOGIN)
    assert first.status == 201
    assert (await api.put(f"/v1/registries/{HOST}", {**LOGIN, "username": "other"})).status == 200
    found = await api.get("/v1/registries")
    assert found.body["count"] == 1
    one = found.body["results"][0]
    assert (one["host"], one["namespace"], one["username"]) == (HOST, "admin", "other")
    assert set(one) == {
        *("host", "namespace", "username", "created_by", "created_at", "updated_by", "updated_at")
    }
    assert (await api.get(f"/v1/registries/{HOST}")).body == one
    assert PASSWORD not in first.text + found.text + (await api.get("/v1/audit")).text
    assert (await api.get("/v1/registries?namespace=other")).body["count"] == 0
    assert (await api.delete(f"/v1/registries/{HOST}")).status == 204
    assert (await api.delete(f"/v1/registries/{HOST}")).status == 404
    assert (await api.get(f"/v1/registries/{HOST}")).status == 404


@pytest.mark.parametrize("alias", ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"])
async def test_the_default_registry_has_one_credential_under_all_its_names(api: Api, alias: str):
    """An image's name need not say which registry is meant, so that nothing may depend on how it is said."""
    assert (await api.put(f"/v1/registries/{alias}", LOGIN)).body["host"] == "docker.io"
    assert (await api.get(f"/v1/registries/{alias}")).status == 200
    assert (await api.put("/v1/registries/docker.io", LOGIN)).status == 200


@pytest.mark.parametrize(
    ("host", "body", "field"),
    [
        (HOST, {}, "username"),
        (HOST, {"username": "a"}, "password"),
        (HOST, {"username": "", "password": PASSWORD}, "username"),
        (HOST, {"username": "a:b", "password": PASSWORD}, "username"),
        (HOST, {"username": "a\r\nX: y", "password": PASSWORD}, "username"),
        (HOST, {"username": "a" * 256, "password": PASSWORD}, "username"),
        (HOST, {"username": "a", "password": ""}, "password"),
        (HOST, {"username": "a", "password": 5}, "password"),
        (HOST, {"username": "a", "password": PASSWORD + "\x00"}, "password"),
        (HOST, {"username": "a", "password": PASSWORD * 1000}, "password"),
        (HOST, {**LOGIN, "passwort": PASSWORD}, "passwort"),
        ("busybox", LOGIN, "host"),
        ("https:%2f%2fregistry.example.com", LOGIN, "host"),
        ("registry.example.com%2fteam", LOGIN, "host"),
        ("user@registry.example.com", LOGIN, "host"),
        ("registry.example.com:", LOGIN, "host"),
        ("-a.example.com", LOGIN, "host"),
    ],
)
async def test_a_bad_credential_is_refused(api: Api, host: str, body: dict[str, Any], field: str):
    """By the field, and without showing the password."""
    answer = await api.put(f"/v1/registries/{host}", body)
    assert answer.status == 400, answer.text
    assert field in answer.errors()
    assert PASSWORD not in answer.text


async def test_a_run_pulls_with_its_namespaces_credential(private: World, tmp_path: Path):
    """And its password is in no answer, no log, and no file of the daemon's."""
    api = private.api
    await api.put(f"/v1/registries/{HOST}?namespace=mine", LOGIN)
    one = await _run(api, namespace="mine")
    assert one["status"] == "S", one
    for path in ("/v1/execs", "/v1/audit", "/v1/registries?namespace=mine", "/v1/jobs"):
        assert PASSWORD not in (await api.get(path)).text
    assert not _holds(tmp_path, PASSWORD)


def _holds(directory: Path, text: str) -> bool:
    """Whether the text is in any file of the directory."""
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert any(file.name == "timeball.db" for file in files)
    return any(text.encode() in file.read_bytes() for file in files)


async def test_without_a_credential_the_reason_says_how_to_store_one(private: World):
    """It names the registry and the namespace."""
    one = await _run(private.api, namespace="mine")
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert f"has no credential for registry {HOST}" in one["error"]
    assert f"set the credential for registry {HOST} in this namespace" in one["error"]


async def test_a_wrong_credential_is_named_without_its_password(private: World):
    """The registry, the namespace and the user name are told."""
    await private.api.put(f"/v1/registries/{HOST}?namespace=mine", {**LOGIN, "password": "wrong-password"})
    one = await _run(private.api, namespace="mine")
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert f"registry {HOST} does not accept the credential of namespace 'mine'" in one["error"]
    assert "'robot'" in one["error"]
    assert "wrong-password" not in str(one)


async def test_an_image_that_anothers_credential_has_pulled_is_not_simply_there(private: World):
    """A namespace without the right to it is refused, however it asks; one with it asks the registry once."""
    api, engine = private.api, private.engine
    await api.put(f"/v1/registries/{HOST}?namespace=mine", LOGIN)
    assert (await _run(api, namespace="mine"))["status"] == "S"
    for policy in ("if_not_present", "always", "never"):
        one = await _run(api, namespace="theirs", pull_policy=policy)
        assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed"), policy
    assert "has not pulled it itself" in one["error"]
    await api.put(f"/v1/registries/{HOST}?namespace=theirs", LOGIN)
    assert (await _run(api, namespace="theirs", labels={"a": "1"}))["status"] == "S"
    del engine.registry[f"{REPOSITORY}:1"]  # from now on nobody can ask for it
    for namespace in ("mine", "theirs"):
        assert (await _run(api, namespace=namespace, labels={"b": "1"}))["status"] == "S"
    assert (await _run(api, namespace="mine", pull_policy="never"))["status"] == "S"


async def test_what_was_pulled_with_a_credential_goes_with_it(private: World):
    """Once it is deleted or replaced, the image on the engine is not to be had by it any more."""
    api = private.api
    await api.put(f"/v1/registries/{HOST}?namespace=mine", LOGIN)
    await api.put(f"/v1/registries/{HOST}?namespace=theirs", LOGIN)
    assert (await _run(api, namespace="mine"))["status"] == "S"
    await api.put(f"/v1/registries/{HOST}?namespace=mine", {**LOGIN, "password": "revoked"})
    assert (await _run(api, namespace="mine", labels={"a": "1"}))["fail_reason"] == "image_pull_failed"
    await api.delete(f"/v1/registries/{HOST}?namespace=mine")
    assert (await _run(api, namespace="mine", labels={"a": "2"}))["fail_reason"] == "image_pull_failed"


async def test_an_image_on_the_engine_under_a_private_registry_s_name_has_to_come_from_there(
    world: World, store: str
):
    """The name decides: an engine does not say of an image whether it was built there or pulled by somebody."""
    api = world.api
    world.engine.images[f"{REPOSITORY}:1"] = FakeImage(digest="sha256:" + "7" * 64, local=True)
    world.engine.is_content_addressed = store == "containerd"
    assert (await _run(api, namespace="mine"))["status"] == "S"
    await api.put(f"/v1/registries/{HOST}?namespace=theirs", LOGIN)
    for policy in ("if_not_present", "always", "never"):
        one = await _run(api, namespace="mine", pull_policy=policy, labels={"a": "1"})
        assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed"), policy


async def test_a_new_key_seals_credentials_anew(world: World, tmp_path: Path):
    """They are opened afterwards without the former key, and an error says what to do where none opens them."""
    api, database = world.api, world.parts.database
    await api.put(f"/v1/registries/{HOST}", LOGIN)
    former, present = (tmp_path / "secret.key").read_text().strip(), new_key()
    await Vault(database, Keyring([present, former])).renew()
    found = await Vault(database, Keyring([present])).login("admin", HOST)
    assert found is not None
    assert (found.host, found.username, found.password) == (HOST, USERNAME, PASSWORD)
    assert PASSWORD not in repr(found)
    one = await _run(api)
    assert one["fail_reason"] == "image_pull_failed"
    assert f"The credential for {HOST} cannot be opened" in one["error"]
