"""Puts secrets into a container's memory before it is started, on any local or remote Docker Engine.

Each directory of secret files is an anonymous volume of the local driver with a tmpfs: it is never written to a disk,
and is removed with its container. The engine mounts it only while it is in use, so anything put into it before the
start would be lost. A second container, the holder, which is never started, uses the same volume: the files are sent
to it as a tar archive whose end is held back until the run's own container has been started.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import structlog
from docker.api.client import APIClient
from docker.errors import NotFound
from docker.types import DriverConfig, Mount

from scheduler.domain.secret_files import (
    ARCHIVE_END,
    DIRECTORY_BYTES,
    SecretFile,
    archive_of,
    directories_of,
    is_within,
)
from scheduler.engine.docker_api import DockerApi
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.errors import (
    EngineTroubledError,
    EngineUnavailableError,
    LaunchError,
)
from scheduler.engine.frames import parse_time
from scheduler.engine.types import LABEL_EXEC, LABEL_INSTALLATION, Handle, OwnRun, RunState, container_name
from scheduler.process.faults import Point, point

log = structlog.get_logger()

#: Label of a run's container: its number of directories with secret files.
LABEL_DIRECTORIES: Final = "io.timeball.secret-directories"
#: Label of a holder: the run that it belongs to. A holder does not have the labels of a run's container.
LABEL_HOLDER: Final = "io.timeball.holder"
#: Seconds since 1970: a time in 2001.
LONG_AGO: Final = 10**9
_HOLDER: Final = "-holder-"
_TARGET: Final = "/timeball-secrets"
_OPTIONS: Final = f"size={DIRECTORY_BYTES},mode=0755,nosuid,nodev,noexec"
_VOLUME: Final = {"type": "tmpfs", "device": "tmpfs", "o": _OPTIONS}
#: Seconds between checks whether the files have arrived: the first and the longest pause.
_FIRST_LOOK, _LONGEST_LOOK = 0.005, 0.1


def secret_mounts(directories: Sequence[str], *, named_for: str | None = None) -> list[Mount]:
    """The mounts for the secret files of a run's container.

    Args:
        directories: where its process finds them.
        named_for: the container's name, if the volumes were made by `make_volumes`.
    """
    if named_for is not None:
        names = volume_names(named_for, len(directories))
        return [
            Mount(target, name, type="volume", no_copy=True)
            for target, name in zip(directories, names, strict=True)
        ]
    driver = DriverConfig("local", _VOLUME)
    return [Mount(target, None, type="volume", no_copy=True, driver_config=driver) for target in directories]


def volume_names(container: str, count: int) -> list[str]:
    """The names of a container's volumes, for an engine that does not make anonymous ones in memory."""
    return [f"{container}-secrets-{number}" for number in range(count)]


def make_volumes(client: APIClient, container: str, count: int) -> None:
    """Make a container's volumes; those that exist stay. Runs in a thread.

    The owner is given, because Podman otherwise gives a volume to the user of the first container that uses it.
    """
    for name in volume_names(container, count):
        client.create_volume(name, driver="local", driver_opts=_VOLUME | {"o": f"{_OPTIONS},uid=0,gid=0"})


def remove_volumes(client: APIClient, handle: Handle) -> None:
    """Remove the volumes that `make_volumes` has made; missing ones are not an error. Runs in a thread."""
    for name in volume_names(handle.name, handle.secret_directories):
        with suppress(NotFound):
            client.remove_volume(name)


def holder_names(handle: Handle) -> list[str]:
    """The names of the holders that a container may have, one per directory."""
    return [f"{handle.name}{_HOLDER}{number}" for number in range(handle.secret_directories)]


@asynccontextmanager
async def in_place(
    api: DockerApi, handle: Handle, files: Sequence[SecretFile], *, installation: str
) -> AsyncIterator[None]:
    """Context in which the files are in the container's memory; they stay there if it is started in this context.

    Raises:
        LaunchError: the engine refuses the files.
        EngineUnavailableError: the engine does not answer, or not in time.
    """
    if not files:
        yield
        return
    try:
        container: dict[str, Any] = await api.quick(lambda client: client.inspect_container(handle.engine_id))
        volumes = {mount["Destination"]: mount.get("Name") for mount in container["Mounts"]}
        async with AsyncExitStack() as stack:
            for number, directory in enumerate(directories_of(file.path for file in files)):
                volume = volumes.get(directory)
                if volume is None:
                    raise LaunchError(f"the container has no in-memory directory at {directory}")
                name = f"{handle.name}{_HOLDER}{number}"
                labels = {
                    LABEL_INSTALLATION: installation,
                    LABEL_HOLDER: str(container["Config"]["Labels"][LABEL_EXEC]),
                }
                await stack.enter_async_context(
                    _holder(api, name, str(container["Image"]), str(volume), labels)
                )
                await stack.enter_async_context(_filled(api, name, handle, files, directory))
            point(Point.SECRETS_PLACED)
            yield
    except EngineRefusedError as error:
        if error.in_trouble:
            raise EngineTroubledError(str(error)) from error
        raise LaunchError(f"the secret files cannot be put into the container: {error.words}") from error


