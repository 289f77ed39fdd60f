"""Private images from a real registry that asks for a password: who may pull them, and where the password is not."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from docker.api.client import APIClient

from tests.lab.engine import running_registry
from tests.lab.receiver import Receiver
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.asyncio(loop_scope="session")]

USERNAME, PASSWORD = "ada", "ferret-umbrella-9f31c0"
#: As `htpasswd -B` writes it of the password.
LINE = f"{USERNAME}:$2b$05$abcdefghijklmnopqrstuuXKld7h0POToLCW0eJpE.EB2/jDz3nNK\n"
PAIR = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def private_image(
    engine_client: APIClient, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An image in a registry that asks who wants it; the engine does not have it."""
    folder = tmp_path_factory.mktemp("private-registry")
    (folder / "htpasswd").write_text(LINE)
    more = f"auth: {{htpasswd: {{realm: private, path: {folder / 'htpasswd'}}}}}"
    with running_registry(folder, more=more) as address:
        repository = f"{address}/private/busybox"
        engine_client.tag(busybox_image, repository, "1")
        login = {"username": USERNAME, "password": PASSWORD}
        for line in engine_client.push(repository, "1", stream=True, decode=True, auth_config=login):
            assert "error" not in line, line
        engine_client.remove_image(f"{repository}:1")
        yield f"{repository}:1"
        engine_client.remove_image(f"{repository}:1", force=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guest(
    engine_url: str, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Timeball]:
    """A daemon that has no credentials of its own."""
    made = Timeball(
        tmp_path_factory.mktemp("private") / "data",
        engine_url,
        busybox_image,
        config="log_level = 'debug'\nhooks = {allow = ['127.0.0.1']}\n",
    )
    await made.start()
    yield made
    await made.clear_away()


async def _set(timeball: Timeball, image: str, namespace: str, **login: str) -> None:
    host = image.split("/", maxsplit=1)[0]
    body = {"username": USERNAME, "password": PASSWORD, **login}
    status, raw = await timeball.send("PUT", f"/v1/registries/{host}?namespace={namespace}", body)
    assert status in (200, 201), raw
    assert body["password"].encode() not in raw


async def _run(timeball: Timeball, image: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    repository, tag = image.rsplit(":", 1)
    return await timeball.run(
        script("echo here"), docker_image_repo=repository, docker_image_tag=tag, **fields
    )


@pytest.mark.promise("private-images")
async def test_a_wrong_credential_ends_the_run_with_a_reason_that_names_it(
    guest: Timeball, private_image: str
) -> None:
    """At once and not after several tries; the reason names the registry and the user, not the password."""
    host = private_image.split("/", maxsplit=1)[0]
    _, one = await _run(guest, private_image, namespace="none")
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert f"has no credential for registry {host}" in one["error"]

    await _set(guest, private_image, "wrong", password="wrong-password-77")
    job, one = await _run(guest, private_image, namespace="wrong")
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert f"{host} does not accept the credential of namespace 'wrong'" in one["error"]
    lines = await guest.lines(job, one["id"], "system")
    assert not any("retrying in" in line for line in lines)
    assert "wrong-password-77" not in json.dumps([one, lines])


@pytest.mark.promise("private-images")
async def test_a_private_image_is_pulled_and_the_credential_is_nowhere(
    guest: Timeball, private_image: str, engine_client: APIClient
) -> None:
    """Not in database, logs, processes, the container, answers or hooks, while the run goes on and after it."""
    receiver = Receiver()
    await receiver.start()
    try:
        await _set(guest, private_image, "mine")
        repository, tag = private_image.rsplit(":", 1)
        job = await guest.create(
            script("echo here; sleep 1000 & wait"),
            docker_image_repo=repository,
            docker_image_tag=tag,
            namespace="mine",
            stop_grace_seconds=0,
        )
        hook = {"name": "h", "url": receiver.url, "subject_type": "job", "subject": job}
        await guest.post("/v1/hooks", {**hook, "events": ["job:start", "job:cancel"]})
        run = await guest.trigger(job)
        await guest.until_printed(job, run, "here")

        seen = await asyncio.to_thread(_traces, guest, engine_client, run)
        await guest.post(f"/v1/jobs/{job}/execs/{run}/stop")
        await guest.until_ended(job, run)
        await until(lambda: _count(receiver), lambda count: count == 2)
        seen["hooks"] = repr([(one.headers, one.raw) for one in receiver.received])
        for path in (
            *("/v1/execs", "/v1/jobs", "/v1/audit", "/v1/registries?namespace=mine", "/metrics"),
            *(f"/v1/jobs/{job}/execs/{run}", f"/v1/jobs/{job}/execs/{run}/logs"),
        ):
            seen[path] = (await guest.send("GET", path))[1].decode()
        assert all(seen.values()), {name: len(text) for name, text in seen.items()}
        for name, text in seen.items():
            assert PASSWORD not in text, name
            assert PAIR not in text, name
    finally:
        await receiver.stop()


async def _count(receiver: Receiver) -> int:
    return len(receiver.received)


def _traces(timeball: Timeball, client: APIClient, run: str) -> dict[str, str]:
    """What the daemon and its run leave behind, by where it is."""
    [found] = timeball.containers(client)
    seen = {
        "container": json.dumps(client.inspect_container(found["Id"])),
        "image": json.dumps(client.inspect_image(found["ImageID"])),
        "log": timeball.log_file.read_text(),
        "processes": "",
    }
    for file in timeball.data_dir.rglob("*"):
        if file.is_file() and file.stat().st_size:
            seen[str(file)] = file.read_bytes().decode("latin-1")
    assert any(name.endswith("timeball.db-wal") for name in seen), seen.keys()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            seen["processes"] += (process / "cmdline").read_bytes().decode("latin-1")
    seen["environment"] = Path(f"/proc/{timeball.pid}/environ").read_bytes().decode("latin-1")
    assert run in seen["container"]
    return seen


@pytest.mark.promise("private-images")
async def test_another_namespace_does_not_get_the_image_that_is_there(
    guest: Timeball, private_image: str
) -> None:
    """The engine has it by now; it is asked for all the same, and with a credential it is to be had."""
    await _set(guest, private_image, "mine")
    _, one = await _run(guest, private_image, namespace="mine")
    assert one["status"] == "S", one
    _, one = await _run(guest, private_image, namespace="theirs")
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    _, one = await _run(guest, private_image, namespace="theirs", pull_policy="never")
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "has not pulled it itself" in one["error"]
    await _set(guest, private_image, "theirs")
    _, one = await _run(guest, private_image, namespace="theirs")
    assert one["status"] == "S", one
