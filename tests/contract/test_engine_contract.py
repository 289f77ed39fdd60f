"""What every engine must do: one suite, run on the fake engine, on that of the simulation, and on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.job import PullPolicy
from scheduler.domain.secret_files import SecretFile, directories_of
from scheduler.domain.stream import Stream
from scheduler.engine.docker import DockerEngine
from scheduler.engine.errors import (
    EngineUnavailableError,
    ImageMissingError,
    ImagePullError,
    LaunchError,
    RunGoneError,
)
from scheduler.engine.profile import Product
from scheduler.engine.protocol import Engine
from scheduler.engine.types import EventKind, Handle, RunState, container_name
from tests.lab.engine import Registry
from tests.lab.engine_scene import (
    EVERY_BYTE,
    EXITS_0,
    EXITS_3,
    MEGABYTES,
    NEVER_STOPS,
    NO_MANIFEST,
    NO_SUCH_COMMAND,
    NOT_FOUND,
    PRINTS_A_LONG_LINE,
    PRINTS_EVERY_BYTE,
    READS_FILES,
    RUNS_OUT_OF_MEMORY,
    SPEAKS_TWICE,
    STOPS_WHEN_ASKED,
    TALKS,
    Scene,
    all_of,
    ended,
    event_of,
    fake_scene,
    text_of,
)
from tests.simulation.host import Host
from tests.simulation.scene import simulated_scene

FAKE_AND_REAL = [
    pytest.param("fake"),
    pytest.param("simulated"),
    pytest.param("docker", marks=pytest.mark.engine),
]
FAKE_AND_REAL_WITH_REGISTRY = [
    pytest.param("fake"),
    pytest.param("simulated"),
    pytest.param("docker", marks=[pytest.mark.engine, pytest.mark.registry]),
]


@pytest.fixture(params=FAKE_AND_REAL)
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """An engine with an image: a fake one, that of the simulation, and a real one."""
    host: Host | None = None
    if request.param == "fake":
        made = fake_scene()
    elif request.param == "simulated":
        made, host = simulated_scene()
    else:
        url, image = request.getfixturevalue("engine_url"), request.getfixturevalue("busybox_image")
        made = Scene(DockerEngine(url, installation=request.getfixturevalue("installation")), image)
    async with asyncio.timeout(120):
        yield made
        await made.engine.close()
    if host is not None:
        host.end_all()


@pytest.fixture(params=FAKE_AND_REAL_WITH_REGISTRY)
async def registry_scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """An engine with a registry behind it, of the same kinds; its registry's image is not on it."""
    host: Host | None = None
    if request.param == "fake":
        made = fake_scene()
    elif request.param == "simulated":
        made, host = simulated_scene()
    else:
        url, image = request.getfixturevalue("engine_url"), request.getfixturevalue("busybox_image")
        registry: Registry = request.getfixturevalue("registry")
        client = request.getfixturevalue("engine_client")
        if any(registry.image in (found["RepoTags"] or ()) for found in client.images()):
            client.remove_image(registry.image, force=True)
        engine = DockerEngine(url, installation=request.getfixturevalue("installation"))
        made = Scene(engine, image, registry.image, registry.missing_image)
    async with asyncio.timeout(120):
        yield made
        await made.engine.close()
    if host is not None:
        host.end_all()


@pytest.mark.promise("exit-codes")
async def test_a_run_that_exits_0_ends_with_that_code_and_its_times(scene: Scene) -> None:
    """The status has the exit code and two aware times in order."""
    before = datetime.now(UTC)
    _, status, handle = await scene.run(scene.spec(EXITS_0))
    assert status.state is RunState.ENDED
    assert status.exit_code == 0
    assert status.oom_killed is False
    assert status.error is None
    assert status.started_at is not None
    assert status.finished_at is not None
    assert before <= status.started_at <= status.finished_at <= datetime.now(UTC)
    await scene.engine.remove(handle)


