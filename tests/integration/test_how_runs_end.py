"""Every end has its status, its reason and words that help."""

from __future__ import annotations

import itertools
import re
import socket
from datetime import datetime
from typing import Any

import pytest
from docker.api.client import APIClient

from tests.lab.engine import Registry
from tests.lab.engine_scene import NO_MANIFEST
from tests.lab.timeball import Timeball, is_there, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


def _end(run: dict[str, Any]) -> tuple[str, int | None, str | None]:
    return run["status"], run["exit_code"], run["fail_reason"]


async def test_a_run_that_exits_with_0_has_succeeded(timeball: Timeball, engine_client: APIClient) -> None:
    """Its container is removed, its image's digest kept."""
    _, run = await timeball.run("true")

    assert _end(run) == ("S", 0, None), run["error"]
    assert run["error"] is None
    assert run["image_digest"].startswith("sha256:")
    assert run["started_at"] <= run["ended_at"]

    async def gone() -> bool:
        return not is_there(engine_client, run["id"])

    await until(gone)


async def test_a_run_that_exits_with_3_has_failed_with_that_code(timeball: Timeball) -> None:
    """And says so in words as well."""
    _, run = await timeball.run(script("exit 3"))

    assert _end(run) == ("F", 3, "exit_code")
    assert "exit code 3" in run["error"]


@pytest.mark.promise("out-of-memory")
async def test_a_run_beyond_its_memory_is_told_from_one_that_was_killed(timeball: Timeball) -> None:
    """The reason is oom_killed, and the words name the size."""
    _, run = await timeball.run(
        script("x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; done"), resource_size="XXS"
    )

    assert _end(run) == ("F", 137, "oom_killed")
    assert "64 MiB" in run["error"]


