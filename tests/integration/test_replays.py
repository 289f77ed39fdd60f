"""Replays on a real engine: the same image, whatever its name stands for by now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from docker.api.client import APIClient
from docker.errors import ImageNotFound

from tests.lab.engine import Registry, busybox_tar, has_image
from tests.lab.timeball import Timeball

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]
NAME: Any = {"docker_image_repo": "timeball-test/replayed", "docker_image_tag": "1"}
IMAGE = "timeball-test/replayed:1"


def import_image(client: APIClient, words: str) -> None:
    """Give the name to a new image, whose own command says so."""
    client.import_image_from_data(
        busybox_tar(), repository=NAME["docker_image_repo"], tag="1", changes=[f'CMD ["echo", "{words}"]']
    )


@pytest.fixture
def local_image(engine_client: APIClient, busybox_image: str) -> Iterator[str]:
    """An image that came from no registry; its id."""
    assert busybox_image
    import_image(engine_client, "first")
    found: str = engine_client.inspect_image(IMAGE)["Id"]  # type: ignore[no-untyped-call] # stubs are vague
    yield found
    engine_client.remove_image(IMAGE, force=True)


async def replay(timeball: Timeball, job: int, one: str) -> dict[str, Any]:
    """Do a run again; the new one at its end."""
    made = await timeball.post(f"/v1/jobs/{job}/execs/{one}/replay")
    return await timeball.until_ended(job, made["id"])


@pytest.mark.promise("same-image")
async def test_an_image_of_no_registry_is_run_again_by_its_id(
    timeball: Timeball, engine_client: APIClient, local_image: str
) -> None:
    """Also when its name stands for another; once the engine has it no more, that is said."""
    job, first = await timeball.run(None, **NAME)
    assert first["image_digest"] == local_image
    import_image(engine_client, "second")
    # With the containerd store, an engine before 28 deletes an image whose last name is given to another one.
    if has_image(engine_client, local_image):
        again = await replay(timeball, job, first["id"])
        assert (again["status"], again["image_digest"]) == ("S", local_image), again["error"]
        assert await timeball.lines(job, again["id"]) == ["first"]
        engine_client.remove_image(local_image, force=True)  # a container of it may not be removed yet
    gone = await replay(timeball, job, first["id"])
    assert gone["fail_reason"] == "image_pull_failed"
    assert "no longer on the engine" in gone["error"]


@pytest.mark.promise("same-image")
@pytest.mark.registry
async def test_an_image_of_a_registry_is_fetched_again_by_its_digest_or_known_by_another_name(
    timeball: Timeball, registry: Registry, engine_client: APIClient
) -> None:
    """A name that was only given to it on the engine has no digest to ask for; its id stands for it."""
    repository, tag = registry.image.rsplit(":", 1)
    job, first = await timeball.run(
        "true", docker_image_repo=repository, docker_image_tag=tag, pin_digest=True
    )
    assert first["status"] == "S", first["error"]
    assert (await timeball.get(f"/v1/jobs/{job}"))["docker_image_digest"] == first["image_digest"]
    engine_client.tag(registry.image, NAME["docker_image_repo"], "1")
    renamed, other = await timeball.run("true", **NAME)
    is_content_addressed = first["image_digest"] == engine_client.inspect_image(registry.image)["Id"]  # type: ignore[no-untyped-call]
    assert (other["image_digest"] == first["image_digest"]) is is_content_addressed
    assert (await replay(timeball, renamed, other["id"]))["status"] == "S"
    for name in (IMAGE, registry.image):
        engine_client.remove_image(name, force=True)
    again = await replay(timeball, job, first["id"])
    assert (again["status"], again["image_digest"]) == ("S", first["image_digest"]), again["error"]
    system = await timeball.lines(job, again["id"], "system")
    assert any(first["image_digest"] in line for line in system), system
    with suppress(ImageNotFound):  # with the containerd store it may have no name any more
        engine_client.remove_image(f"{repository}@{first['image_digest']}", force=True)
