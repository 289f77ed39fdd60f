"""Runs containers on a local or remote Docker Engine: implements the `Engine` protocol with the Engine's API.

Control calls use the Docker SDK in threads; output, events, pulls and stops are read with asyncio. This module does
not depend on jobs or the database, nor on what is done with the output.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from docker.api.client import APIClient

from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.engine.docker_api import DockerApi, EngineTimeLimits, TlsFiles
from scheduler.engine.docker_containers import create_container
from scheduler.engine.docker_dialect import DockerDialect
from scheduler.engine.docker_images import ensure_image
from scheduler.engine.docker_memory import MemoryDeaths
from scheduler.engine.docker_restarts import EngineStarts
from scheduler.engine.docker_secret_files import (
    LABEL_HOLDER,
    holder_names,
    in_place,
    is_holder,
    lonely_holders,
    remove_holder,
    remove_volumes,
    remove_with_volume,
)
from scheduler.engine.docker_states import handle_of, state_of, status_of, time_of
from scheduler.engine.docker_streams import DockerEventStream, DockerFrameStream, EndedFrameStream
from scheduler.engine.docker_words import EngineRefusedError, is_disk_full
from scheduler.engine.errors import (
    EngineTroubledError,
    EngineUnavailableError,
    ImageMissingError,
    LaunchError,
    RunGoneError,
)
from scheduler.engine.frames import parse_time
from scheduler.engine.judging import refusal_of
from scheduler.engine.podman import PodmanDialect
from scheduler.engine.profile import EngineProfile, Product
from scheduler.engine.protocol import FrameStream
from scheduler.engine.types import (
    LABEL_EXEC,
    LABEL_INSTALLATION,
    Capacity,
    EngineFacts,
    Handle,
    ImageInfo,
    Labelled,
    LaunchSpec,
    OwnRun,
    RunState,
    RunStatus,
    container_name,
)


class DockerEngine:
    """One Docker Engine. Creating the object does not connect; the engine may become available later.

    Args:
        base_url: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host[:port][/path/of/docker.sock]``.
        installation: the id of this Timeball installation; only its own containers are visible.
        tls: the files for TLS, for ``tcp://``.
        ssh_config: an ssh configuration file to use instead of the user's, for ``ssh://``.
        limits: timeouts of the engine.
        require_limits: whether no container is created if its limits cannot be enforced.

    Raises:
        SettingsError: the address is invalid.
    """

    def __init__(
        self,
        base_url: str,
        *,
        installation: str,
        tls: TlsFiles | None = None,
        ssh_config: Path | None = None,
        limits: EngineTimeLimits | None = None,
        require_limits: bool = True,
    ) -> None:
        self._api = DockerApi(base_url, tls=tls, ssh_config=ssh_config, limits=limits or EngineTimeLimits())
        self._installation = installation
        self._require_limits = require_limits
        self._memory_deaths = MemoryDeaths(self._api)
        self._starts = EngineStarts()

    async def ping(self) -> None:
        """Return when the engine has answered."""
        # Not with the SDK: all of its threads may be blocked by calls that hang.
        try:
            response = await self._api.open("GET", "/_ping", params={}, idle_seconds=self._api.limits.control)
            async with response:
                await response.read()
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailableError(f"the connection to the engine was lost: {error}") from error

    async def now(self) -> datetime:
        """The engine's current time."""
        info = await self._quick(lambda client: client.info())
        return parse_time(info["SystemTime"])

    async def capacity(self) -> Capacity:
        """The total capacity of the engine's host."""
        info = await self._quick(lambda client: client.info())
        return Capacity(cpus=float(info["NCPU"]), memory_bytes=int(info["MemTotal"]))

    async def profile(self) -> EngineProfile:
        """What kind of engine it is."""
        try:
            return await self._api.profile()
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error

    async def examine(self) -> EngineFacts:
        """Facts about the engine; its time is part of its description."""
        info = await self._quick(lambda client: client.info())
        filters = {"label": LABEL_INSTALLATION}
        containers = await self._quick(lambda client: client.containers(all=True, filters=filters))
        return EngineFacts(
            profile=await self.profile(),
            time=time_of(info.get("SystemTime")),
            capacity=Capacity(cpus=float(info["NCPU"]), memory_bytes=int(info["MemTotal"])),
            containers=[
                Labelled(
                    name=(entry.get("Names") or [entry["Id"][:12]])[0].lstrip("/"),
                    installation=entry["Labels"][LABEL_INSTALLATION],
                    exec_id=entry["Labels"].get(LABEL_EXEC, ""),
                )
                for entry in containers
                if LABEL_HOLDER not in entry["Labels"]
            ],
        )

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """Ensure that the image is on the engine."""
        return await ensure_image(self._api, image, policy, progress, login)

    async def create(self, spec: LaunchSpec) -> Handle:
        """Create the container, or find the one that an earlier call created."""
        name, profile, dialect = container_name(spec.exec_id), await self.profile(), await self._dialect()
        if (reason := refusal_of(profile, require_limits=self._require_limits)) is not None:
            raise LaunchError(f"no run can be started on this engine: {reason}")
        is_told = dialect.tells_restarts and not profile.has_live_restore
        try:
            if not dialect.checks_specs:
                spec = await self._adapted(spec, dialect)
            created = await self._api.quick(
                lambda client: create_container(
                    client,
                    name,
                    spec,
                    self._installation,
                    log_driver=str(profile.log_driver),
                    dialect=dialect,
                    engine_start=self._starts.present(client, is_told=is_told),
                )
            )
        except EngineRefusedError as error:
            if error.in_trouble:
                raise EngineTroubledError(str(error)) from error
            if dialect.is_name_taken(error):
                return await self._holder(name, spec.exec_id, error)
            if error.status == 404:
                raise ImageMissingError(f"no container from image {spec.image}: {error.words}") from error
            raise LaunchError(f"the engine cannot create the container: {_explained(error)}") from error
        return Handle(str(created["Id"]), name, secret_directories=len(spec.secret_directories))

    async def _adapted(self, spec: LaunchSpec, dialect: DockerDialect) -> LaunchSpec:
        """A spec as this engine needs it; refused if the engine would accept it only to fail later."""
        image: dict[str, Any] = await self._api.quick(
            lambda client: client.inspect_image(spec.image)  # type: ignore[no-untyped-call] # stubs are vague
        )
        config = image.get("Config") or {}
        has_command = spec.command is not None or bool(config.get("Cmd") or config.get("Entrypoint"))
        if reason := dialect.why_refused(spec, await self.capacity(), has_command=has_command):
            raise LaunchError(f"the engine cannot run the container: {reason}")
        return dialect.as_created(spec, image_user=str(config.get("User") or ""))

    async def find(self, exec_id: str) -> Handle | None:
        """The container of a run, if there is one."""
        name = container_name(exec_id)
        container = await self._inspect(name)
        if container is not None and self._is_ours(container, exec_id):
            return handle_of(container["Id"], container["Config"]["Labels"], name)
        # The container may have been renamed; labels cannot be changed.
        label = [f"{LABEL_INSTALLATION}={self._installation}", f"{LABEL_EXEC}={exec_id}"]
        renamed = await self._quick(lambda client: client.containers(all=True, filters={"label": label}))
        return handle_of(renamed[0]["Id"], renamed[0]["Labels"], name) if renamed else None

    async def has_created(self, handle: Handle) -> bool:
        """Whether the engine has certainly not been restarted since it created the container.

        With Podman, nothing shows it.
        """
        if not (await self._dialect()).tells_restarts:
            return False
        found: bool = await self._quick(lambda client: self._starts.has_created(client, handle.engine_id))
        return found

    async def attach(self, handle: Handle) -> FrameStream:
        """Read a container's output from now on.

        The engine subscribes the connection to the container's pipes before it sends the headers that this call
        waits for (moby, daemon/attach.go), so no output of a later start is lost. If the engine finds that the
        container cannot be started, the stream is empty: the start will report why.
        """
        try:
            return await self._attached(handle)
        except LaunchError:
            return EndedFrameStream()

    async def _attached(self, handle: Handle) -> FrameStream:
        dialect = await self._dialect()
        if not dialect.only_reads_at_attach and (await self.inspect(handle)).state is RunState.ENDED:
            return EndedFrameStream()  # attaching would prepare it for another start
        params = {"stream": "1", "stdout": "1", "stderr": "1"}
        try:
            return await self._frames("POST", handle, "attach", params, timestamps=False)
        except EngineTroubledError as error:
            refusal = error.__cause__
            if isinstance(refusal, EngineRefusedError) and dialect.is_launch_refused_at_attach(refusal):
                raise LaunchError(f"the container cannot be started: {_explained(refusal)}") from refusal
            raise

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start a container's main process; does nothing if it is already running."""
        if files and not (await self._dialect()).only_reads_at_attach:
            # The volumes are in memory only from when the container is prepared; before, they are on the disk.
            await (await self._attached(handle)).aclose()
        async with in_place(self._api, handle, files, installation=self._installation):
            await self._start(handle, before)

    async def _start(self, handle: Handle, before: Callable[[], Awaitable[None]] | None) -> None:
        try:
            await self._api.starting(lambda client: client.start(handle.engine_id), before=before)
        except EngineRefusedError as error:
            if error.in_trouble:
                raise EngineTroubledError(str(error)) from error
            if error.status == 404 and "no such container" in error.words.lower():
                raise _gone(handle) from error
            raise LaunchError(f"the container cannot be started: {_explained(error)}") from error

    async def inspect(self, handle: Handle) -> RunStatus:
        """The engine's state of a container; `RunState.GONE` if there is no such container."""
        container = await self._inspect(handle.engine_id)
        if container is None:
            return RunStatus(state=RunState.GONE)
        status = status_of(container, await self._dialect())
        if await self._memory_deaths.killed(handle.engine_id, status) != status.oom_killed:
            status = replace(status, oom_killed=True)
        return status

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> DockerFrameStream:
        """A container's output from the beginning, as stored by the engine."""
        params = {
            "stdout": "1",
            "stderr": "1",
            "follow": str(int(follow)),
            "timestamps": str(int(timestamps)),
        }
        if since is not None:
            params["since"] = f"{since.timestamp():.6f}"
        return await self._frames("GET", handle, "logs", params, timestamps=timestamps)

    async def stop(self, handle: Handle, grace_seconds: int) -> None:
        """Send SIGTERM, and SIGKILL after the grace period; return when the container has ended.

        The engine itself waits for the grace period, so a stop is completed even if the daemon dies. The call does
        not use a thread, because it may take long.
        """
        self._memory_deaths.note_killed_by_us(handle.engine_id)
        await self._unpause(handle)
        try:
            response = await self._api.open(
                "POST",
                f"/containers/{handle.engine_id}/stop",
                params={"t": str(grace_seconds)},
                answer_seconds=grace_seconds + self._api.limits.control,
            )
            response.release()
        except EngineRefusedError as error:
            if error.status not in (304, 404):
                raise EngineTroubledError(str(error)) from error

    async def kill(self, handle: Handle) -> None:
        """Send SIGKILL. A container that has ended or does not exist is not an error."""
        self._memory_deaths.note_killed_by_us(handle.engine_id)
        await self._unpause(handle)
        try:
            await self._api.quick(lambda client: client.kill(handle.engine_id))
        except EngineRefusedError as error:
            if error.status not in (404, 409):  # 409: not running
                raise EngineTroubledError(str(error)) from error

    async def _unpause(self, handle: Handle) -> None:
        """Let a paused container continue, if it cannot be ended otherwise."""
        if (await self._dialect()).ends_paused:
            return
        container = await self._inspect(handle.engine_id)
        if container is not None and container["State"].get("Paused"):
            with suppress(EngineRefusedError):  # somebody else has let it continue, or it has ended
                await self._api.quick(lambda client: client.unpause(handle.engine_id))

    async def remove(self, handle: Handle) -> None:
        """Remove a container with its anonymous volumes, running or not. A missing container is not an error."""
        if is_holder(handle):
            await remove_with_volume(self._api, handle)
            return
        dialect = await self._dialect()
        if not dialect.removes_at_once:
            await self.kill(handle)
        try:
            for name in holder_names(handle):  # otherwise its volumes would still be in use and remain
                await remove_holder(self._api, name)
            await self._api.removing(
                lambda client: client.remove_container(handle.engine_id, v=True, force=True)
            )
            if not dialect.makes_volumes_in_memory:
                await self._api.removing(lambda client: remove_volumes(client, handle))
        except EngineRefusedError as error:
            if error.status not in (404, 409):  # 409: is being removed
                raise EngineTroubledError(str(error)) from error

    async def events(self) -> DockerEventStream:
        """Subscribe to the events of this installation's containers, from now on."""
        dialect = await self._dialect()
        filters = {
            "type": ["container"],
            "event": dialect.event_names,
            "label": [f"{LABEL_INSTALLATION}={self._installation}"],
        }
        try:
            response = await self._api.open("GET", "/events", params={"filters": json.dumps(filters)})
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error
        return DockerEventStream(response, dialect)

    async def list_ours(self) -> list[OwnRun]:
        """All containers of this installation, in any state."""
        label = f"{LABEL_INSTALLATION}={self._installation}"
        containers = await self._quick(lambda client: client.containers(all=True, filters={"label": label}))
        return [
            OwnRun(
                exec_id=entry["Labels"][LABEL_EXEC],
                handle=handle_of(entry["Id"], entry["Labels"], container_name(entry["Labels"][LABEL_EXEC])),
                state=state_of(entry["State"]),
            )
            for entry in containers
            if LABEL_EXEC in entry["Labels"]
        ] + lonely_holders(containers)

    async def close(self) -> None:
        """Close connections and threads; containers continue to run."""
        await self._api.close()

    async def _dialect(self) -> DockerDialect:
        """How this engine speaks the API."""
        return PodmanDialect() if (await self.profile()).product is Product.PODMAN else DockerDialect()

    async def _quick(self, call: Callable[[APIClient], Any]) -> Any:
        """The result of an SDK call that a healthy engine does not refuse."""
        try:
            return await self._api.quick(call)
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            container: dict[str, Any] = await self._api.quick(lambda client: client.inspect_container(name))
        except EngineRefusedError as error:
            if error.status == 404:
                return None
            raise EngineTroubledError(str(error)) from error
        return container

    async def _holder(self, name: str, exec_id: str, refusal: EngineRefusedError) -> Handle:
        """The container that already has the name, if it belongs to the run."""
        container = await self._inspect(name)
        if container is None:
            # An earlier call that was given up is still in progress on a slow engine: the name is reserved before
            # the container becomes visible.
            raise EngineTroubledError(
                f"the engine has reserved the container's name, but the container is not visible yet: {refusal.words}"
            ) from refusal
        if not self._is_ours(container, exec_id):
            raise LaunchError(f"the engine cannot create the container: {refusal.words}") from refusal
        return handle_of(container["Id"], container["Config"]["Labels"], name)

    def _is_ours(self, container: dict[str, Any], exec_id: str) -> bool:
        labels = container["Config"].get("Labels") or {}
        return labels.get(LABEL_INSTALLATION) == self._installation and labels.get(LABEL_EXEC) == exec_id

    async def _frames(
        self, method: str, handle: Handle, what: str, params: dict[str, str], *, timestamps: bool
    ) -> DockerFrameStream:
        try:
            response = await self._api.open(method, f"/containers/{handle.engine_id}/{what}", params=params)
        except EngineRefusedError as error:
            if error.status == 404:
                raise _gone(handle) from error
            raise EngineTroubledError(str(error)) from error
        return DockerFrameStream(response, timestamps=timestamps)


def _explained(error: EngineRefusedError) -> str:
    """The engine's message, preceded by an explanation if the message alone is not clear."""
    return f"the engine's disk is full: {error.words}" if is_disk_full(error.words) else error.words


def _gone(handle: Handle) -> RunGoneError:
    return RunGoneError(f"container {handle.name} does not exist on the engine (any more)")
