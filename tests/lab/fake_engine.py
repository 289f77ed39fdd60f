"""An engine in memory whose containers run Python functions, for tests that need no real one.

It keeps the same promises as the real engine (the contract suite runs on both) and can be told to be absent,
to break its streams or to fail the next call.

    engine = FakeEngine()
    engine.programs["greet", "you"] = prints(b"hello", exit_code=3)
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.domain.stream import Stream
from scheduler.engine.errors import (
    EngineUnavailableError,
    ImageMissingError,
    ImagePullError,
    LaunchError,
    RunGoneError,
)
from scheduler.engine.profile import EngineProfile, Product
from scheduler.engine.types import (
    Capacity,
    EngineEvent,
    EngineFacts,
    EventKind,
    Handle,
    ImageInfo,
    Labelled,
    LaunchSpec,
    LogFrame,
    OwnRun,
    RunState,
    RunStatus,
    container_name,
)
from tests.lab.fake_feed import EventFeed, FrameFeed
from tests.lab.fake_programs import FakeProcess, OutOfMemory, Program

FAKE_IMAGE = "timeball-test/fake:1"
KILLED = 137
FAKE_KIND = EngineProfile(
    product=Product.DOCKER,
    version="28.5.2",
    api_version="1.51",
    image_store="overlay2",
    log_driver="local",
    cgroup_version=2,
    cgroup_driver="systemd",
)


@dataclass(frozen=True, slots=True)
class FakeImage:
    """An image of the fake engine or its registry; a command of None means that it has none of its own.

    A local one came from no registry.
    """

    digest: str = "sha256:" + "0" * 64
    command: tuple[str, ...] | None = None
    local: bool = False

    @property
    def image_id(self) -> str:
        """The engine's own id of it, which is its digest as well if no registry has given it one."""
        return self.digest if self.local else f"{self.digest[:-1]}f"


def _by_digest(images: dict[str, FakeImage], name: str) -> FakeImage | None:
    """The image that a name with a digest means, or that has the name for its id."""
    if name.startswith("sha256:"):
        return next((one for one in images.values() if one.image_id == name), None)
    repository, _, digest = name.partition("@")
    found = (one for key, one in images.items() if key.rpartition(":")[0] == repository and not one.local)
    return next((one for one in found if one.digest == digest), None)


@dataclass(slots=True, eq=False)
class FakeContainer:
    """One container of the fake engine."""

    spec: LaunchSpec
    handle: Handle
    installation: str
    status: RunStatus
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    frames: list[LogFrame] = field(default_factory=list)
    feeds: dict[FrameFeed, None] = field(default_factory=dict)  # in order
    task: asyncio.Task[None] | None = None
    files: dict[str, SecretFile] = field(default_factory=dict)


