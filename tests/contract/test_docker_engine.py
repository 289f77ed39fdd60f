"""What only a Docker Engine has: its containers' settings, foreign containers, addresses, ways to fail."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from docker.api.client import APIClient

from scheduler.domain.errors import SettingsError
from scheduler.domain.job import Mount, PullPolicy
from scheduler.domain.stream import Stream
from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import EngineTimeLimits
from scheduler.engine.docker_restarts import LABEL_ENGINE_START
from scheduler.engine.errors import EngineUnavailableError, ImagePullError, LaunchError
from scheduler.engine.profile import Product
from scheduler.engine.types import (
    LABEL_EXEC,
    LABEL_INSTALLATION,
    LABEL_JOB,
    EventKind,
    RunState,
    container_name,
)
from tests.lab.engine_scene import (
    EXITS_0,
    EXITS_3,
    NEVER_STOPS,
    Scene,
    all_of,
    event_of,
    is_connected,
    text_of,
)
from tests.lab.proxy import EngineProxy

QUICKLY = EngineTimeLimits(control=1.5, connect=1.0, pull_idle=1.5)


@pytest.fixture
async def scene(engine_url: str, busybox_image: str, installation: str) -> AsyncIterator[Scene]:
    """The real engine, spoken to over its own address."""
    made = Scene(DockerEngine(engine_url, installation=installation), busybox_image)
    async with asyncio.timeout(120):
        yield made
        await made.engine.close()


@pytest.fixture
async def proxy(engine_url: str) -> AsyncIterator[EngineProxy]:
    """A TCP door to the real engine that can be frozen and slammed."""
    if not engine_url.startswith("unix://"):
        pytest.skip("the engine of DOCKER_HOST has no unix socket to pass on to")
    async with EngineProxy(engine_url.removeprefix("unix://")) as made:
        yield made


@pytest.fixture
async def far_scene(proxy: EngineProxy, busybox_image: str, installation: str) -> AsyncIterator[Scene]:
    """The real engine, spoken to over TCP."""
    made = Scene(DockerEngine(proxy.url, installation=installation), busybox_image)
    async with asyncio.timeout(120):
        yield made
        await made.engine.close()


@pytest.mark.promise("limits")
@pytest.mark.engine
async def test_a_container_has_the_limits_labels_and_settings_of_its_spec(
    scene: Scene, engine_client: APIClient, installation: str
) -> None:
    """Looked at through the engine itself, and from within."""
    spec = scene.spec(
        ("sh", "-c", 'echo "$GREETING"'),
        environment={"GREETING": "你好 = x"},
        cpus=0.15,
        memory_bytes=64 << 20,
    )
    frames, _, handle = await scene.run(spec)
    assert text_of(frames, Stream.STDOUT).decode() == "你好 = x\n"
    found = engine_client.inspect_container(handle.engine_id)
    host = found["HostConfig"]
    assert found["Name"] == f"/timeball-{spec.exec_id}"
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (
        150_000_000,
        64 << 20,
        64 << 20,
        64,
    )
    profile = await scene.engine.profile()
    # Podman calls its k8s-file by the name that Docker's clients know.
    shown = {"k8s-file": "json-file"}.get(str(profile.log_driver), profile.log_driver)
    assert host["LogConfig"]["Type"] == shown
    assert host["SecurityOpt"] == ["no-new-privileges"]
    # Podman lists what ALL stands for.
    assert host["CapDrop"] == ["ALL"] or profile.product is Product.PODMAN
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert host["PidMode"] in ("", "private")
    assert host["UsernsMode"] == ""
    assert not host["Binds"]
    assert not host["Devices"]
    assert host["IpcMode"] in ("private", "shareable")
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert not host.get("Init")
    assert not found["Config"]["Tty"]
    assert not found["Config"]["OpenStdin"]
    labels = found["Config"]["Labels"]
    # Podman does not tell whether it was restarted.
    assert bool(labels.pop(LABEL_ENGINE_START)) is (profile.product is Product.DOCKER)
    assert labels == {
        "colour": "green",
        LABEL_EXEC: spec.exec_id,
        LABEL_JOB: "7",
        LABEL_INSTALLATION: installation,
    }
    await scene.engine.remove(handle)


@pytest.mark.promise("created-once")
@pytest.mark.engine
async def test_a_container_that_somebody_renamed_is_found_all_the_same(
    scene: Scene, engine_client: APIClient
) -> None:
    """Else its run would be taken for one that never began, and be started a second time."""
    spec = scene.spec(EXITS_3)
    handle = await scene.engine.create(spec)
    engine_client.rename(handle.engine_id, f"renamed-{spec.exec_id}")
    found = await scene.engine.find(spec.exec_id)
    assert found is not None
    assert found.engine_id == handle.engine_id
    await scene.engine.remove(found)
    assert await scene.engine.find(spec.exec_id) is None


@pytest.mark.promise("limits")
@pytest.mark.engine
async def test_a_container_may_do_what_its_spec_says_and_nothing_more(scene: Scene) -> None:
    """Seen from within, by the kernel's own account: powers, limits, who it is, what it can write to."""
    script = (
        "grep -E '^(CapEff|CapBnd|NoNewPrivs|Uid)' /proc/self/status; ulimit -n; "
        "touch /bin/x 2>/dev/null && echo root is written to; touch /tmp/x && echo tmp is written to; "
        "mount -t tmpfs none /mnt 2>/dev/null && echo mounted; "
        "ls /sys/class/net; exit 0"
    )
    plain = scene.spec(("sh", "-c", script))
    asked = replace(
        plain,
        exec_id=str(uuid.uuid4()),
        capabilities=("CHOWN", "NET_BIND_SERVICE"),
        nofile_limit=4321,
        read_only_root=True,
        network="none",
    )
    other = replace(asked, exec_id=str(uuid.uuid4()), user="1000:1000", no_new_privileges=False)
    said = []
    for spec in (plain, asked, other):
        frames, _, handle = await scene.run(spec)
        said.append(text_of(frames, Stream.STDOUT).decode().split())
        await scene.engine.remove(handle)
    first, second, third = (dict(pairwise(words)) for words in said)
    assert (first["CapEff:"], first["CapBnd:"], first["NoNewPrivs:"]) == ("0" * 16, "0" * 16, "1")
    mask = f"{1 << 0 | 1 << 10:016x}"
    assert (second["CapEff:"], second["CapBnd:"], second["NoNewPrivs:"]) == (mask, mask, "1")
    assert (third["CapEff:"], third["NoNewPrivs:"], third["Uid:"]) == ("0" * 16, "0", "1000")
    assert "4321" in said[1]
    assert "eth0" in said[0]
    assert "eth0" not in said[1]
    texts = [" ".join(words) for words in said]
    assert "root is written to" in texts[0]
    assert all("root is written to" not in text for text in texts[1:]), texts
    assert "tmp is written to" in texts[1]  # whether others may is the mode of the /tmp in their image
    assert all("mounted" not in text for text in texts)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that everybody may use, with a note in it."""
    (tmp_path / "note").write_text("from the machine")
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.mark.promise("limits")
@pytest.mark.engine
async def test_a_mount_is_seen_and_is_read_only_where_that_is_asked(scene: Scene, directory: Path) -> None:
    """The container sees the directory itself."""
    spec = replace(
        scene.spec(("sh", "-c", "cat /data/note; touch /data/no 2>/dev/null; touch /out/yes; exit 0")),
        mounts=(Mount(str(directory), "/data"), Mount(str(directory), "/out", read_only=False)),
    )
    frames, _, handle = await scene.run(spec)
    await scene.engine.remove(handle)
    assert text_of(frames, Stream.STDOUT) == b"from the machine"
    assert set(os.listdir(directory)) == {"note", "yes"}  # noqa: PTH208 - no blocking matters here


@pytest.mark.engine
async def test_a_mount_whose_source_does_not_exist_is_refused(scene: Scene, directory: Path) -> None:
    """It is not made. Podman cannot be kept from making it, which its warning says (see judging.py)."""
    if (await scene.engine.profile()).product is Product.PODMAN:
        pytest.xfail("Podman makes directories that are mounted and do not exist")
    spec = replace(scene.spec(EXITS_0), mounts=(Mount(str(directory / "missing"), "/x"),))
    with pytest.raises(LaunchError, match="does not exist"):
        await scene.engine.create(spec)
    assert set(os.listdir(directory)) == {"note"}  # noqa: PTH208 - no blocking matters here


@pytest.mark.promise("own-only")
@pytest.mark.engine
async def test_foreign_containers_and_those_of_other_installations_are_not_ours(
    scene: Scene, engine_client: APIClient, engine_url: str
) -> None:
    """They are neither listed nor found nor heard of, and a name they hold is not taken from them."""
    other = DockerEngine(engine_url, installation=f"other-{uuid.uuid4().hex[:8]}")
    theirs, foreign = scene.spec(EXITS_0), scene.spec(EXITS_0)
    foreign_id = engine_client.create_container(scene.image, ["true"], name=container_name(foreign.exec_id))[
        "Id"
    ]
    their_handle = await other.create(theirs)
    try:
        async with await scene.engine.events() as events:
            await other.start(their_handle)
            engine_client.start(foreign_id)
            ours = scene.spec(EXITS_0)
            our_handle = await scene.engine.create(ours)
            await scene.engine.start(our_handle)
            async for event in events:
                assert event.exec_id not in (theirs.exec_id, foreign.exec_id)
                if event.kind is EventKind.DIE and event.exec_id == ours.exec_id:
                    break
        listed = {run.exec_id for run in await scene.engine.list_ours()}
        assert ours.exec_id in listed
        assert not {theirs.exec_id, foreign.exec_id} & listed
        for spec in (theirs, foreign):
            assert await scene.engine.find(spec.exec_id) is None
            with pytest.raises(LaunchError, match="already in use"):
                await scene.engine.create(spec)
        await scene.engine.remove(our_handle)
    finally:
        await other.remove(their_handle)
        await other.close()
        engine_client.remove_container(foreign_id, force=True)


@pytest.mark.promise("exit-codes")
@pytest.mark.engine
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("/etc",), "permission denied|is a directory"),
        (("/no/such/path",), "[Nn]o such file or directory"),
    ],
)
async def test_what_cannot_be_run_fails_at_the_start(
    scene: Scene, command: tuple[str, ...], words: str
) -> None:
    """Whatever status the engine gives it, it is a launch that failed."""
    handle = await scene.engine.create(scene.spec(command))
    with pytest.raises(LaunchError, match=words):
        await scene.engine.start(handle)
    await scene.engine.remove(handle)


@pytest.mark.promise("limits")
@pytest.mark.engine
async def test_too_little_memory_is_refused_with_a_reason(scene: Scene) -> None:
    """The engine's own minimum stands in the error."""
    with pytest.raises(LaunchError, match="Minimum memory limit"):
        await scene.engine.create(scene.spec(EXITS_0, memory_bytes=1024))


