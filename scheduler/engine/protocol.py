"""The interface that Timeball requires of a container engine.

Pure: protocols, no I/O; `types` has the data. `docker.py` implements it for a Docker Engine. A Swarm could implement
it as well, so nothing here assumes that containers are local: a handle names its node, logs are read from the engine,
and ends are reported by events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.engine.profile import EngineProfile
from scheduler.engine.types import (
    Capacity,
    EngineEvent,
    EngineFacts,
    Handle,
    ImageInfo,
    LaunchSpec,
    LogFrame,
    OwnRun,
    RunStatus,
)


class FrameStream(Protocol):
    """An open stream of output; iterating returns batches, one per read.

    The end of the stream does not mean that the container has ended (a lost connection can look the same), so
    inspect it afterwards. Iterating raises `EngineUnavailableError` if the connection is lost.
    """

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> list[LogFrame]: ...
    async def aclose(self) -> None:
        """Close the connection; the container continues to run. Closing twice is not an error."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class EventStream(Protocol):
    """An open subscription to an engine's events.

    It only ends by being closed: iterating raises `EngineUnavailableError` if the connection is lost. Events that
    were missed are not repeated, so call `Engine.list_ours` after every subscription.
    """

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> EngineEvent: ...
    async def aclose(self) -> None:
        """End the subscription. Closing twice is not an error."""
        ...

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """A container engine.

    Every call raises `EngineUnavailableError` if the engine cannot be reached or does not answer within a limited
    time. A cancelled call may still take effect on the engine.
    """

    async def ping(self) -> None:
        """Return when the engine has answered."""
        ...

    async def now(self) -> datetime:
        """The engine's current time, which may differ considerably from ours; aware UTC."""
        ...

    async def capacity(self) -> Capacity:
        """The total capacity of the engine's host."""
        ...

    async def profile(self) -> EngineProfile:
        """What kind of engine it is; known after the first answer until the connection is lost."""
        ...

    async def examine(self) -> EngineFacts:
        """Information about the engine, for operators."""
        ...

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """Ensure that the image is on the engine, pulling it according to the policy.

        Args:
            image: ``repo:tag`` or ``repo@sha256:…``.
            policy: when the image is pulled.
            progress: called on the event loop with occasional readable lines.
            login: the credential for the registry; None for that in the engine's own configuration.

        Raises:
            ImagePullError: the image is not available, or the pull makes no progress.
        """
        ...

    async def create(self, spec: LaunchSpec) -> Handle:
        """Create the container, or find the one that an earlier call created; does not start it.

        Raises:
            ImageMissingError: its image is not on the engine.
            LaunchError: the engine refuses to create it.
        """
        ...

    async def find(self, exec_id: str) -> Handle | None:
        """The container of a run, if there is one."""
        ...

    async def has_created(self, handle: Handle) -> bool:
        """Whether the engine has certainly not been restarted since it created the container.

        If so, what it says of the container is true: it has noted everything that it did with it.
        """
        ...

    async def attach(self, handle: Handle) -> FrameStream:
        """Read a container's output from now on; no output is lost after this has returned.

        For containers that have not been started: if the container has already ended, the stream may stay open
        forever.

        Raises:
            RunGoneError: there is no such container.
        """
        ...

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start a container's main process; does nothing if it is already running.

        The files are in its memory before its process begins, and are removed with it. Pass them with every start:
        a start that failed leaves no files.

        Ask only once for each container. If the answer is lost, nothing that an engine says later shows that the
        process did not run: one that was killed after it had started a process may not know it any more, shows the
        container as never started, and replaces the process if it is asked again (Docker Engine since 24.0).

        Args:
            handle: the container.
            files: the secret files that are put into its memory.
            before: awaited when everything is prepared, right before the engine is asked. If it raises an exception,
                the engine was not asked.

        Raises:
            EngineUnreachableError: the request did not reach the engine.
            EngineUnavailableError: otherwise: the process may have started.
            LaunchError: its command cannot be run, or the engine refuses the files.
            RunGoneError: there is no such container.
        """
        ...

    async def inspect(self, handle: Handle) -> RunStatus:
        """The engine's state of a container; `RunState.GONE` if there is no such container."""
        ...

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> FrameStream:
        """A container's output from the beginning, as stored by the engine.

        Args:
            handle: the container.
            follow: continue until the container ends, instead of ending with the current output.
            timestamps: whether to set the engine's time of every frame.
            since: leave out earlier output.

        Raises:
            RunGoneError: there is no such container.
        """
        ...

    async def stop(self, handle: Handle, grace_seconds: int) -> None:
        """Send SIGTERM (or the image's stop signal), and SIGKILL after the grace period; return when it has ended.

        A container that has ended or does not exist is not an error.
        """
        ...

    async def kill(self, handle: Handle) -> None:
        """Send SIGKILL. A container that has ended or does not exist is not an error."""
        ...

    async def remove(self, handle: Handle) -> None:
        """Remove a container with its anonymous volumes, running or not. A missing container is not an error."""
        ...

    async def events(self) -> EventStream:
        """Subscribe to the events of this installation's containers, from now on."""
        ...

    async def list_ours(self) -> list[OwnRun]:
        """All containers of this installation, in any state."""
        ...

    async def close(self) -> None:
        """Close connections and threads; containers continue to run. The object cannot be used afterwards."""
        ...