@pytest.mark.promise("exit-codes")
async def test_a_run_that_exits_3_ends_with_that_code(scene: Scene) -> None:
    """A failure's own code is kept, and nothing else is blamed."""
    _, status, handle = await scene.run(scene.spec(EXITS_3))
    assert (status.state, status.exit_code, status.oom_killed) == (RunState.ENDED, 3, False)
    await scene.engine.remove(handle)


@pytest.mark.promise("out-of-memory")
async def test_a_run_beyond_its_memory_is_told_apart_from_other_deaths(scene: Scene) -> None:
    """The kernel's kill shows as such, not only as exit code 137."""
    _, status, handle = await scene.run(scene.spec(RUNS_OUT_OF_MEMORY, memory_bytes=16 << 20))
    assert (status.exit_code, status.oom_killed) == (137, True)
    await scene.engine.remove(handle)


@pytest.mark.promise("output")
async def test_stdout_and_stderr_are_kept_apart(scene: Scene) -> None:
    """Each stream has its own bytes, in order."""
    frames, _, handle = await scene.run(scene.spec(TALKS))
    assert text_of(frames, Stream.STDOUT) == b"out 1\nout 2\nout 3\n"
    assert text_of(frames, Stream.STDERR) == b"err 1\nerr 2\nerr 3\n"
    assert all(frame.data for frame in frames)
    await scene.engine.remove(handle)


@pytest.mark.promise("output")
async def test_binary_output_is_intact(scene: Scene) -> None:
    """Every value a byte can have comes through, however often."""
    frames, _, handle = await scene.run(scene.spec(PRINTS_EVERY_BYTE))
    assert text_of(frames, Stream.STDOUT) == EVERY_BYTE * 500
    await scene.engine.remove(handle)


@pytest.mark.promise("output")
async def test_a_line_of_10_mb_without_newline_is_intact(scene: Scene) -> None:
    """No length of line is too much, and none needs an end."""
    frames, _, handle = await scene.run(scene.spec(PRINTS_A_LONG_LINE))
    assert text_of(frames, Stream.STDOUT) == b"x" * MEGABYTES
    await scene.engine.remove(handle)


@pytest.mark.promise("output")
async def test_nothing_is_lost_that_is_printed_in_the_first_moment(scene: Scene) -> None:
    """Attached before the start, the first bytes are there every time."""
    for _ in range(5):
        frames, _, handle = await scene.run(scene.spec(EXITS_3))
        assert text_of(frames, Stream.STDOUT) == b"out\n"
        assert text_of(frames, Stream.STDERR) == b"err\n"
        await scene.engine.remove(handle)


@pytest.mark.promise("output-after")
async def test_the_log_endpoint_has_the_bytes_that_were_attached_to(scene: Scene) -> None:
    """After the end, the engine has kept exactly what it sent."""
    for command in (TALKS, PRINTS_EVERY_BYTE, PRINTS_A_LONG_LINE):
        attached, _, handle = await scene.run(scene.spec(command))
        async with await scene.engine.logs(handle, follow=False) as stream:
            kept = await all_of(stream)
        for stream_name in (Stream.STDOUT, Stream.STDERR):
            assert text_of(kept, stream_name) == text_of(attached, stream_name)
        await scene.engine.remove(handle)


@pytest.mark.promise("output-after")
async def test_logs_can_carry_the_engines_times(scene: Scene) -> None:
    """Asked for, each frame has an aware time, and its bytes are the same as without."""
    attached, status, handle = await scene.run(scene.spec(TALKS))
    assert status.started_at is not None
    async with await scene.engine.logs(handle, follow=False, timestamps=True) as stream:
        timed = await all_of(stream)
    times = [frame.at for frame in timed if frame.at is not None]
    assert len(times) == len(timed)
    # A busy engine notes the start some time after it.
    assert status.started_at - timedelta(seconds=60) <= min(times) <= max(times) <= datetime.now(UTC)
    assert text_of(timed, Stream.STDERR) == text_of(attached, Stream.STDERR)
    async with await scene.engine.logs(
        handle, follow=False, since=max(times) + timedelta(seconds=1)
    ) as stream:
        assert await all_of(stream) == []
    await scene.engine.remove(handle)