@pytest.mark.engine
@pytest.mark.parametrize("image", ["UPPER/case:1", "a b", "x:y:z", "timeball-test/busybox:" + "t" * 300])
async def test_a_name_that_is_no_images_name_is_a_failed_pull(scene: Scene, image: str) -> None:
    """The engine's words about it come through; it is not taken for trouble with the engine."""
    with pytest.raises(ImagePullError):
        await scene.engine.ensure_image(image, PullPolicy.IF_NOT_PRESENT, lambda _: None)


@pytest.mark.engine
async def test_an_engine_over_tcp_is_like_one_over_a_socket(far_scene: Scene) -> None:
    """Create, attach, start, events, inspect, logs and remove, all through a TCP address."""
    frames, status, handle = await far_scene.run(far_scene.spec(EXITS_3))
    assert text_of(frames, Stream.STDOUT) == b"out\n"
    assert status.exit_code == 3
    async with await far_scene.engine.logs(handle, follow=False) as stream:
        assert text_of(await all_of(stream), Stream.STDERR) == b"err\n"
    await far_scene.engine.remove(handle)


@pytest.mark.promise("engine-death")
@pytest.mark.engine
async def test_an_engine_that_comes_late_is_found(far_scene: Scene, proxy: EngineProxy) -> None:
    """Absent at first, gone again later: each call tells how it is now."""
    await proxy.close()
    with pytest.raises(EngineUnavailableError, match="refused"):
        await far_scene.engine.ping()
    await proxy.open()
    await far_scene.engine.ping()
    await proxy.close()
    with pytest.raises(EngineUnavailableError):
        await far_scene.engine.ping()
    await proxy.open()
    await far_scene.engine.ping()
    assert (await far_scene.engine.capacity()).cpus > 0


