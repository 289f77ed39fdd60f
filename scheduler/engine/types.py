"""What engines and their callers exchange: launches, status, images, events, capacity. Pure data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from scheduler.domain.job import Mount
from scheduler.domain.stream import Stream
from scheduler.engine.profile import EngineProfile

LABEL_EXEC = "io.timeball.exec"
"""Label with the run's id."""
LABEL_JOB = "io.timeball.job"
"""Label with the job's id."""
LABEL_INSTALLATION = "io.timeball.installation"
"""Label with the installation's id: Timeball installations on the same engine ignore each other's runs."""
OWN_LABELS = frozenset({LABEL_EXEC, LABEL_JOB, LABEL_INSTALLATION})
"""Labels that the engine's implementation sets; a spec's own labels cannot replace them."""


def container_name(exec_id: str) -> str:
    """The name of a run's container (or service), always the same."""
    return f"timeball-{exec_id}"


class RunState(StrEnum):
    """The state of a container."""

    CREATED = "created"
    """Created, never ran. A container whose start failed remains in this state."""
    RUNNING = "running"
    """Its main process is running (or paused)."""
    ENDED = "ended"
    """Its main process has ended; its exit code and logs are still available."""
    GONE = "gone"
    """The engine does not know it."""


class EventKind(StrEnum):
    """The kind of an engine's event about a container."""

    START = "start"
    """Its main process has started."""
    DIE = "die"
    """Its main process has ended; the event contains the exit code."""
    OOM = "oom"
    """A process in it was killed for lack of memory; may follow shortly after `DIE`."""
    DESTROY = "destroy"
    """It was removed."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Identifies a container (or service) on an engine.

    Attributes:
        engine_id: the engine's id of the container.
        name: its name, from `container_name`.
        node: the machine that it runs on if the engine has several, otherwise None.
        secret_directories: number of its in-memory directories for secret files.
    """

    engine_id: str
    name: str
    node: str | None = None
    secret_directories: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """Everything that is needed to create a container.

    Attributes:
        exec_id: the run that it belongs to, from which its name is derived.
        job_id: the run's job.
        image: ``repo:tag`` or ``repo@sha256:…``.
        command: the words of the command; None for the image's own command.
        environment: variables, in addition to the image's own.
        cpus: maximum number of processors, at least 0.01.
        memory_bytes: maximum memory, including swap; the engine requires at least 6 MiB.
        pids_limit: maximum number of processes and threads.
        nofile_limit: maximum number of open files of a process; None for the engine's default.
        capabilities: all Linux capabilities that it keeps, without ``CAP_``.
        no_new_privileges: whether programs cannot gain privileges, for example through set-user-id files.
        mounts: files and directories of the engine's host.
        secret_directories: in-memory directories into which `Engine.start` puts secret files.
        user: the user of its processes; None for the image's own user.
        read_only_root: whether only mounts and an in-memory /tmp are writable.
        network: the engine's network, or ``none``; None for the engine's default.
        labels: labels in addition to Timeball's own.
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
    """The engine's information about a container.

    Attributes:
        state: the container's state.
        exit_code: of its main process, if it has ended; 128 + n if signal n ended it.
        oom_killed: whether the kernel killed a process in it for lack of memory.
        started_at: when its main process began; aware UTC by the engine's clock.
        finished_at: when its main process ended; aware UTC by the engine's clock.
        error: the engine's message if it could not run it.
        start_failed: whether the engine has recorded that it could not start the main process, so it did not run.
        image_id: the id of the image that it was created from (a digest of the image's configuration).
        node: the machine that it runs on if the engine has several, otherwise None.
        environment: the variables that it was created with, including secrets; empty if the engine does not say.
    """

    state: RunState
    exit_code: int | None = None
    oom_killed: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    start_failed: bool = False
    image_id: str | None = None
    node: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image on the engine.

    Attributes:
        digest: identifies the image's content: the digest that it has in its repository if the engine knows one,
            otherwise the image's id; both are written as ``sha256:…``. With a containerd store, they are the same.
        image_id: the engine's id of the image, as in `RunStatus.image_id`.
        pulled: whether the registry was just asked for it.
        has_digest: whether ``repo@digest`` names the image. It does not follow that a registry has it: a containerd
            image store gives every image a digest in its repository, also one that was built on the engine.
    """

    digest: str
    image_id: str
    pulled: bool
    has_digest: bool


@dataclass(frozen=True, slots=True)
class Capacity:
    """The total capacity of an engine's host, including what others use."""

    cpus: float
    memory_bytes: int


class LogFrame(NamedTuple):
    """Some bytes of one stream, in the order of output; may be split anywhere, even within a character.

    Attributes:
        stream: `Stream.STDOUT` or `Stream.STDERR`.
        data: the bytes, never empty.
        at: the engine's time of the bytes, if it was requested.
    """

    stream: Stream
    data: bytes
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """An event of one of our containers.

    Attributes:
        kind: the kind of event.
        exec_id: the run that the container belongs to.
        at: when it happened, by the engine's clock; aware UTC.
        exit_code: of its main process, for `EventKind.DIE`.
    """

    kind: EventKind
    exec_id: str
    at: datetime
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class OwnRun:
    """One of our containers, as found by `Engine.list_ours`."""

    exec_id: str
    handle: Handle
    state: RunState


@dataclass(frozen=True, slots=True)
class Labelled:
    """A container of any Timeball installation, ours or another one."""

    name: str
    installation: str
    exec_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """Information about an engine at one moment.

    Attributes:
        profile: what kind of engine it is.
        time: the engine's time, aware UTC; None if it does not report it.
        capacity: the capacity of its host.
        containers: the containers of all Timeball installations.
    """

    profile: EngineProfile
    time: datetime | None
    capacity: Capacity
    containers: Sequence[Labelled]
