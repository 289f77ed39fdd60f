"""Secret files on a real engine: never on its disk, not in what it tells, and nothing of them left over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from docker.api.client import APIClient

from scheduler.domain.secret_files import SecretFile
from scheduler.domain.stream import Stream
from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import EngineTimeLimits
from scheduler.engine.docker_secret_files import LABEL_HOLDER
from scheduler.engine.errors import LaunchError
from scheduler.engine.types import LABEL_INSTALLATION, LaunchSpec
from tests.lab.engine_scene import NO_SUCH_COMMAND, Scene, all_of, text_of
from tests.lab.proxy import EngineProxy

pytestmark = pytest.mark.engine

VALUE = "hunter2-and-more"
FILES = (SecretFile("/run/secrets/db", VALUE.encode(), (1000, 0)),)


@pytest.fixture
async def far_scene(engine_url: str, busybox_image: str, installation: str) -> AsyncIterator[Scene]:
    """The real engine by a URL, as if it were another machine's: nothing is shared with it but the connection."""
    async with EngineProxy(engine_url.removeprefix("unix://")) as proxy:
        made = Scene(DockerEngine(proxy.url, installation=installation), busybox_image)
        async with asyncio.timeout(120):
            yield made
            await made.engine.close()


def _spec(scene: Scene, *command: str) -> LaunchSpec:
    return replace(scene.spec(command), secret_directories=("/run/secrets",), user="1000")


@pytest.fixture
def holders(engine_client: APIClient, installation: str) -> _Holders:
    """The holders of this installation."""
    return _Holders(engine_client, installation)


class _Holders:
    def __init__(self, client: APIClient, installation: str) -> None:
        self._client = client
        self._labels = [LABEL_HOLDER, f"{LABEL_INSTALLATION}={installation}"]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._client.containers(all=True, filters={"label": self._labels}))


@pytest.mark.promise("secrets")
async def test_a_far_engine_keeps_the_value_in_memory_alone(
    far_scene: Scene, engine_client: APIClient, holders: _Holders
) -> None:
    """It is in no description of the container, its volume is a tmpfs, and both go with the container."""
    engine = far_scene.engine
    handle = await engine.create(
        _spec(far_scene, "sh", "-c", "ls -ln /run/secrets; cat /run/secrets/db; sleep 9999")
    )
    async with await engine.attach(handle) as stream:
        await engine.start(handle, FILES)
        seen = b""
        async for frames in stream:
            seen += text_of(frames, Stream.STDOUT)
            if VALUE.encode() in seen:
                break
    assert b"-r--------    1 1000" in seen
    assert holders.count == 0
    found = engine_client.inspect_container(handle.engine_id)
    assert VALUE not in json.dumps(found)
    [mount] = found["Mounts"]
    volume = engine_client.inspect_volume(mount["Name"])
    assert volume["Options"]["type"] == "tmpfs"
    await engine.remove(handle)
    assert mount["Name"] not in json.dumps(engine_client.volumes())


@pytest.mark.promise("secrets")
async def test_a_start_that_fails_leaves_no_holder(far_scene: Scene, holders: _Holders) -> None:
    """Nor a volume, once the container is removed."""
    engine = far_scene.engine
    handle = await engine.create(_spec(far_scene, *NO_SUCH_COMMAND))
    with pytest.raises(LaunchError, match="not found"):
        await engine.start(handle, FILES)
    assert holders.count == 0
    await engine.remove(handle)


async def test_files_that_the_engine_does_not_take_fail_the_launch(
    engine_url: str, far_scene: Scene, holders: _Holders, installation: str
) -> None:
    """More than there is room for: the container is not started with a part of them."""
    engine = DockerEngine(engine_url, installation=installation, limits=EngineTimeLimits(control=8))
    handle = await engine.create(_spec(far_scene, "true"))
    with pytest.raises(LaunchError, match="no space left"):
        await engine.start(handle, (SecretFile("/run/secrets/db", b"x" * (5 << 20)),))
    assert (await engine.inspect(handle)).started_at is None
    assert holders.count == 0
    await engine.remove(handle)
    await engine.close()


@pytest.mark.promise("secrets")
async def test_a_holder_that_a_dead_daemon_left_is_replaced_or_removed(
    far_scene: Scene, engine_client: APIClient, holders: _Holders, installation: str
) -> None:
    """By the next start; with the container; or, where that is gone, with what is cleared away."""
    engine = far_scene.engine

    def leave(spec: LaunchSpec, container: str) -> str:
        [mount] = engine_client.inspect_container(container)["Mounts"]
        config = engine_client.create_host_config(binds=[f"{mount['Name']}:/timeball-secrets"])
        labels = {LABEL_INSTALLATION: installation, LABEL_HOLDER: spec.exec_id}
        name = f"timeball-{spec.exec_id}-holder-0"
        engine_client.create_container(spec.image, ["true"], name=name, labels=labels, host_config=config)
        return str(mount["Name"])

    spec = _spec(far_scene, "cat", "/run/secrets/db")
    handle = await engine.create(spec)
    leave(spec, handle.engine_id)
    async with await engine.attach(handle) as stream:
        await engine.start(handle, FILES)
        assert text_of(await all_of(stream), Stream.STDOUT).decode() == VALUE
    assert holders.count == 0
    volume = leave(spec, handle.engine_id)
    await engine.remove(handle)
    assert holders.count == 0
    assert volume not in json.dumps(engine_client.volumes())

    spec = _spec(far_scene, "true")
    handle = await engine.create(spec)
    volume = leave(spec, handle.engine_id)
    assert [run.handle for run in await engine.list_ours() if run.exec_id == spec.exec_id] == [handle]
    engine_client.remove_container(handle.engine_id, force=True)
    [lonely] = [run for run in await engine.list_ours() if run.exec_id == spec.exec_id]
    await engine.remove(lonely.handle)
    assert holders.count == 0
    assert volume not in json.dumps(engine_client.volumes())