@asynccontextmanager
async def _holder(
    api: DockerApi, name: str, image: str, volume: str, labels: dict[str, str]
) -> AsyncIterator[None]:
    """A container with the volume that is never started; replaces one that a dead daemon left behind."""

    def make(client: APIClient) -> None:
        config = client.create_host_config(
            mounts=[Mount(_TARGET, volume, type="volume", no_copy=True)],
            network_mode="none",
            read_only=True,  # files outside the volume would be refused instead of being written to the engine's disk
        )
        client.create_container(image, command=["true"], name=name, labels=labels, host_config=config)

    await remove_holder(api, name)
    await api.quick(make)
    try:
        yield
    finally:
        try:
            await remove_holder(api, name)
        except (
            EngineRefusedError,
            EngineUnavailableError,
        ) as error:  # it is removed with the run's container
            log.info("engine.holder_left", name=name, error=str(error))


async def remove_holder(api: DockerApi, name: str) -> None:
    """Remove a holder; a missing holder is not an error."""
    try:
        await api.removing(lambda client: client.remove_container(name, v=False, force=True))
    except EngineRefusedError as error:
        if error.status != 404:
            raise


def is_holder(handle: Handle) -> bool:
    """Whether a handle, as created by `lonely_holders`, refers to a holder."""
    return _HOLDER in handle.name


def lonely_holders(containers: Sequence[dict[str, Any]]) -> list[OwnRun]:
    """The holders whose run's container no longer exists, so that they would not be removed with it.

    Args:
        containers: all containers of this installation, as listed by the engine.
    """
    execs = {entry["Labels"].get(LABEL_EXEC) for entry in containers}
    return [
        OwnRun(exec_id, Handle(entry["Id"], f"{container_name(exec_id)}{_HOLDER}"), RunState.CREATED)
        for entry in containers
        if (exec_id := entry["Labels"].get(LABEL_HOLDER)) is not None and exec_id not in execs
    ]


async def remove_with_volume(api: DockerApi, handle: Handle) -> None:
    """Remove a lonely holder and its volume, which is not removed with any other container."""

    def remove(client: APIClient) -> None:
        holder = client.inspect_container(handle.engine_id)
        client.remove_container(handle.engine_id, force=True)
        for mount in holder["Mounts"]:
            client.remove_volume(mount["Name"])

    try:
        await api.removing(remove)
    except EngineRefusedError as error:
        if error.status not in (404, 409):
            raise EngineTroubledError(str(error)) from error


@asynccontextmanager
async def _filled(
    api: DockerApi, holder: str, handle: Handle, files: Sequence[SecretFile], directory: str
) -> AsyncIterator[None]:
    """Context in which the files of a directory are in its volume, while the tar archive has not ended yet."""
    # In the past, so that no file has this time before it is complete, and different for each archive.
    mtime = random.randrange(1, LONG_AGO)  # noqa: S311 - not used for security
    archive, may_end = archive_of(files, directory, mtime=mtime), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield archive
        await may_end.wait()
        yield ARCHIVE_END

    async def send() -> None:
        limit = api.limits.control * 3  # as long as a start may take, and a bit more
        path = f"/containers/{holder}/archive"
        headers = {"Content-Type": "application/x-tar"}
        response = await api.open(
            "PUT", path, params={"path": _TARGET}, headers=headers, answer_seconds=limit, data=body()
        )
        # Newer engines answer before they have read the end of the archive. A connection that is closed while that is
        # being written would remain half closed.
        await response.wait_for_close()

    last = [file.path for file in files if is_within(file.path, directory)][-1]
    sending = asyncio.create_task(send())
    try:
        # An archive is unpacked file by file, and the time of each file is set last (moby, pkg/archive).
        if not await _came(api, handle, last, mtime, sending):
            # An engine that cannot unpack an archive reports it after reading all of it (seen on Engine 20.10).
            may_end.set()
            await sending
            raise EngineTroubledError("the engine did not accept the secret files in time")
        yield
        may_end.set()
        with suppress(
            EngineRefusedError, EngineUnavailableError
        ):  # the files are in place, whatever happens to the rest of the request
            await sending
    finally:
        sending.cancel()
        await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.exception()


async def _came(api: DockerApi, handle: Handle, path: str, mtime: int, sending: asyncio.Task[None]) -> bool:
    """Whether the last file of an archive arrives, complete and in time."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + api.limits.control / 4, _FIRST_LOOK
    while await _changed_at(api, handle, path) != mtime:
        if sending.done() or loop.time() > deadline:
            return False
        await asyncio.wait((sending,), timeout=pause)
        pause = min(pause * 2, _LONGEST_LOOK)
    return True


async def _changed_at(api: DockerApi, handle: Handle, path: str) -> int | None:
    """When a file in the container was changed, in seconds since 1970; None if it does not exist."""
    try:
        response = await api.open("HEAD", f"/containers/{handle.engine_id}/archive", params={"path": path})
    except EngineRefusedError as error:
        if error.status == 404:
            return None
        raise
    response.release()
    try:
        file_facts = json.loads(base64.b64decode(response.headers["X-Docker-Container-Path-Stat"]))
        return int(parse_time(file_facts["mtime"]).timestamp())
    except (KeyError, ValueError, TypeError) as error:
        raise EngineTroubledError(f"the engine does not report the state of {path}: {error}") from error