async def test_following_the_logs_of_a_running_container_ends_with_it(scene: Scene) -> None:
    """What was printed before and what is printed after come, and then the end."""
    async with scene.started(SPEAKS_TWICE) as (handle, _):
        async with await scene.engine.logs(handle, follow=True) as stream:
            frames = await all_of(stream)
        assert text_of(frames, Stream.STDOUT) == b"first\nsecond\n"


async def test_a_closed_stream_ends_and_leaves_the_container_running(scene: Scene) -> None:
    """Closing twice is fine, and reading on is an end, not an error."""
    async with scene.started(NEVER_STOPS) as (handle, frames):
        assert await anext(frames)
        await frames.aclose()
        await frames.aclose()
        assert await all_of(frames) == []
        assert (await scene.engine.inspect(handle)).state is RunState.RUNNING


@pytest.mark.promise("pulls")
async def test_a_missing_image_is_a_failed_pull_with_the_registrys_words(registry_scene: Scene) -> None:
    """The error says which image, and why in the registry's own words."""
    with pytest.raises(ImagePullError, match=rf"{registry_scene.missing_image}.*({NO_MANIFEST})"):
        await registry_scene.engine.ensure_image(
            registry_scene.missing_image, PullPolicy.IF_NOT_PRESENT, lambda _: None
        )


@pytest.mark.promise("pulls")
async def test_an_image_is_pulled_only_when_it_is_not_present(registry_scene: Scene) -> None:
    """The first call asks the registry and tells its progress, the second finds the image."""
    engine, image = registry_scene.engine, registry_scene.registry_image
    assert image is not None
    lines: list[str] = []
    pulled = await engine.ensure_image(image, PullPolicy.IF_NOT_PRESENT, lines.append)
    assert pulled.pulled
    assert pulled.digest.startswith("sha256:")
    if (await engine.profile()).product is Product.DOCKER:  # Podman tells only of layers
        assert any("Pulling from" in line for line in lines)
        assert any("Downloaded newer image" in line for line in lines)
        assert len(lines) >= 2
    assert len(lines) <= 20
    found = await engine.ensure_image(image, PullPolicy.IF_NOT_PRESENT, lambda _: pytest.fail("no pull"))
    assert found == replace(pulled, pulled=False)


@pytest.mark.promise("pulls")
async def test_always_asks_the_registry_and_never_does_not(registry_scene: Scene) -> None:
    """'never' refuses what is missing and takes what is there; 'always' pulls what is there."""
    engine, image = registry_scene.engine, registry_scene.registry_image
    assert image is not None
    with pytest.raises(ImagePullError, match="never"):
        await engine.ensure_image(image, PullPolicy.NEVER, lambda _: None)
    first = await engine.ensure_image(image, PullPolicy.ALWAYS, lambda _: None)
    again = await engine.ensure_image(image, PullPolicy.ALWAYS, lambda _: None)
    assert first.pulled
    assert again == first
    assert not (await engine.ensure_image(image, PullPolicy.NEVER, lambda _: None)).pulled


async def test_a_pulled_image_runs(registry_scene: Scene) -> None:
    """What the registry gave can be launched, and the status names the image that ran."""
    engine, image = registry_scene.engine, registry_scene.registry_image
    assert image is not None
    info = await engine.ensure_image(image, PullPolicy.IF_NOT_PRESENT, lambda _: None)
    _, status, handle = await registry_scene.run(registry_scene.spec(EXITS_3, image=image))
    assert status.exit_code == 3
    assert status.image_id == info.image_id
    await engine.remove(handle)


