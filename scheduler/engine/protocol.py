"""What Timeball asks of a place where containers run, and the words it uses for it.

Pure: data and a Protocol, no I/O. `docker.py` fulfils it with a Docker Engine; a Swarm fits as well, so
nothing here assumes that a container is local: a handle names its node, logs are read from the engine, ends
are told by events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Protocol, Self

from scheduler.domain.job import Mount, PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.domain.stream import Stream

LABEL_EXEC = "io.timeball.exec"
"""Label that carries the exec's id."""
LABEL_JOB = "io.timeball.job"
"""Label that carries the job's id."""
LABEL_INSTALLATION = "io.timeball.installation"
"""Label that carries the installation's id: two Timeballs on one engine leave each other's runs alone."""
OWN_LABELS = frozenset({LABEL_EXEC, LABEL_JOB, LABEL_INSTALLATION})
"""Labels that the engine sets itself; a spec's own labels cannot replace them."""


def container_name(exec_id: str) -> str:
    """The name of an exec's container (or service), the same every time."""
    return f"timeball-{exec_id}"


class RunState(StrEnum):
    """Where a container is in its life."""

    CREATED = "created"
    """Made, never ran. A container whose start failed stays here."""
    RUNNING = "running"
    """Its main process runs (or is paused)."""
    ENDED = "ended"
    """Its main process has ended; it still has an exit code and logs."""
    GONE = "gone"
    """The engine does not know it."""


class EventKind(StrEnum):
    """What an engine tells about a container without being asked."""

    START = "start"
    """Its main process runs now."""
    DIE = "die"
    """Its main process has ended; the event has the exit code."""
    OOM = "oom"
    """A process in it was killed for want of memory; may come shortly after `DIE`."""
    DESTROY = "destroy"
    """It was removed."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Which container (or service) on an engine is meant.

    Attributes:
        engine_id: the engine's own id of it.
        name: its name, from `container_name`.
        node: the machine it runs on where the engine has several, else None.
        secret_directories: how many directories in memory it has for secret files.
    """

    engine_id: str
    name: str
    node: str | None = None
    secret_directories: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """All that is needed to make one container.

    Attributes:
        exec_id: the exec it belongs to; its name is derived from this.
        job_id: the job the exec belongs to.
        image: ``repo:tag`` or ``repo@sha256:…``.
        command: the words to run; None runs the image's own command.
        environment: variables, added to the image's own.
        cpus: processors it may use at most, 0.01 and up.
        memory_bytes: memory it may use at most, swap included; the engine asks for 6 MiB at least.
        pids_limit: processes and threads it may have at most.
        nofile_limit: files that a process may have open; None for the engine's own limit.
        capabilities: all that it keeps of root's powers, without ``CAP_``.
        no_new_privileges: whether programs can gain nothing by set-user-id files.
        mounts: what it sees of the engine's machine.
        secret_directories: directories in memory that `Engine.start` puts secret files into.
        user: whom it runs as; None for the image's own user.
        read_only_root: whether nothing but mounts and a /tmp in memory can be written to.
        network: the engine's network, or ``none``; None for the engine's default.
        labels: labels beside Timeball's own.
    """

    exec_id: str
    job_id: int
    image: str
    command: tuple[str, ...] | None
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cpus: float
    memory_bytes: int
    pids_limit: int
    nofile_limit: int | None = None
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = True
    mounts: tuple[Mount, ...] = ()
    secret_directories: tuple[str, ...] = ()
    user: str | None = None
    read_only_root: bool = False
    network: str | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """What an engine knows about one container.

    Attributes:
        state: where it is in its life.
        exit_code: of its main process, when it has ended; 128 + n when signal n ended it.
        oom_killed: whether the kernel killed a process in it for want of memory.
        started_at: when its main process began; aware UTC by the engine's clock.
        finished_at: when its main process ended; likewise.
        error: the engine's own words when it could not run it.
        image_id: the id of the image it was made from (a digest of the image's configuration).
        node: the machine it runs on where the engine has several, else None.
        environment: the variables it was made with, secrets and all; empty where the engine does not say.
    """

    state: RunState
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    image_id: str | None = None
    node: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image that is on the engine.

    Attributes:
        digest: what identifies its content: the registry's digest of the manifest where it came from a
            registry, else the image's id; ``sha256:…`` both.
        image_id: the engine's id of it, as `RunStatus.image_id`.
        pulled: whether the registry was asked for it just now.
    """

    digest: str
    image_id: str
    pulled: bool

    @property
    def is_from_registry(self) -> bool:
        """Whether the digest is a registry's, so that the same image can be asked for by it."""
        return self.digest != self.image_id


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine's machine has in all, whoever uses it."""

    cpus: float
    memory_bytes: int


