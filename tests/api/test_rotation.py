"""A new key for what is secret, while the daemon serves: everything opens before, amid and after it."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from scheduler.secrets.sealing import Keyring
from scheduler.secrets.vault import Vault
from scheduler.store import hooks, identity, registries, secrets
from tests.api.conftest import Api, World

VALUE = "correct-horse-battery-staple"
HOST = "registry.example.com"
ROTATE = "/v1/secret-key/rotate"


async def _make_all(api: Api) -> None:
    """A secret, a credential, and a hook with a secret of its own."""
    await api.put("/v1/secrets/db", {"value": VALUE})
    await api.put(f"/v1/registries/{HOST}", {"username": "a", "password": VALUE})
    job = await api.create(runtime_vars={"A": {"secret": "db"}}, command="true")
    hook = {"name": "h", "url": "http://127.0.0.1:1025/", "subject_type": "job", "subject": job["id"]}
    assert (await api.post("/v1/hooks", {**hook, "events": ["job:miss"], "secret": VALUE})).status == 201


def _keys(tmp_path: Path, pattern: str = "secret.key") -> list[str]:
    return [key for file in tmp_path.glob(pattern) for key in file.read_text().split()]


async def test_a_new_key_seals_everything_and_the_former_one_is_forgotten(world: World, tmp_path: Path):
    """What a daemon finds that starts afterwards opens all of it with the one key that is left."""
    api, database = world.api, world.parts.database
    await _make_all(api)
    [former] = _keys(tmp_path)
    answer = await api.post(ROTATE)
    assert answer.status == 200, answer.text
    [present] = _keys(tmp_path)
    assert present != former
    assert present not in answer.text
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    keyring = Keyring([present])
    assert answer.body == {"key": keyring.current, "sealed_anew": 3, "cannot_be_opened": 0}

    alone = Vault(database, keyring)
    assert await alone.values("admin", ["db"]) == {"db": VALUE}
    login = await alone.login("admin", HOST)
    assert login is not None
    assert login.password == VALUE
    ((_, stored),) = await database.read(hooks.all_sealed)
    assert alone.of_hook(stored) == VALUE

    assert (await api.put("/v1/secrets/new", {"value": VALUE})).status == 201
    assert await alone.values("admin", ["new"]) == {"new": VALUE}
    job = (await api.get("/v1/jobs")).body["results"][0]
    assert (await api.run(job["id"]))["status"] == "S"
    entry = (await api.get("/v1/audit?action=key.rotate")).body["results"][0]
    assert (entry["object"], entry["outcome"]) == (f"key {keyring.current}", "done")
    for text in (present, former):
        assert text not in (await api.get("/v1/audit")).text


async def test_what_is_set_while_the_key_changes_is_sealed_with_the_new_one(world: World, tmp_path: Path):
    """However the requests fall; nothing stays behind that only the former key opens."""
    api, database = world.api, world.parts.database

    async def put(number: int) -> None:
        answer = await api.put(f"/v1/secrets/s{number}", {"value": f"{VALUE}-{number}"})
        assert answer.status == 201, answer.text

    *_, answer = await asyncio.gather(*(put(number) for number in range(40)), api.post(ROTATE))
    assert answer.status == 200, answer.text
    alone = Vault(database, Keyring(_keys(tmp_path)))
    names = [f"s{number}" for number in range(40)]
    assert await alone.values("admin", names) == {name: f"{VALUE}-{name[1:]}" for name in names}


async def test_a_key_from_the_environment_is_not_changed(world: World):
    """The refusal says so, and what to do instead."""
    service = _service(world)
    service.keys._parts = replace(service.keys._parts, key_file=None)
    answer = await world.api.post(ROTATE)
    assert answer.status == 409
    assert "TIMEBALL_SECRET_KEY" in answer.body["detail"]
    assert "add a new key before the current one" in answer.body["detail"]


async def test_a_file_that_cannot_be_replaced_is_left_as_it_is(
    world: World, tmp_path: Path, monkeypatch: Any
):
    """Whatever is sealed stays so, and the refusal names the file."""
    await _make_all(world.api)
    before = _keys(tmp_path)

    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    answer = await world.api.post(ROTATE)
    assert answer.status == 409
    assert str(tmp_path / "secret.key") in answer.body["detail"]
    assert "Read-only file system" in answer.body["detail"]
    assert _keys(tmp_path) == before
    assert not _keys(tmp_path, "secret.key.*")
    assert await Vault(world.parts.database, Keyring(before)).values("admin", ["db"]) == {"db": VALUE}


@pytest.mark.parametrize("text", ["no key at all\n", "", "B" * 43 + "\n", None])
async def test_a_file_that_was_changed_since_is_not_written_to(
    world: World, tmp_path: Path, text: str | None
):
    """What is in it may be meant; without the key in use nothing could be opened after a restart."""
    await _make_all(world.api)
    [key], path = _keys(tmp_path), tmp_path / "secret.key"
    path.unlink() if text is None else path.write_text(text)
    answer = await world.api.post(ROTATE)
    assert answer.status == 409, answer.text
    assert str(path) in answer.body["detail"]
    assert "no key at all" not in answer.text
    assert await Vault(world.parts.database, Keyring([key])).values("admin", ["db"]) == {"db": VALUE}


async def test_another_daemon_on_the_database_is_in_the_way(world: World, tmp_path: Path):
    """It would not have the new key."""
    before = _keys(tmp_path)
    clock = world.parts.clock

    def join(connection: Connection) -> None:
        now = clock.now()
        identity.renew_lease(connection, "another", now=now, until=now.replace(year=now.year + 1))

    await world.parts.database.write(join)
    answer = await world.api.post(ROTATE)
    assert answer.status == 409
    assert "1 other daemon(s)" in answer.body["detail"]
    assert _keys(tmp_path) == before


async def test_what_no_key_opens_is_counted_and_left(world: World):
    """It would not be any better for it; the daemon's log names it."""
    await _make_all(world.api)
    other = Vault(world.parts.database, Keyring(["A" * 43]))

    def strangers(connection: Connection) -> None:
        (namespace, name, stored), *_ = secrets.all_sealed(connection)
        secrets.reseal(connection, namespace, name, stored, other.sealed(namespace, name, VALUE))

    await world.parts.database.write(strangers)
    answer = await world.api.post(ROTATE)
    assert (answer.body["sealed_anew"], answer.body["cannot_be_opened"]) == (2, 1)
    assert len(await world.parts.database.read(registries.all_sealed)) == 1


def _service(world: World) -> Any:
    from api.http.keys import SERVICE  # noqa: PLC0415 - for the one test that reaches behind the API

    return world.api.client.server.app[SERVICE]  # type: ignore[union-attr] # it is a TestServer


@pytest.mark.parametrize("body", [b"[]", b'{"key": "x"}'])
async def test_there_is_nothing_to_say_to_it(api: Api, body: bytes):
    """A key cannot be given: it would have been in somebody's hands."""
    assert (await api.send("POST", ROTATE, raw=body)).status == 400