async def test_a_container_of_an_image_that_is_not_there_is_refused(scene: Scene) -> None:
    """Creating does not pull; it says that the image is missing."""
    with pytest.raises(ImageMissingError, match="not-here"):
        await scene.engine.create(scene.spec(EXITS_0, image="timeball-test/not-here:1"))


@pytest.mark.promise("exit-codes")
async def test_a_command_that_does_not_exist_fails_at_the_start(scene: Scene) -> None:
    """The error names the command; the container never ran, and its stream ends."""
    handle = await scene.engine.create(scene.spec(NO_SUCH_COMMAND))
    async with await scene.engine.attach(handle) as stream:
        with pytest.raises(LaunchError, match=NOT_FOUND):
            await scene.engine.start(handle)
        assert await all_of(stream) == []
    status = await scene.engine.inspect(handle)
    assert (status.state, status.exit_code, status.started_at) == (RunState.CREATED, None, None)
    assert status.error is not None
    await scene.engine.remove(handle)


@pytest.mark.promise("exit-codes")
async def test_an_image_without_a_command_needs_one(scene: Scene) -> None:
    """Neither the job nor the image says what to run, and the error says so."""
    with pytest.raises(LaunchError, match=r"(?i)no command specified"):
        await scene.engine.create(scene.spec(None))


@pytest.mark.promise("limits")
async def test_more_processors_than_there_are_is_refused_with_a_reason(scene: Scene) -> None:
    """The engine's own figure stands in the error."""
    capacity = await scene.engine.capacity()
    assert capacity.memory_bytes > 0
    with pytest.raises(LaunchError, match="CPUs available"):
        await scene.engine.create(scene.spec(EXITS_0, cpus=capacity.cpus + 1))


async def test_an_engine_tells_the_time(scene: Scene) -> None:
    """By its own clock, which is that of this machine here."""
    before = datetime.now(UTC)
    told = await scene.engine.now()
    assert before - timedelta(seconds=1) <= told <= datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.promise("created-once")
async def test_creating_twice_finds_the_first(scene: Scene) -> None:
    """One exec has one container, whatever happens in between."""
    spec = scene.spec(EXITS_3)
    first = await scene.engine.create(spec)
    assert first.name == container_name(spec.exec_id)
    assert (await scene.engine.inspect(first)).state is RunState.CREATED
    assert await scene.engine.create(spec) == first
    assert await scene.engine.find(spec.exec_id) == first
    _, status, handle = await scene.run(spec)
    assert handle == first
    assert status.exit_code == 3
    assert await scene.engine.create(spec) == first
    await scene.engine.remove(first)
    assert await scene.engine.find(spec.exec_id) is None


async def test_an_engine_that_goes_on_says_so_of_what_it_has_created(scene: Scene) -> None:
    """Not of a container that is gone; Podman never does."""
    handle = await scene.engine.create(scene.spec(EXITS_3))
    says_so = (await scene.engine.profile()).product is Product.DOCKER
    assert await scene.engine.has_created(handle) is says_so
    await scene.engine.remove(handle)
    assert not await scene.engine.has_created(handle)


@pytest.mark.promise("created-once")
async def test_starting_a_running_container_changes_nothing(scene: Scene) -> None:
    """The second start finds it running."""
    async with scene.started(NEVER_STOPS) as (handle, _):
        before = await scene.engine.inspect(handle)
        await scene.engine.start(handle)
        assert await scene.engine.inspect(handle) == before


@pytest.mark.promise("stop")
async def test_a_stop_lets_the_process_end_by_itself(scene: Scene) -> None:
    """SIGTERM comes first, and what the process does about it counts."""
    async with scene.started(STOPS_WHEN_ASKED) as (handle, frames):
        first = await anext(frames)
        await scene.engine.stop(handle, 30)
        status = await scene.engine.inspect(handle)
        assert (status.state, status.exit_code) == (RunState.ENDED, 7)
        assert text_of(first + await all_of(frames), Stream.STDOUT) == b"ready\nbye\n"
        await scene.engine.stop(handle, 30)