class LogFrame(NamedTuple):
    """Some bytes of one stream, in the order they were written; cut anywhere, also within a character.

    Attributes:
        stream: where they were written, `Stream.STDOUT` or `Stream.STDERR`.
        data: the bytes, never empty.
        at: the engine's time of them, where it was asked for.
    """

    stream: Stream
    data: bytes
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """Something that happened to one of our containers.

    Attributes:
        kind: what happened.
        exec_id: the exec whose container it is.
        at: when, by the engine's clock; aware UTC.
        exit_code: of its main process, for `EventKind.DIE`.
    """

    kind: EventKind
    exec_id: str
    at: datetime
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class OwnRun:
    """One of our containers, as `Engine.list_ours` finds it."""

    exec_id: str
    handle: Handle
    state: RunState


@dataclass(frozen=True, slots=True)
class Labelled:
    """A container of some Timeball's, ours or another's."""

    name: str
    installation: str
    exec_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine tells about itself.

    Attributes:
        version: of its software.
        api_version: the newest that it speaks.
        time: its clock; aware UTC. None if it does not tell.
        capacity: what its machine has.
        containers: those of all Timeballs.
    """

    version: str
    api_version: str
    time: datetime | None
    capacity: Capacity
    containers: Sequence[Labelled]


class FrameStream(Protocol):
    """An open stream of output; iterating gives what came with one read, in batches.

    An end says nothing about the container (a connection that drops can look the same): inspect after it.
    Iterating raises `EngineUnavailableError` when the connection is seen to break.
    """

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> list[LogFrame]: ...
    async def aclose(self) -> None:
        """Close the connection; the container goes on. Closing twice is fine."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class EventStream(Protocol):
    """An open subscription to an engine's events.

    It has no end but its closing: iterating raises `EngineUnavailableError` when the connection breaks.
    Events missed meanwhile are not told again; ask `Engine.list_ours` after every subscription.
    """

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> EngineEvent: ...
    async def aclose(self) -> None:
        """End the subscription. Closing twice is fine."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """A place where containers run.

    Every call raises `EngineUnavailableError` when the engine cannot be reached or does not answer within a
    bounded time. A call that is cancelled may still take effect on the engine.
    """

    async def ping(self) -> None:
        """Return when the engine answers."""
        ...

    async def now(self) -> datetime:
        """The present moment by the engine's clock, which may be far from ours; aware UTC."""
        ...

    async def capacity(self) -> Capacity:
        """What the engine's machine has in all."""
        ...

    async def examine(self) -> EngineFacts:
        """What there is to know of the engine, for people who look after it."""
        ...

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """See to it that the image is on the engine, asking its registry as the policy says.

        Args:
            image: ``repo:tag`` or ``repo@sha256:…``.
            policy: when the registry is asked.
            progress: is called on the event loop with a readable line now and then.
            login: what the registry is shown; None for what the engine's own configuration has.

        Raises:
            ImagePullError: it cannot be had, or the pull makes no progress.
        """
        ...

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the container, or find the one that an earlier call made; it does not run yet.

        Raises:
            ImageMissingError: its image is not on the engine.
            LaunchError: the engine refuses it.
        """
        ...

    async def find(self, exec_id: str) -> Handle | None:
        """The container of an exec, if there is one."""
        ...

    async def attach(self, handle: Handle) -> FrameStream:
        """Listen to a container's output from now on; nothing is lost from the moment this returns.

        For a container that has not been started: with one that has ended already the stream may stay open
        for ever.

        Raises:
            RunGoneError: there is no such container.
        """
        ...

    async def start(self, handle: Handle, files: Sequence[SecretFile] = ()) -> None:
        """Start a container's main process; one that runs already is left alone.

        Files are in its memory before its process begins, and gone with it. They are given with every start: one
        that did not come about has left none.

        A container that has ended would run again: where that is possible (after a crash, after
        `EngineUnavailableError`) inspect first.

        Raises:
            LaunchError: its command cannot be run, or the engine does not take the files.
            RunGoneError: there is no such container.
        """
        ...

    async def inspect(self, handle: Handle) -> RunStatus:
        """What the engine knows about a container; `RunState.GONE` if that is nothing."""
        ...

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> FrameStream:
        """A container's output from the beginning, as the engine has kept it.

        Args:
            handle: which container.
            follow: go on until it ends, instead of ending with what is there.
            timestamps: give every frame the engine's time.
            since: leave out what was written before.

        Raises:
            RunGoneError: there is no such container.
        """
        ...

    async def stop(self, handle: Handle, grace_seconds: int) -> None:
        """SIGTERM (or the image's own stop signal), and SIGKILL after the grace period; return when it ended.

        One that has ended or is gone is fine.
        """
        ...

    async def kill(self, handle: Handle) -> None:
        """SIGKILL at once. One that has ended or is gone is fine."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Remove a container with its anonymous volumes, running or not. One that is gone is fine."""
        ...

    async def events(self) -> EventStream:
        """Subscribe to what happens to this installation's containers, from now on."""
        ...

    async def list_ours(self) -> list[OwnRun]:
        """All containers of this installation, in whatever state."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads; containers go on. The engine is of no use afterwards."""
        ...
