"""Registries that are ill: what passes is waited out within the run, what lasts ends it at once and says why."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from docker.api.client import APIClient
from docker.errors import ImageNotFound

from tests.integration.conftest import MakeTimeball
from tests.lab.engine import Registry, connect
from tests.lab.private_engine import PrivateEngine
from tests.lab.registry_door import RegistryDoor, push_fresh_image
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.asyncio(loop_scope="session")]

#: Tries again at once, and lets a busy machine have the usual time for a pull that does not get on.
ZEALOUS = "pull_retry_seconds = 0.1\npull_attempts = 3\n"
IMPATIENT = f"{ZEALOUS}pull_stall_seconds = 1\n"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient(
    engine_url: str, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Timeball]:
    """A daemon that waits for no registry for long."""
    async for made in _daemon(tmp_path_factory.mktemp("impatient"), engine_url, busybox_image, IMPATIENT):
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def zealous(
    engine_url: str, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Timeball]:
    """A daemon that asks a registry again at once."""
    async for made in _daemon(tmp_path_factory.mktemp("zealous"), engine_url, busybox_image, ZEALOUS):
        yield made


async def _daemon(folder: Path, engine_url: str, image: str, config: str) -> AsyncIterator[Timeball]:
    made = Timeball(folder / "data", engine_url, image, config=config)
    await made.start()
    yield made
    await made.clear_away()


@pytest_asyncio.fixture(loop_scope="session")
async def door(registry: Registry) -> AsyncIterator[RegistryDoor]:
    """A door to a real registry."""
    async with RegistryDoor(registry.address) as made:
        yield made


@pytest.fixture
def image(door: RegistryDoor, registry: Registry, engine_client: APIClient) -> Iterator[str]:
    """An image behind the door that the engine has nothing of."""
    name = door.image(push_fresh_image(engine_client, registry.address))
    yield name
    with suppress(ImageNotFound):
        engine_client.remove_image(name, force=True)


async def _pull(timeball: Timeball, image: str) -> tuple[dict[str, object], list[str]]:
    """The end of a run of that image, and Timeball's own lines about it."""
    repository, tag = image.rsplit(":", 1)
    job, one = await timeball.run("echo here", docker_image_repo=repository, docker_image_tag=tag)
    return one, await timeball.lines(job, str(one["id"]), "system")


@pytest.mark.promise("pulls")
async def test_a_registry_that_is_ill_for_a_moment_is_asked_again(
    zealous: Timeball, door: RegistryDoor, image: str
) -> None:
    """503 twice, for one attempt or two (some engines ask twice for themselves); each new try has its line."""
    door.broken = 2
    one, lines = await _pull(zealous, image)
    assert one["status"] == "S", (one, lines)
    tried_again = [line for line in lines if "retrying in" in line]
    assert tried_again[0].endswith("; retrying in 0.1 s (attempt 2 of 3)")
    assert "503" in tried_again[0]


@pytest.mark.promise("pulls")
async def test_a_registry_that_stays_away_is_given_up(
    zealous: Timeball, door: RegistryDoor, image: str
) -> None:
    """Connections are refused; the reason says so, and how often it was tried."""
    await door.close()
    one, lines = await _pull(zealous, image)
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "connection refused" in str(one["error"])
    assert "(3 attempts)" in str(one["error"])
    assert sum("retrying in" in line for line in lines) == 2


@pytest.mark.promise("pulls")
async def test_a_registry_that_denies_is_asked_once(
    zealous: Timeball, door: RegistryDoor, image: str
) -> None:
    """Asking again would change nothing."""
    door.denying = True
    one, lines = await _pull(zealous, image)
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "denied" in str(one["error"]) or "403 Forbidden" in str(one["error"])
    assert not any("retrying in" in line for line in lines)