@pytest.mark.promise("stop")
async def test_a_stop_kills_what_does_not_end_in_time(scene: Scene) -> None:
    """After the grace period comes SIGKILL, which is no lack of memory."""
    async with scene.started(NEVER_STOPS) as (handle, frames):
        assert await anext(frames)
        await scene.engine.stop(handle, 1)
        status = await scene.engine.inspect(handle)
        assert (status.state, status.exit_code, status.oom_killed) == (RunState.ENDED, 137, False)


@pytest.mark.promise("stop")
async def test_a_kill_does_not_wait(scene: Scene) -> None:
    """SIGKILL ends it at once, and killing what has ended is fine."""
    async with await scene.engine.events() as events, scene.started(NEVER_STOPS) as (handle, frames):
        assert await anext(frames)
        await scene.engine.kill(handle)
        event = await event_of(events, EventKind.DIE, handle.name.removeprefix("timeball-"))
        assert event.exit_code == 137
        # Podman tells of an end a moment before its state shows it.
        assert (await ended(scene.engine, handle)).exit_code == 137
        await scene.engine.kill(handle)


async def test_what_is_gone_is_gone_without_fuss(scene: Scene) -> None:
    """Removing, stopping and killing what is not there is fine; reading or starting it says so."""
    engine = scene.engine
    handle = await engine.create(scene.spec(EXITS_0))
    await engine.remove(handle)
    await engine.remove(handle)
    assert (await engine.inspect(handle)).state is RunState.GONE
    await engine.stop(handle, 1)
    await engine.kill(handle)
    for call in (engine.attach(handle), engine.start(handle), engine.logs(handle, follow=True)):
        with pytest.raises(RunGoneError, match=handle.name):
            await call


async def test_a_running_container_can_be_removed(scene: Scene) -> None:
    """Removal does not ask whether it runs."""
    handle = await scene.engine.create(scene.spec(NEVER_STOPS))
    await scene.engine.start(handle)
    await scene.engine.remove(handle)
    assert (await scene.engine.inspect(handle)).state is RunState.GONE


@pytest.mark.promise("events")
async def test_events_tell_a_runs_start_end_and_removal(scene: Scene) -> None:
    """In that order, with the exec's id, the exit code and a time."""
    async with await scene.engine.events() as events:
        spec = scene.spec(EXITS_3)
        before = datetime.now(UTC)
        handle = await scene.engine.create(spec)
        await scene.engine.start(handle)
        start = await event_of(events, EventKind.START, spec.exec_id)
        die = await event_of(events, EventKind.DIE, spec.exec_id)
        await scene.engine.remove(handle)
        destroy = await event_of(events, EventKind.DESTROY, spec.exec_id)
    assert (start.exit_code, die.exit_code, destroy.exit_code) == (None, 3, None)
    assert before <= start.at <= die.at <= destroy.at


async def test_a_closed_subscription_ends(scene: Scene) -> None:
    """Whoever waits for an event when another task closes it is let go."""
    events = await scene.engine.events()
    waiting = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    await events.aclose()
    assert await waiting is None


async def test_all_our_containers_are_listed_with_their_states(scene: Scene) -> None:
    """Made, running and ended ones alike."""
    engine = scene.engine
    created, ended = scene.spec(EXITS_0), scene.spec(EXITS_0)
    created_handle = await engine.create(created)
    _, _, ended_handle = await scene.run(ended)
    async with scene.started(NEVER_STOPS) as (running_handle, _):
        ours = {run.handle: run for run in await engine.list_ours()}
    assert ours[created_handle].state is RunState.CREATED
    assert ours[created_handle].exec_id == created.exec_id
    assert ours[ended_handle].state is RunState.ENDED
    assert ours[running_handle].state is RunState.RUNNING
    for handle in (created_handle, ended_handle):
        await engine.remove(handle)
    assert created_handle not in {run.handle for run in await engine.list_ours()}


