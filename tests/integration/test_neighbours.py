"""What is not ours stays as it is; what is ours and belongs to nothing any more goes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import suppress

import docker.errors
import pytest
from docker.api.client import APIClient

from scheduler.engine.types import LABEL_EXEC, LABEL_INSTALLATION, LABEL_JOB
from tests.lab.timeball import PATIENCE, Timeball, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


class Containers:
    """Makes containers behind Timeball's back."""

    def __init__(self, client: APIClient, image: str) -> None:
        self._client = client
        self._image = image
        self.made: list[str] = []

    def make(self, labels: dict[str, str], *, name: str | None = None) -> str:
        """A container that runs, and its id."""
        made = self._client.create_container(self._image, ["sleep", "600"], labels=labels, name=name)
        engine_id = str(made["Id"])
        self.made.append(engine_id)
        self._client.start(engine_id)
        return engine_id

    def runs(self, engine_id: str) -> bool:
        """Whether it is there and runs."""
        try:
            return bool(self._client.inspect_container(engine_id)["State"]["Running"])
        except docker.errors.NotFound:
            return False


@pytest.fixture
def containers(engine_client: APIClient, busybox_image: str) -> Iterator[Containers]:
    """Foreign containers, removed after the test."""
    made = Containers(engine_client, busybox_image)
    yield made
    for engine_id in made.made:
        with suppress(docker.errors.NotFound):
            engine_client.remove_container(engine_id, force=True)


async def test_a_second_daemon_on_a_data_directory_is_refused(own_timeball: Timeball) -> None:
    """With exit status 2 and words that help; the first is not disturbed."""
    second = own_timeball.spawn()
    status = await asyncio.to_thread(second.wait, PATIENCE)
    assert second.stdout is not None
    second.stdout.close()

    assert status == 2
    words = own_timeball.log_file.read_text().splitlines()[-1]
    assert str(own_timeball.data_dir) in words
    assert "another daemon is using it" in words
    assert "--data-dir" in words
    assert (await own_timeball.run("true"))[1]["status"] == "S"


@pytest.mark.promise("own-only")
async def test_foreign_containers_are_left_alone_and_orphans_of_ours_removed(
    own_timeball: Timeball, containers: Containers
) -> None:
    """At every start: other installations' runs, other people's containers, and what belongs to no run."""
    timeball = own_timeball
    ours = timeball.installation
    await timeball.terminate()
    foreign = [
        containers.make({}),
        containers.make({}, name=f"timeball-{uuid.uuid4()}"),
        containers.make(
            {LABEL_INSTALLATION: uuid.uuid4().hex, LABEL_EXEC: str(uuid.uuid4()), LABEL_JOB: "1"}
        ),
    ]
    orphan = containers.make({LABEL_INSTALLATION: ours, LABEL_EXEC: str(uuid.uuid4()), LABEL_JOB: "1"})
    await timeball.start()

    async def orphan_gone() -> bool:
        return not containers.runs(orphan)

    await until(orphan_gone)
    assert (await timeball.run("true"))[1]["status"] == "S"
    assert [containers.runs(engine_id) for engine_id in foreign] == [True, True, True]


async def test_a_container_of_a_run_that_has_ended_is_removed_at_the_start(
    own_timeball: Timeball, containers: Containers
) -> None:
    """A daemon that died between the two had recorded the end, and not removed the container."""
    timeball = own_timeball
    _, run = await timeball.run("true")
    await timeball.kill()
    left = containers.make(
        {LABEL_INSTALLATION: timeball.installation, LABEL_EXEC: run["id"], LABEL_JOB: "1"},
        name=f"timeball-{run['id']}",
    )
    await timeball.start()

    async def gone() -> bool:
        return not containers.runs(left)

    await until(gone)