@pytest.mark.promise("events")
@pytest.mark.engine
async def test_a_connection_that_breaks_ends_events_with_an_error_and_leaves_runs_alone(
    far_scene: Scene, proxy: EngineProxy
) -> None:
    """The events say that they broke; the container goes on and can be attached to anew."""
    async with far_scene.started(NEVER_STOPS) as (handle, frames):
        assert await anext(frames)
        async with await far_scene.engine.events() as events:
            proxy.cut()
            with pytest.raises(EngineUnavailableError):
                await anext(events)
        with suppress(EngineUnavailableError):  # a break that is noticed is as good as a silent end
            assert await all_of(frames) == []
        assert (await far_scene.engine.inspect(handle)).state is RunState.RUNNING
        async with await far_scene.engine.attach(handle):
            await far_scene.engine.stop(handle, 0)


@pytest.mark.promise("engine-death")
@pytest.mark.engine
async def test_an_engine_that_hangs_is_given_up_in_time(
    far_scene: Scene, proxy: EngineProxy, installation: str
) -> None:
    """It accepts and never answers: every call ends within its limit, however many wait."""
    handle = await far_scene.engine.create(far_scene.spec(EXITS_0))
    engine = DockerEngine(proxy.url, installation=installation, limits=QUICKLY)
    await is_connected(engine)
    proxy.freeze()
    spec = far_scene.spec(EXITS_0)
    calls = [
        engine.ping(),
        engine.capacity(),
        engine.create(spec),
        engine.start(handle),
        engine.attach(handle),
        engine.logs(handle, follow=True),
        engine.stop(handle, 0),
        engine.remove(handle),
        engine.events(),
        engine.list_ours(),
        engine.ensure_image(far_scene.image, PullPolicy.ALWAYS, lambda _: None),
        *(engine.inspect(handle) for _ in range(30)),
    ]
    began = time.monotonic()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - began < EngineTimeLimits().control
    assert all(isinstance(result, EngineUnavailableError) for result in results), results
    proxy.thaw()
    await is_connected(engine)  # what was held is all at work now, which takes a busy engine a while
    await engine.close()
    for made in (handle, await far_scene.engine.find(spec.exec_id)):
        if made is not None:
            await far_scene.engine.remove(made)


