"""An engine says that it was not restarted since it created a container, and never says so falsely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from docker.api.client import APIClient

from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_restarts import LABEL_ENGINE_START
from tests.lab.engine import connect
from tests.lab.engine_scene import EXITS_3, NEVER_STOPS, Scene, is_connected
from tests.lab.private_engine import PrivateEngine, why_no_private_engine

pytestmark = pytest.mark.engine

MakeEngine = Callable[..., PrivateEngine]


@pytest.fixture
def make_engine(engine_client: APIClient, busybox_image: str) -> Iterator[MakeEngine]:
    """Makes running engines of the tests' own with further options of dockerd's."""
    if reason := why_no_private_engine():
        pytest.skip(reason)
    with ExitStack() as made:

        def make(*options: str) -> PrivateEngine:
            engine = PrivateEngine(*options)
            engine.start()
            made.callback(engine.destroy)
            engine.load(engine_client, busybox_image)
            return engine

        yield make


def _start_of(url: str, engine_id: str) -> str:
    with connect(url) as client:
        return str(client.inspect_container(engine_id)["Config"]["Labels"][LABEL_ENGINE_START])


def _bridge_of(url: str) -> str:
    with connect(url) as client:
        return str(client.inspect_network("bridge")["Id"])


async def test_an_engine_that_goes_on_says_so_however_busy_it_is(
    make_engine: MakeEngine, busybox_image: str
) -> None:
    """Until it is killed or stopped; then it says so of what it creates from then on."""
    private = make_engine()
    engine = DockerEngine(private.url, installation="restarts")
    another = DockerEngine(private.url, installation="restarts")  # as after a restart of the daemon
    scene = Scene(engine, busybox_image)
    for end in (private.kill, private.stop):
        handle, noise = [await engine.create(scene.spec(EXITS_3)) for _ in range(2)]
        await asyncio.to_thread(private.forget_events, noise.engine_id)
        assert _start_of(private.url, handle.engine_id)
        assert await engine.has_created(handle)
        assert await another.has_created(handle)
        await asyncio.to_thread(end)
        await asyncio.to_thread(private.start)
        await is_connected(engine)
        await is_connected(another)
        assert not await engine.has_created(handle)
        assert not await another.has_created(handle)
    for each in (engine, another):
        await each.close()


async def test_an_engine_that_keeps_its_network_over_a_restart_does_not_say_that_it_was_not_restarted(
    make_engine: MakeEngine, busybox_image: str
) -> None:
    """With live-restore, while a container runs: its events show it as long as it remembers them."""
    private = make_engine("--live-restore")
    engine = DockerEngine(private.url, installation="restarts")
    scene = Scene(engine, busybox_image)
    async with scene.started(NEVER_STOPS) as (going, _):
        handle = await engine.create(scene.spec(EXITS_3))
        assert _start_of(private.url, handle.engine_id) == ""
        assert await engine.has_created(handle)
        before = _bridge_of(private.url)
        await asyncio.to_thread(private.kill)
        await asyncio.to_thread(private.start)
        await is_connected(engine)
        assert _bridge_of(private.url) == before
        assert not await engine.has_created(handle)
        handle = await engine.create(scene.spec(EXITS_3))
        await asyncio.to_thread(private.forget_events, going.engine_id)
        assert not await engine.has_created(handle)
    await engine.close()


async def test_an_engine_without_its_network_is_believed_by_its_events(
    make_engine: MakeEngine, busybox_image: str
) -> None:
    """Only as long as it remembers them."""
    private = make_engine("--bridge", "none")
    engine = DockerEngine(private.url, installation="restarts")
    scene = Scene(engine, busybox_image)
    handle, noise = [await engine.create(scene.spec(EXITS_3)) for _ in range(2)]
    assert _start_of(private.url, handle.engine_id) == ""
    assert await engine.has_created(handle)
    await asyncio.to_thread(private.forget_events, noise.engine_id)
    assert not await engine.has_created(handle)
    await engine.close()
