"""Runs containers on one Docker Engine, near or far: the `Engine` protocol in the Engine's own terms.

Control calls go through the Docker SDK in threads; output, events, pulls and stops are read with asyncio.
Nothing here knows of jobs, the database or what becomes of the output.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from docker.api.client import APIClient

from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.domain.secret_files import SecretFile
from scheduler.engine.docker_api import DockerApi, EngineTimeLimits, TlsFiles
from scheduler.engine.docker_host import host_config
from scheduler.engine.docker_images import ensure_image
from scheduler.engine.docker_memory import MemoryDeaths
from scheduler.engine.docker_secret_files import (
    LABEL_DIRECTORIES,
    LABEL_HOLDER,
    holder_names,
    in_place,
    is_holder,
    lonely_holders,
    remove_holder,
    remove_with_volume,
)
from scheduler.engine.docker_streams import DockerEventStream, DockerFrameStream
from scheduler.engine.docker_words import EngineRefusedError, is_disk_full, readable
from scheduler.engine.errors import (
    EngineTroubledError,
    EngineUnavailableError,
    ImageMissingError,
    LaunchError,
    LaunchForgottenError,
    RunGoneError,
)
from scheduler.engine.frames import parse_time
from scheduler.engine.protocol import (
    LABEL_EXEC,
    LABEL_INSTALLATION,
    LABEL_JOB,
    Capacity,
    EngineFacts,
    EventKind,
    Handle,
    ImageInfo,
    Labelled,
    LaunchSpec,
    OwnRun,
    RunState,
    RunStatus,
    container_name,
)

_NEVER = "0001-01-01"  # how the engine writes a time that has not come
_STATES = {
    "created": RunState.CREATED,
    "running": RunState.RUNNING,
    "paused": RunState.RUNNING,
    "restarting": RunState.RUNNING,
    "exited": RunState.ENDED,
    "dead": RunState.ENDED,
    "removing": RunState.ENDED,
}


class DockerEngine:
    """One Docker Engine. Making it touches nothing; the engine may come later.

    Args:
        base_url: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host[:port][/path/of/docker.sock]``.
        installation: which of several Timeballs on the engine this is; it sees only its own containers.
        tls: the files for TLS, for ``tcp://``.
        ssh_config: an ssh configuration file instead of the user's own, for ``ssh://``.
        limits: how long the engine is waited for.

    Raises:
        SettingsError: the address is of no such kind.
    """

    def __init__(
        self,
        base_url: str,
        *,
        installation: str,
        tls: TlsFiles | None = None,
        ssh_config: Path | None = None,
        limits: EngineTimeLimits | None = None,
    ) -> None:
        self._api = DockerApi(base_url, tls=tls, ssh_config=ssh_config, limits=limits or EngineTimeLimits())
        self._installation = installation
        self._memory_deaths = MemoryDeaths(self._api)

    async def ping(self) -> None:
        """Return when the engine answers."""
        # Not through the SDK: its threads may all be held by calls that hang.
        try:
            response = await self._api.open("GET", "/_ping", params={}, idle_seconds=self._api.limits.control)
            async with response:
                await response.read()
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineUnavailableError(f"the connection to the engine broke: {error}") from error

    async def now(self) -> datetime:
        """The present moment by the engine's clock."""
        info = await self._quick(lambda client: client.info())
        return parse_time(info["SystemTime"])

    async def capacity(self) -> Capacity:
        """What the engine's machine has in all."""
        info = await self._quick(lambda client: client.info())
        return Capacity(cpus=float(info["NCPU"]), memory_bytes=int(info["MemTotal"]))

    async def examine(self) -> EngineFacts:
        """What there is to know of the engine; its own clock stands in its description."""
        info = await self._quick(lambda client: client.info())
        version = await self._quick(lambda client: client.version())
        filters = {"label": LABEL_INSTALLATION}
        found = await self._quick(lambda client: client.containers(all=True, filters=filters))
        return EngineFacts(
            version=str(version.get("Version", "?")),
            api_version=str(version.get("ApiVersion", "?")),
            time=_time(info.get("SystemTime")),
            capacity=Capacity(cpus=float(info["NCPU"]), memory_bytes=int(info["MemTotal"])),
            containers=[
                Labelled(
                    name=(entry.get("Names") or [entry["Id"][:12]])[0].lstrip("/"),
                    installation=entry["Labels"][LABEL_INSTALLATION],
                    exec_id=entry["Labels"].get(LABEL_EXEC, ""),
                )
                for entry in found
                if LABEL_HOLDER not in entry["Labels"]
            ],
        )

    async def ensure_image(
        self, image: str, policy: PullPolicy, progress: Callable[[str], None], *, login: Login | None = None
    ) -> ImageInfo:
        """See to it that the image is on the engine."""
        return await ensure_image(self._api, image, policy, progress, login)

    async def create(self, spec: LaunchSpec) -> Handle:
        """Make the container, or find the one that an earlier call made."""
        name = container_name(spec.exec_id)
        try:
            made = await self._api.quick(lambda client: self._create(client, name, spec))
        except EngineRefusedError as error:
            if error.in_trouble:
                raise EngineTroubledError(str(error)) from error
            if error.status == 409:
                return await self._holder(name, spec.exec_id, error)
            if error.status == 404:
                raise ImageMissingError(f"no container from image {spec.image}: {error.words}") from error
            raise LaunchError(f"the engine makes no such container: {_blamed(error)}") from error
        return Handle(str(made["Id"]), name, secret_directories=len(spec.secret_directories))

    async def find(self, exec_id: str) -> Handle | None:
        """The container of an exec, if there is one."""
        name = container_name(exec_id)
        found = await self._inspect(name)
        if found is not None and self._is_ours(found, exec_id):
            return _handle(found["Id"], found["Config"]["Labels"], name)
        # Somebody may have renamed it: what it is labelled with cannot be changed.
        label = [f"{LABEL_INSTALLATION}={self._installation}", f"{LABEL_EXEC}={exec_id}"]
        renamed = await self._quick(lambda client: client.containers(all=True, filters={"label": label}))
        return _handle(renamed[0]["Id"], renamed[0]["Labels"], name) if renamed else None

    async def attach(self, handle: Handle) -> DockerFrameStream:
        """Listen to a container's output from now on.

        The engine subscribes the connection to the container's pipes before it sends the headers that this
        waits for (moby, daemon/attach.go), so a start that follows loses nothing.
        """
        params = {"stream": "1", "stdout": "1", "stderr": "1"}
        return await self._frames("POST", handle, "attach", params, timestamps=False)

    async def start(self, handle: Handle, files: Sequence[SecretFile] = ()) -> None:
        """Start a container's main process; one that runs already is left alone."""
        async with in_place(self._api, handle, files, installation=self._installation):
            await self._start(handle)

    async def _start(self, handle: Handle) -> None:
        try:
            await self._api.starting(lambda client: client.start(handle.engine_id))
        except EngineRefusedError as error:
            if error.in_trouble:
                raise EngineTroubledError(str(error)) from error
            if error.status == 404 and "no such container" in error.words.lower():
                raise _gone(handle) from error
            if error.names_forgotten_process:
                raise LaunchForgottenError(
                    "the engine died while it started the container, and does not know what became of its process, "
                    f"which may still run on its machine: {error.words}"
                ) from error
            raise LaunchError(f"the container cannot be started: {_blamed(error)}") from error

    async def inspect(self, handle: Handle) -> RunStatus:
        """What the engine knows about a container; `RunState.GONE` if that is nothing."""
        found = await self._inspect(handle.engine_id)
        if found is None:
            return RunStatus(state=RunState.GONE)
        status = _status(found)
        if await self._memory_deaths.killed(handle.engine_id, status) != status.oom_killed:
            status = replace(status, oom_killed=True)
        return status

    async def logs(
        self, handle: Handle, *, follow: bool, timestamps: bool = False, since: datetime | None = None
    ) -> DockerFrameStream:
        """A container's output from the beginning, as the engine has kept it."""
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
        """SIGTERM, and SIGKILL after the grace period; return when it ended.

        The engine itself keeps to the grace period, so that a stop begun is finished even if the daemon dies;
        and it is waited for without a thread, as it may take long.
        """
        self._memory_deaths.note_killed_by_us(handle.engine_id)
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
        """SIGKILL at once. One that has ended or is gone is fine."""
        self._memory_deaths.note_killed_by_us(handle.engine_id)
        try:
            await self._api.quick(lambda client: client.kill(handle.engine_id))
        except EngineRefusedError as error:
            if error.status not in (404, 409):  # 409: it does not run
                raise EngineTroubledError(str(error)) from error

    async def remove(self, handle: Handle) -> None:
        """Remove a container with its anonymous volumes, running or not. One that is gone is fine."""
        if is_holder(handle):
            await remove_with_volume(self._api, handle)
            return
        try:
            for name in holder_names(handle):  # else its volumes would be in use, and stay
                await remove_holder(self._api, name)
            await self._api.removing(
                lambda client: client.remove_container(handle.engine_id, v=True, force=True)
            )
        except EngineRefusedError as error:
            if error.status not in (404, 409):  # 409: someone is removing it just now
                raise EngineTroubledError(str(error)) from error

    async def events(self) -> DockerEventStream:
        """Subscribe to what happens to this installation's containers, from now on."""
        filters = {
            "type": ["container"],
            "event": [kind.value for kind in EventKind],
            "label": [f"{LABEL_INSTALLATION}={self._installation}"],
        }
        try:
            response = await self._api.open("GET", "/events", params={"filters": json.dumps(filters)})
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error
        return DockerEventStream(response)

    async def list_ours(self) -> list[OwnRun]:
        """All containers of this installation, in whatever state."""
        label = f"{LABEL_INSTALLATION}={self._installation}"
        found = await self._quick(lambda client: client.containers(all=True, filters={"label": label}))
        return [
            OwnRun(
                exec_id=entry["Labels"][LABEL_EXEC],
                handle=_handle(entry["Id"], entry["Labels"], container_name(entry["Labels"][LABEL_EXEC])),
                state=_STATES.get(entry["State"], RunState.RUNNING),
            )
            for entry in found
            if LABEL_EXEC in entry["Labels"]
        ] + lonely_holders(found)

    async def close(self) -> None:
        """Let go of connections and threads; containers go on."""
        await self._api.close()

    async def _quick(self, call: Callable[[APIClient], Any]) -> Any:
        """What the SDK answers to a call that an engine in order does not refuse."""
        try:
            return await self._api.quick(call)
        except EngineRefusedError as error:
            raise EngineTroubledError(str(error)) from error

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = await self._api.quick(lambda client: client.inspect_container(name))
        except EngineRefusedError as error:
            if error.status == 404:
                return None
            raise EngineTroubledError(str(error)) from error
        return found

    async def _holder(self, name: str, exec_id: str, refusal: EngineRefusedError) -> Handle:
        """The container for whose sake another of its name was refused, if it is the exec's own."""
        found = await self._inspect(name)
        if found is None:
            # An earlier call that was given up is still at work on a slow engine: the name is held before
            # there is a container to be seen.
            raise EngineTroubledError(
                f"the engine holds the container's name, but shows no container yet: {refusal.words}"
            ) from refusal
        if not self._is_ours(found, exec_id):
            raise LaunchError(f"the engine makes no such container: {refusal.words}") from refusal
        return _handle(found["Id"], found["Config"]["Labels"], name)

    def _is_ours(self, found: dict[str, Any], exec_id: str) -> bool:
        labels = found["Config"].get("Labels") or {}
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

    def _create(self, client: APIClient, name: str, spec: LaunchSpec) -> dict[str, Any]:
        labels = {
            **spec.labels,
            LABEL_EXEC: spec.exec_id,
            LABEL_JOB: str(spec.job_id),
            LABEL_INSTALLATION: self._installation,
        }
        if spec.secret_directories:
            labels[LABEL_DIRECTORIES] = str(len(spec.secret_directories))
        made: dict[str, Any] = client.create_container(
            spec.image,
            command=list(spec.command) if spec.command is not None else None,
            name=name,
            environment=dict(spec.environment),
            user=spec.user,
            labels=labels,
            host_config=host_config(client, spec),
        )
        return made