@pytest.mark.promise("pulls")
async def test_an_image_that_does_not_exist_is_asked_for_once(zealous: Timeball, registry: Registry) -> None:
    """The registry knows that for certain."""
    one, lines = await _pull(zealous, registry.missing_image)
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "not found" in str(one["error"])
    assert not any("retrying in" in line for line in lines)


@pytest.mark.promise("pulls")
async def test_a_pull_that_stalls_is_broken_off_and_begun_anew(
    make_timeball: MakeTimeball, door: RegistryDoor, image: str
) -> None:
    """The second time it comes through, or later where a busy machine makes it stall; the metric counts the first."""
    timeball = await make_timeball(
        config="pull_stall_seconds = 5\npull_retry_seconds = 0.1\npull_attempts = 10\n"
    )
    door.stalls = 1
    one, lines = await _pull(timeball, image)
    assert one["status"] == "S", (one, lines)
    assert any("no progress for 5 s; retrying in" in line for line in lines)
    _, raw = await timeball.send("GET", "/metrics")
    counted = re.search(rb'timeball_pulls_stalled_total{region="LOCAL"} (\d+)', raw)
    assert counted is not None
    assert int(counted[1]) >= 1


@pytest.mark.promise("pulls")
async def test_a_pull_that_goes_on_stalling_fails_the_run(
    impatient: Timeball, door: RegistryDoor, image: str
) -> None:
    """After a bounded number of tries."""
    door.stalls = 100
    one, _ = await _pull(impatient, image)
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "no progress for 1 s (3 attempts)" in str(one["error"])


@pytest.mark.promise("pulls")
async def test_a_pull_takes_no_longer_than_it_may_in_all(
    make_timeball: MakeTimeball, door: RegistryDoor, image: str
) -> None:
    """However often it may be tried."""
    timeball = await make_timeball(config="pull_stall_seconds = 60\npull_total_seconds = 1\n")
    door.stalls = 100
    one, _ = await _pull(timeball, image)
    assert (one["status"], one["fail_reason"]) == ("F", "image_pull_failed")
    assert "within pull_total_seconds = 1" in str(one["error"])


@pytest.mark.promise("pulls")
async def test_a_run_whose_pull_stalls_can_be_stopped(
    make_timeball: MakeTimeball, door: RegistryDoor, image: str
) -> None:
    """At once, however patient the pull is."""
    timeball = await make_timeball(config="pull_stall_seconds = 60\n")
    door.stalls = 100
    repository, tag = image.rsplit(":", 1)
    job = await timeball.create("echo here", docker_image_repo=repository, docker_image_tag=tag)
    run = await timeball.trigger(job)
    await until(lambda: _is_so(door.stalls < 100))
    await timeball.post(f"/v1/jobs/{job}/execs/{run}/stop")
    assert (await timeball.until_ended(job, run))["status"] == "C"


async def _is_so(what: bool) -> bool:
    return what


@pytest.mark.promise("pulls")
async def test_an_engine_whose_disk_is_full_says_so_on_the_run(
    small_engine: PrivateEngine, make_timeball: MakeTimeball
) -> None:
    """The container's own writes fail as they would anywhere; runs that cannot be made fail with the reason."""
    timeball = await make_timeball(engine=small_engine.url)
    job, one = await timeball.run(
        script("dd if=/dev/zero of=/file bs=65536 count=2000 2>&1 || exit 7"), resource_size="S"
    )
    assert (one["status"], one["exit_code"]) == ("F", 7)
    assert any("No space left on device" in line for line in await timeball.lines(job, one["id"]))

    with connect(small_engine.url) as client:

        async def none_left() -> bool:
            return not timeball.containers(client)

        await until(none_left)  # its room is given back with it

    small_engine.fill_disk()

    _, one = await timeball.run(script("echo up"))
    assert one["fail_reason"] == "start_failed", one
    assert "the engine's disk is full" in one["error"]

    small_engine.free_disk()

    _, one = await timeball.run(script("echo up"))
    assert one["status"] == "S"