async def test_thirty_runs_at_once_all_come_through(scene: Scene) -> None:
    """None waits for another's end, and each has its own output."""
    results = await asyncio.gather(*(scene.run(scene.spec(EXITS_3, cpus=0.1)) for _ in range(30)))
    for frames, status, _ in results:
        assert status.exit_code == 3
        assert text_of(frames, Stream.STDOUT) == b"out\n"
        assert text_of(frames, Stream.STDERR) == b"err\n"
    await asyncio.gather(*(scene.engine.remove(handle) for _, _, handle in results))


SECRET_FILES = (
    SecretFile("/run/secrets/db", b"hunter2", (1000, 0)),
    SecretFile("/run/secrets/tls/key", b"k" * 65536),
    SecretFile("/srv/app/token", b"abc"),
)


@pytest.mark.promise("secrets")
async def test_secret_files_are_there_when_the_process_begins_and_go_with_the_container(scene: Scene) -> None:
    """In memory and for the container's user, also where the root is read-only; a start anew brings them again."""
    spec = replace(
        scene.spec(READS_FILES),
        secret_directories=directories_of(file.path for file in SECRET_FILES),
        user="1000",
        read_only_root=True,
    )
    handle = await scene.engine.create(spec)
    assert handle.secret_directories == 2
    assert await scene.engine.find(spec.exec_id) == handle
    async with await scene.engine.attach(handle) as stream:
        await scene.engine.start(handle, SECRET_FILES)
        assert text_of(await all_of(stream), Stream.STDOUT) == b"hunter2 65536 abc\n"
    assert [run.handle for run in await scene.engine.list_ours() if run.exec_id == spec.exec_id] == [handle]
    await scene.engine.remove(handle)
    assert await scene.engine.find(spec.exec_id) is None


LOST = Handle(engine_id="0" * 64, name="timeball-lost")


@pytest.mark.parametrize("where", ["fake", "unix:///nowhere/docker.sock", "tcp://127.0.0.1:9"])
async def test_every_call_says_when_the_engine_cannot_be_reached(where: str) -> None:
    """Whatever is asked of an absent engine, the answer is one error; and making it needs no engine."""
    scene = fake_scene()
    engine: Engine = scene.engine
    if where == "fake":
        scene.engine.down = True  # type: ignore[attr-defined] # the fake has it
    else:
        engine = DockerEngine(where, installation="nobody")
    calls = [
        engine.ping(),
        engine.capacity(),
        engine.ensure_image("busybox:1", PullPolicy.IF_NOT_PRESENT, lambda _: None),
        engine.ensure_image("busybox:1", PullPolicy.ALWAYS, lambda _: None),
        engine.create(scene.spec(EXITS_0)),
        engine.find("lost"),
        engine.attach(LOST),
        engine.start(LOST),
        engine.inspect(LOST),
        engine.logs(LOST, follow=False),
        engine.stop(LOST, 1),
        engine.kill(LOST),
        engine.remove(LOST),
        engine.events(),
        engine.list_ours(),
    ]
    for call in calls:
        with pytest.raises(EngineUnavailableError):
            await call
    await engine.close()


async def test_an_engine_tells_about_itself_and_whose_containers_it_has(scene: Scene) -> None:
    """Version, clock and size, and each Timeball's containers with the exec they belong to."""
    spec = scene.spec(EXITS_0)
    before = datetime.now(UTC)
    handle = await scene.engine.create(spec)
    try:
        facts = await scene.engine.examine()
    finally:
        await scene.engine.remove(handle)

    assert facts.profile == await scene.engine.profile()
    assert facts.profile.version
    assert facts.time is not None
    assert before - timedelta(seconds=60) < facts.time < datetime.now(UTC) + timedelta(seconds=60)
    assert facts.capacity == await scene.engine.capacity()
    [ours] = [one for one in facts.containers if one.exec_id == spec.exec_id]
    assert ours.name == container_name(spec.exec_id)
    assert ours.installation