def _status(found: dict[str, Any]) -> RunStatus:
    told = found["State"]
    state = _STATES.get(told["Status"], RunState.RUNNING)
    started_at = _time(told.get("StartedAt"))
    finished_at = _time(told.get("FinishedAt"))
    if state is RunState.ENDED and started_at is None:  # is being removed without ever having run
        state = RunState.GONE
    ended = state is RunState.ENDED
    if ended and started_at and finished_at:
        # The engine notes the start after the fact: a process of a millisecond ends before it 'started'.
        started_at = min(started_at, finished_at)
    return RunStatus(
        state=state,
        exit_code=told["ExitCode"] if ended else None,
        oom_killed=bool(told.get("OOMKilled")),
        started_at=started_at,
        finished_at=finished_at if ended else None,
        error=readable(told.get("Error") or "") or None,
        image_id=found.get("Image"),
        environment=dict(entry.partition("=")[::2] for entry in found.get("Config", {}).get("Env") or ()),
    )


def _time(text: str | None) -> datetime | None:
    if not text or text.startswith(_NEVER):
        return None
    return parse_time(text).astimezone(UTC)


def _blamed(error: EngineRefusedError) -> str:
    """The engine's words, after what is behind them where they do not say it to everybody."""
    return f"the engine's disk is full: {error.words}" if is_disk_full(error.words) else error.words


def _handle(engine_id: str, labels: Mapping[str, str], name: str) -> Handle:
    count = labels.get(LABEL_DIRECTORIES, "")
    return Handle(str(engine_id), name, secret_directories=int(count) if count.isdecimal() else 0)


def _gone(handle: Handle) -> RunGoneError:
    return RunGoneError(f"container {handle.name} is not on the engine (any more)")