@pytest.mark.promise("out-of-memory")
async def test_a_run_that_somebody_kills_is_not_out_of_memory(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """SIGKILL alone shows the same exit code, and is another reason."""
    job = await timeball.create("sleep 60")
    run = await timeball.trigger(job)
    await timeball.until_status(job, run, "R")
    engine_client.kill(f"timeball-{run}")

    assert _end(await timeball.until_ended(job, run)) == ("F", 137, "exit_code")


@pytest.mark.registry
async def test_a_missing_image_fails_with_the_registrys_own_words(
    timeball: Timeball, registry: Registry
) -> None:
    """They stand in the log and in the error."""
    repository, tag = registry.missing_image.rsplit(":", 1)
    job, run = await timeball.run("true", docker_image_repo=repository, docker_image_tag=tag)

    assert _end(run) == ("F", None, "image_pull_failed")
    system = await timeball.lines(job, run["id"], "system")
    assert system[0] == f"Start pulling image: {registry.missing_image}"
    said = [line for line in system if registry.missing_image in line]
    assert any(re.search(NO_MANIFEST, line) for line in said), system
    assert re.search(NO_MANIFEST, run["error"])
    assert run["started_at"] is None
    assert run["ended_at"] is not None


@pytest.mark.registry
async def test_an_image_that_is_not_there_yet_is_pulled_and_the_log_shows_it(
    timeball: Timeball, registry: Registry, engine_client: APIClient
) -> None:
    """From a real registry; the digest is the registry's."""
    repository, tag = registry.image.rsplit(":", 1)
    if any(registry.image in (found["RepoTags"] or ()) for found in engine_client.images()):
        engine_client.remove_image(registry.image, force=True)  # another test has pulled it
    job, run = await timeball.run("echo here", docker_image_repo=repository, docker_image_tag=tag)

    assert _end(run) == ("S", 0, None), run["error"]
    assert await timeball.lines(job, run["id"]) == ["here"]
    system = await timeball.lines(job, run["id"], "system")
    assert system[0] == f"Start pulling image: {registry.image}"
    assert system[-1] == "Start running!"
    is_podman = any("Podman" in part["Name"] for part in engine_client.version()["Components"])
    assert len(system) > 2 or is_podman  # which tells only of layers
    found = engine_client.inspect_image(registry.image)  # type: ignore[no-untyped-call] # stubs are vague
    digests = found["RepoDigests"]
    assert f"{repository}@{run['image_digest']}" in digests
    engine_client.remove_image(registry.image, force=True)


async def test_a_registry_that_refuses_connections_fails_the_run_with_its_words(timeball: Timeball) -> None:
    """Nobody listens there; the run does not wait for ever."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    job, run = await timeball.run("true", docker_image_repo=f"{address}/nothing", docker_image_tag="1")

    assert _end(run) == ("F", None, "image_pull_failed")
    assert "connection refused" in run["error"]
    assert any("connection refused" in line for line in await timeball.lines(job, run["id"], "system"))


async def test_a_command_that_does_not_exist_fails_to_start(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """With the engine's words, and no container left."""
    job, run = await timeball.run("no-such-program --at all")

    assert _end(run) == ("F", None, "start_failed")
    assert "no-such-program" in run["error"]
    assert any("no-such-program" in line for line in await timeball.lines(job, run["id"], "system"))

    async def gone() -> bool:
        return not is_there(engine_client, run["id"])

    await until(gone)


async def test_a_size_larger_than_the_whole_engine_fails_at_once(
    timeball: Timeball, engine_client: APIClient
) -> None:
    """It would wait for ever otherwise; the words name size and engine."""
    if engine_client.info()["NCPU"] >= 4:
        pytest.skip("the engine's machine has room for the largest size")
    _, run = await timeball.run("true", resource_size="XL")

    assert _end(run) == ("F", None, "no_capacity")
    assert "XL" in run["error"]
    assert "Choose a smaller resource_size" in run["error"]


@pytest.mark.promise("limits")
async def test_a_size_is_the_containers_real_limit(timeball: Timeball, engine_client: APIClient) -> None:
    """Processors, memory without swap, and processes."""
    job = await timeball.create("sleep 60", resource_size="XS", stop_grace_seconds=0)
    run = await timeball.trigger(job)
    await timeball.until_status(job, run, "R")

    host = engine_client.inspect_container(f"timeball-{run}")["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (250_000_000, 128 << 20, 128 << 20)
    assert host["PidsLimit"] == 512
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")
    assert (await timeball.until_ended(job, run))["status"] == "C"


@pytest.mark.parametrize(
    ("backoff", "retries"), [pytest.param(0, 2, id="at-once"), pytest.param(1, 1, id="after-a-second")]
)
async def test_a_run_that_fails_is_tried_again_after_its_back_off(
    timeball: Timeball, backoff: int, retries: int
) -> None:
    """Each attempt is a run of its own with trigger mode R, linked to the first."""
    job = await timeball.create(script("exit 3"), max_retries=retries, retry_backoff_seconds=backoff)
    first = await timeball.trigger(job)
    runs = await timeball.until_all_ended(job, count=1 + retries)

    assert [run["attempt"] for run in runs] == list(range(1, retries + 2))
    assert [run["trigger_mode"] for run in runs] == ["M"] + ["R"] * retries
    assert [run["retry_of"] for run in runs] == [None] + [first] * retries
    assert {_end(run) for run in runs} == {("F", 3, "exit_code")}
    system = await timeball.lines(job, first, "system")
    assert any(runs[1]["id"] in line for line in system)
    pauses = [
        (datetime.fromisoformat(later["started_at"]) - datetime.fromisoformat(earlier["ended_at"]))
        for earlier, later in itertools.pairwise(runs)
    ]
    assert all(pause.total_seconds() >= backoff for pause in pauses), pauses


async def test_a_run_that_was_stopped_is_not_tried_again(timeball: Timeball) -> None:
    """Whoever stops a run wants it stopped."""
    job = await timeball.create("sleep 60", max_retries=3, retry_backoff_seconds=0, stop_grace_seconds=0)
    run = await timeball.trigger(job)
    await timeball.until_status(job, run, "R")
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")

    assert (await timeball.until_ended(job, run))["status"] == "C"
    assert len(await timeball.execs(job)) == 1


async def test_a_retry_that_waits_says_for_what_and_can_be_stopped(timeball: Timeball) -> None:
    """Its back-off is readable; once stopped, nothing follows it."""
    job = await timeball.create(script("exit 3"), max_retries=5, retry_backoff_seconds=300)
    await timeball.until_ended(job, await timeball.trigger(job))
    _, retry = await timeball.execs(job)

    assert retry["status"] == "W"
    assert "back-off" in retry["waiting_for"]
    await timeball.post(f"/v1/jobs/{job}/execs/{retry['id']}/stop")
    assert (await timeball.exec(job, retry["id"]))["status"] == "C"
    assert len(await timeball.execs(job)) == 2