async def test_an_address_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    """Even the very first call to an engine is bounded."""

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    engine = DockerEngine(
        f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", installation="x", limits=QUICKLY
    )
    began = time.monotonic()
    for call in (engine.ping(), engine.events()):
        with pytest.raises(EngineUnavailableError):
            await call
    assert time.monotonic() - began < EngineTimeLimits().control
    await engine.close()
    server.close()
    for writer in silent:
        writer.close()


async def test_an_address_where_no_engine_answers_is_told_apart_from_none() -> None:
    """A web server that knows nothing of containers is no engine."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    engine = DockerEngine(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", installation="x")
    with pytest.raises(EngineUnavailableError):
        await engine.ping()
    await engine.close()
    server.close()


@pytest.mark.promise("pulls")
@pytest.mark.engine
async def test_a_registry_that_stalls_is_a_failed_pull(engine_url: str, installation: str) -> None:
    """The engine is well, the registry says nothing: the pull ends, and says that nothing came."""

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    engine = DockerEngine(engine_url, installation=installation, limits=QUICKLY)
    image = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/stalled:1"
    with pytest.raises(ImagePullError, match=r"no progress for 1\.5 s"):
        await engine.ensure_image(image, PullPolicy.IF_NOT_PRESENT, lambda _: None)
    await engine.close()
    server.close()
    for writer in silent:
        writer.close()


@pytest.mark.engine
async def test_two_hundred_streams_can_be_open_at_once(scene: Scene) -> None:
    """No pool of connections is in the way of many attached containers."""
    handles = await asyncio.gather(*(scene.engine.create(scene.spec(EXITS_0, cpus=0.01)) for _ in range(200)))
    streams = await asyncio.gather(*(scene.engine.attach(handle) for handle in handles))
    await scene.engine.start(handles[-1])
    assert await all_of(streams[-1]) == []
    for stream in streams:
        await stream.aclose()
    await asyncio.gather(*(scene.engine.remove(handle) for handle in handles))


@pytest.mark.parametrize("url", ["", "docker.sock", "unix://", "ftp://host", "tcp://"])
def test_an_address_of_no_known_kind_is_a_wrong_setting(url: str) -> None:
    """The error shows the address and how one is written."""
    with pytest.raises(SettingsError, match="unix:///path"):
        DockerEngine(url, installation="x")


@pytest.mark.promise("events")
@pytest.mark.engine
async def test_the_events_break_when_they_cannot_go_on(far_scene: Scene, proxy: EngineProxy) -> None:
    """After a break and a new subscription, events are heard again."""
    async with await far_scene.engine.events() as events:
        proxy.cut()
        with pytest.raises(EngineUnavailableError):
            await anext(events)
    async with await far_scene.engine.events() as events:
        spec = far_scene.spec(EXITS_0)
        handle = await far_scene.engine.create(spec)
        await far_scene.engine.start(handle)
        assert (await event_of(events, EventKind.DIE, spec.exec_id)).exit_code == 0
    await far_scene.engine.remove(handle)