class FakeEngine:
    """An engine in memory.

    Attributes:
        programs: what each command runs; a command that is not here does not exist.
        images: what is on the engine, by ``repo:tag``.
        registry: what can be pulled, by ``repo:tag``.
        logins: what registries ask for, by host: a user name and a password.
        containers: every container, by its engine id, of whatever installation.
        is_content_addressed: whether ids of images are their digests, as in a containerd image store.
        kind: what it says of itself.
        down: while True the engine cannot be reached; its containers go on.
        failures: for a method's name, errors that its next calls raise, one each; for ``start-request``, errors of
            starts that were just about to be asked for.
        calls: the names of the methods called, in order.
    """

    def __init__(
        self,
        *,
        installation: str = "fake",
        cpus: float = 4.0,
        memory_bytes: int = 8 << 30,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.programs: dict[tuple[str, ...], Program] = {}
        self.images: dict[str, FakeImage] = {FAKE_IMAGE: FakeImage()}
        self.registry: dict[str, FakeImage] = {}
        self.logins: dict[str, tuple[str, str]] = {}
        self.containers: dict[str, FakeContainer] = {}
        self.is_content_addressed = False
        self.kind = FAKE_KIND
        self.down = False
        self.failures: dict[str, list[Exception]] = {}
        self.calls: list[str] = []
        self._capacity = Capacity(cpus=cpus, memory_bytes=memory_bytes)
        self._installation = installation
        self._clock = clock
        self._event_feeds: dict[EventFeed, None] = {}
        self._made = 0

    def break_streams(self, *, silently: bool = False, events: bool = True) -> None:
        """Break every open stream; silently: output streams seem to end well, as a real engine's can."""
        broken = EngineUnavailableError("the connection to the engine was lost")
        for container in self.containers.values():
            for frame_feed in list(container.feeds):
                frame_feed.put(None if silently else broken)
            container.feeds.clear()
        for event_feed in list(self._event_feeds) if events else ():
            event_feed.put(broken)
            self._event_feeds.pop(event_feed, None)

    def set_clock(self, clock: Callable[[], datetime]) -> None:
        """Set its clock, for a far engine whose clock is wrong."""
        self._clock = clock

    def container_of(self, exec_id: str) -> FakeContainer | None:
        """The container of an exec, for tests to look into."""
        name = container_name(exec_id)
        return next((c for c in self.containers.values() if c.handle.name == name), None)

    async def ping(self) -> None:
        """Return when the engine is there."""
        await self._enter("ping")

    async def now(self) -> datetime:
        """What the clock says that it was made with."""
        await self._enter("now")
        return self._clock()

    async def capacity(self) -> Capacity:
        """What it was made with."""
        await self._enter("capacity")
        return self._capacity

    async def profile(self) -> EngineProfile:
        """Its `kind`."""
        await self._enter("profile")
        return self.kind

    async def examine(self) -> EngineFacts:
        """What it was made with, and every container."""
        await self._enter("examine")
        return EngineFacts(
            profile=self.kind,
            time=self._clock(),
            capacity=self._capacity,
            containers=[
                Labelled(c.handle.name, c.installation, c.spec.exec_id) for c in self.containers.values()
            ],
        )

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """Take the image from `registry` into `images` as the policy says."""
        await self._enter("ensure_image")
        missing = self._image(image) is None
        pulled = policy is PullPolicy.ALWAYS or (missing and policy is PullPolicy.IF_NOT_PRESENT)
        if pulled:
            found = self.registry.get(image) or _by_digest(self.registry, image)
            wanted = self.logins.get(image.split("/", maxsplit=1)[0])
            if wanted is not None and (login is None or (login.username, login.password) != wanted):
                raise ImagePullError(f"image {image} cannot be pulled: unauthorized", is_denied=True)
            if found is None:
                raise ImagePullError(f"image {image} cannot be pulled: manifest for {image} not found")
            progress(f"Pulling from {image.rsplit(':', 1)[0]}")
            progress(f"Status: Downloaded newer image for {image}")
            self.images[image] = found
        elif missing:
            raise ImagePullError(f"image {image} is not on the engine, and the pull policy is 'never'")
        here = self._image(image)
        assert here is not None
        if self.is_content_addressed:
            return ImageInfo(digest=here.digest, image_id=here.digest, pulled=pulled, has_digest=True)
        return ImageInfo(digest=here.digest, image_id=here.image_id, pulled=pulled, has_digest=not here.local)

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the container, or find the one that an earlier call made."""
        await self._enter("create")
        earlier = self.container_of(spec.exec_id)
        if earlier is not None:
            return earlier.handle
        image = self._image(spec.image)
        if image is None:
            raise ImageMissingError(f"no container from image {spec.image}: No such image: {spec.image}")
        command = spec.command or image.command
        if not command:
            raise LaunchError("the engine cannot create the container: No command specified")
        if spec.cpus > self._capacity.cpus:
            raise LaunchError(
                f"the engine cannot create the container: only {self._capacity.cpus} CPUs available"
            )
        self._made += 1
        handle = Handle(
            f"{self._made:064x}",
            container_name(spec.exec_id),
            secret_directories=len(spec.secret_directories),
        )
        self.containers[handle.engine_id] = FakeContainer(
            replace(spec, command=command),
            handle,
            self._installation,
            RunStatus(state=RunState.CREATED, image_id=image.image_id),
        )
        return handle

    async def find(self, exec_id: str) -> Handle | None:
        """The container of an exec, if there is one."""
        await self._enter("find")
        found = self.container_of(exec_id)
        return found.handle if found is not None and found.installation == self._installation else None

    async def has_created(self, handle: Handle) -> bool:
        """Whether it has not been restarted since; it never is."""
        await self._enter("has_created")
        return handle.engine_id in self.containers

    async def attach(self, handle: Handle) -> FrameFeed:
        """Listen to a container's output from now on."""
        await self._enter("attach")
        container = self._container(handle)
        feed = FrameFeed(lambda closed: container.feeds.pop(closed, None))
        container.feeds[feed] = None
        return feed

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start the container's program."""
        await self._enter("start")
        if before is not None:
            await before()
        if failures := self.failures.get("start-request"):
            raise failures.pop(0)
        container = self._container(handle)
        container.files = {file.path: file for file in files}
        if container.status.state is not RunState.CREATED:
            return
        assert container.spec.command is not None
        program = self.programs.get(container.spec.command)
        if program is None:
            words = f'exec: "{container.spec.command[0]}": executable file not found in $PATH'
            container.status = replace(container.status, error=words, start_failed=True)
            self._end_feeds(container)
            raise LaunchError(f"the container cannot be started: {words}")
        container.status = replace(container.status, state=RunState.RUNNING, started_at=self._clock())
        self._tell(container, EventKind.START)
        container.task = asyncio.create_task(self._run(container, program))

    async def inspect(self, handle: Handle) -> RunStatus:
        """What is known about a container."""
        await self._enter("inspect")
        container = self.containers.get(handle.engine_id)
        return container.status if container is not None else RunStatus(state=RunState.GONE)

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> FrameFeed:
        """A container's output from the beginning."""
        await self._enter("logs")
        container = self._container(handle)
        following = follow and container.status.state in (RunState.CREATED, RunState.RUNNING)
        feed = FrameFeed(lambda closed: container.feeds.pop(closed, None), timestamps=timestamps)
        for frame in container.frames:
            if since is None or frame.at is None or frame.at >= since:
                feed.put_frame(frame)
        if following:
            container.feeds[feed] = None
        else:
            feed.put(None)
        return feed

    async def stop(self, handle: Handle, grace_seconds: int) -> None:
        """Ask the program to stop, and end it after the grace period."""
        await self._enter("stop")
        container = self.containers.get(handle.engine_id)
        if container is None or container.status.state is not RunState.RUNNING:
            return
        container.stop_asked.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await container.ended.wait()
        await self._kill(container)

    async def kill(self, handle: Handle) -> None:
        """End the program at once."""
        await self._enter("kill")
        container = self.containers.get(handle.engine_id)
        if container is not None:
            await self._kill(container)

    async def remove(self, handle: Handle) -> None:
        """Forget a container."""
        await self._enter("remove")
        container = self.containers.get(handle.engine_id)
        if container is None:
            return
        await self._kill(container)
        self.containers.pop(handle.engine_id, None)
        self._tell(container, EventKind.DESTROY)

    async def events(self) -> EventFeed:
        """Subscribe to what happens to this installation's containers."""
        await self._enter("events")
        feed = EventFeed(lambda closed: self._event_feeds.pop(closed, None))
        self._event_feeds[feed] = None
        return feed

    async def list_ours(self) -> list[OwnRun]:
        """All containers of this installation."""
        await self._enter("list_ours")
        return [
            OwnRun(c.spec.exec_id, c.handle, c.status.state)
            for c in self.containers.values()
            if c.installation == self._installation
        ]

    async def close(self) -> None:
        """End every program, so that no task outlives the test."""
        for container in self.containers.values():
            await self._kill(container)
        self.break_streams(silently=True)

    async def _enter(self, method: str) -> None:
        self.calls.append(method)
        await asyncio.sleep(0)  # as with a real engine, others get their turn
        if self.down:
            raise EngineUnavailableError("the engine cannot be reached: it is down")
        if failures := self.failures.get(method):
            raise failures.pop(0)

    def _image(self, name: str) -> FakeImage | None:
        if self.is_content_addressed and name.startswith("sha256:"):
            return next((image for image in self.images.values() if image.digest == name), None)
        return self.images.get(name) or _by_digest(self.images, name)

    def _container(self, handle: Handle) -> FakeContainer:
        container = self.containers.get(handle.engine_id)
        if container is None:
            raise RunGoneError(f"container {handle.name} is not on the engine (any more)")
        return container

    async def _run(self, container: FakeContainer, program: Program) -> None:
        def write(stream: Stream, data: bytes) -> None:
            frame = LogFrame(stream, data, self._clock())
            container.frames.append(frame)
            for feed in container.feeds:
                feed.put_frame(frame)

        oom_killed = False
        try:
            exit_code = await program(
                FakeProcess(container.spec, container.stop_asked, write, container.files)
            )
        except OutOfMemory:
            exit_code, oom_killed = KILLED, True
            self._tell(container, EventKind.OOM)
        except asyncio.CancelledError:
            exit_code = KILLED
        except Exception:  # noqa: BLE001 - as any other program, it ends with a trace of what was wrong
            write(Stream.STDERR, traceback.format_exc().encode())
            exit_code = 1
        container.status = replace(
            container.status,
            state=RunState.ENDED,
            exit_code=exit_code,
            oom_killed=oom_killed,
            finished_at=self._clock(),
        )
        container.ended.set()
        self._tell(container, EventKind.DIE, exit_code)
        self._end_feeds(container)

    async def _kill(self, container: FakeContainer) -> None:
        if container.task is not None and not container.task.done():
            # A task that was cancelled before its first step would not come to note its end.
            await asyncio.sleep(0)
            container.task.cancel()
            await asyncio.wait({container.task})

    def _end_feeds(self, container: FakeContainer) -> None:
        feeds = list(container.feeds)
        container.feeds.clear()
        for feed in feeds:
            feed.put(None)

    def _tell(self, container: FakeContainer, kind: EventKind, exit_code: int | None = None) -> None:
        if container.installation != self._installation:
            return
        event = EngineEvent(kind=kind, exec_id=container.spec.exec_id, at=self._clock(), exit_code=exit_code)
        for feed in self._event_feeds:
            feed.put(event)
