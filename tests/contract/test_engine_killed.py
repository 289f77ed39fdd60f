"""What is seen of a Docker Engine that is killed, frozen and restarted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from scheduler.domain.stream import Stream
from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import EngineTimeLimits
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import EventKind, RunState
from tests.lab.engine_scene import EXITS_3, NEVER_STOPS, Scene, all_of, event_of, is_connected, text_of
from tests.lab.private_engine import PrivateEngine

pytestmark = pytest.mark.engine


async def test_a_killed_engine_is_noticed_and_its_return_too(
    private_engine: PrivateEngine, busybox_image: str
) -> None:
    """Events break, calls fail, and afterwards what ran is found with its logs."""
    engine = DockerEngine(private_engine.url, installation="killed")
    scene = Scene(engine, busybox_image)
    handle = await engine.create(scene.spec(NEVER_STOPS))
    events = await engine.events()
    stream = await engine.attach(handle)
    await engine.start(handle)
    assert await anext(stream)
    await asyncio.to_thread(private_engine.kill)
    with pytest.raises(EngineUnavailableError):
        await event_of(events, EventKind.DESTROY, "which never comes")
    with suppress(EngineUnavailableError):  # a break that is noticed is as good as a silent end
        assert await all_of(stream) == []
    with pytest.raises(EngineUnavailableError):
        await engine.inspect(handle)
    await asyncio.to_thread(private_engine.start)
    (found,) = await engine.list_ours()
    assert found.handle == handle
    status = await engine.inspect(handle)
    # Without live-restore an engine that comes back ends what ran without it.
    assert status.state is RunState.ENDED
    assert status.exit_code != 0
    assert status.oom_killed is False
    async with await engine.logs(handle, follow=False) as kept:
        assert text_of(await all_of(kept), Stream.STDOUT) == b"ready\n"
    _, status, second = await scene.run(scene.spec(EXITS_3))
    assert status.exit_code == 3
    for each in (handle, second):
        await engine.remove(each)
    await engine.close()


async def test_an_engine_that_was_killed_before_it_noted_a_start_shows_no_trace_of_it_but_its_output(
    private_engine: PrivateEngine, busybox_image: str
) -> None:
    """It takes the container for one that never ran, which is why nobody may ask it to start it again."""
    engine = DockerEngine(private_engine.url, installation="forgetful")
    scene = Scene(engine, busybox_image)
    handle = await engine.create(scene.spec(("sh", "-c", "echo here; sleep 20")))
    async with await engine.attach(handle) as stream:
        await engine.start(handle)
        assert await anext(stream)
    await asyncio.to_thread(private_engine.kill)
    private_engine.forget_start(handle.engine_id)
    await asyncio.to_thread(private_engine.start)

    status = await engine.inspect(handle)
    assert (status.state, status.start_failed) == (RunState.CREATED, False)
    async with await engine.logs(handle, follow=False) as kept:
        assert text_of(await all_of(kept), Stream.STDOUT) == b"here\n"
    await engine.remove(handle)
    await engine.close()


async def test_a_frozen_engine_is_given_up_in_time_and_used_again(
    private_engine: PrivateEngine, busybox_image: str
) -> None:
    """A stopped process accepts connections and never answers; when it goes on, so does everything."""
    engine = DockerEngine(
        private_engine.url, installation="frozen", limits=EngineTimeLimits(control=1, connect=1)
    )
    patient = DockerEngine(private_engine.url, installation="frozen")
    scene = Scene(patient, busybox_image)
    await is_connected(engine)
    async with scene.started(NEVER_STOPS) as (handle, stream):
        assert await anext(stream)
        private_engine.freeze()
        began = time.monotonic()
        calls = (
            engine.ping(),
            engine.inspect(handle),
            engine.list_ours(),
            engine.events(),
            engine.stop(handle, 0),
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, EngineUnavailableError) for result in results), results
        assert time.monotonic() - began < EngineTimeLimits().control
        private_engine.thaw()
        await is_connected(engine)
        await patient.stop(handle, 0)
        assert (await patient.inspect(handle)).state is RunState.ENDED
    await engine.close()
    await patient.close()
