"""Ensures that an image is on a Docker Engine, and summarises the progress of its pull in a few readable lines.

Pulls are read with asyncio instead of the SDK, which waits forever if a registry stalls.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
from docker import auth
from docker.api.client import APIClient
from docker.credentials.errors import StoreError
from docker.errors import DockerException
from docker.utils import parse_repository_tag

from scheduler.domain.images import full_name
from scheduler.domain.job import PullPolicy
from scheduler.domain.registry import Login
from scheduler.engine.docker_api import DockerApi
from scheduler.engine.docker_words import (
    EngineRefusedError,
    is_denial,
    is_disk_full,
    is_passing_registry_trouble,
    readable,
)
from scheduler.engine.errors import EngineTroubledError, EngineUnavailableError, ImagePullError
from scheduler.engine.types import ImageInfo

PROGRESS_SECONDS = 2.0
"""Minimum interval between lines about the progress of a pull."""
MEGABYTE = 1_000_000


async def ensure_image(
    api: DockerApi,
    image: str,
    policy: PullPolicy,
    progress: Callable[[str], None],
    login: Login | None = None,
) -> ImageInfo:
    """Like `Engine.ensure_image`, on this engine."""
    if policy is not PullPolicy.ALWAYS:
        found_image = await _find_image(api, image, pulled=False)
        if found_image is not None:
            return found_image
        if policy is PullPolicy.NEVER:
            raise ImagePullError(
                f"image {image} is not on the engine, and the pull policy 'never' does not allow pulling it; "
                "load the image on the engine, or use 'if_not_present'"
            )
    await _pull(api, image, progress, login)
    found_image = await _find_image(api, image, pulled=True)
    if found_image is None:
        raise ImagePullError(f"image {image} was pulled, but is not on the engine; it may have been removed")
    return found_image


class PullProgress:
    """Summarises the engine's many messages about the layers of a pull in occasional lines.

    Pure, except for the clock it is given, which counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at = clock()
        self._layers: dict[str, tuple[int, int]] = {}  # by layer: bytes downloaded, total bytes
        self._done: set[str] = set()
        self._moved = True
        self._last: dict[str, tuple[str, int]] = {}  # by layer: its status and the bytes downloaded

    @property
    def has_moved(self) -> bool:
        """Whether the pull has made progress since the last check; messages without change do not count."""
        moved, self._moved = self._moved, False
        return moved

    def feed(self, message: dict[str, Any]) -> str | None:
        """A line to show after this message of the engine, or None.

        Raises:
            ImagePullError: the message reports that the pull failed.
        """
        if error := message.get("error"):
            raise ImagePullError(readable(str(error)))
        status = str(message.get("status", ""))
        layer = message.get("id")
        self._watch(str(layer), status, message.get("progressDetail") or {})
        if layer is None or status.startswith("Pulling from"):
            return status or None
        self._note(str(layer), status, message.get("progressDetail") or {})
        now = self._clock()
        if now - self._told_at < PROGRESS_SECONDS:
            return None
        self._told_at = now
        here = sum(here for here, _ in self._layers.values())
        total = sum(total for _, total in self._layers.values())
        return (
            f"{len(self._done)} of {len(self._layers)} layers done, "
            f"{here / MEGABYTE:.1f} of {total / MEGABYTE:.1f} MB downloaded"
        )

    def _watch(self, layer: str, status: str, detail: dict[str, Any]) -> None:
        if status.startswith(("Retrying", "Waiting")):  # repeated every second
            return
        now = (status, int(detail.get("current") or 0))
        if self._last.get(layer) != now:
            self._last[layer] = now
            self._moved = True

    def _note(self, layer: str, status: str, detail: dict[str, Any]) -> None:
        here, total = self._layers.get(layer, (0, 0))
        if status == "Downloading":
            here, total = int(detail.get("current") or here), int(detail.get("total") or total)
        elif status in ("Download complete", "Pull complete", "Already exists", "Extracting"):
            here = total
        if status in ("Pull complete", "Already exists"):
            self._done.add(layer)
        self._layers[layer] = (here, total)


async def _find_image(api: DockerApi, image: str, *, pulled: bool) -> ImageInfo | None:
    def inspect(client: APIClient) -> dict[str, Any]:
        image_facts: dict[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call] # stubs are vague
        return image_facts

    try:
        image_facts = await api.quick(inspect)
    except EngineRefusedError as error:
        if error.status == 404:
            return None
        raise ImagePullError(f"image {image}: {error.words}") from error
    image_id = str(image_facts["Id"])
    repository, _ = parse_repository_tag(image)
    known = (entry.split("@", 1) for entry in image_facts.get("RepoDigests") or () if "@" in entry)
    # An image that was tagged with another name has a digest only in the repository of its first name.
    same = (digest for name, digest in known if full_name(name) == full_name(repository))
    digest = next(same, None)
    return ImageInfo(
        digest=digest or image_id, image_id=image_id, pulled=pulled, has_digest=digest is not None
    )


async def _pull(
    api: DockerApi, image: str, progress: Callable[[str], None], login: Login | None = None
) -> None:
    repository, tag = parse_repository_tag(image)
    headers = await api.quick(lambda _: _credentials(repository) if login is None else _header(login))
    idle = api.limits.pull_idle
    try:
        response = await api.open(
            "POST",
            "/images/create",
            params={"fromImage": repository, "tag": tag or "latest"},
            headers=headers,
            answer_seconds=idle,
            idle_seconds=idle,
        )
        async with response:
            await _follow(response, progress, idle)
    except EngineRefusedError as error:
        if error.status == 503:
            raise EngineTroubledError(str(error)) from error
        raise _failed(image, error.words) from error
    except ImagePullError as error:
        raise _failed(image, str(error)) from error
    except (aiohttp.ClientError, OSError, EngineUnavailableError) as error:
        # The engine is silent while its registry is; whether it answers a ping shows which of them is at fault.
        await api.quick(lambda client: client.ping())
        if not _is_timeout(error):
            raise EngineUnavailableError(f"the engine aborted the pull of {image}: {error}") from error
        raise ImagePullError(
            f"image {image} cannot be pulled: no progress for {idle:g} s", has_stalled=True
        ) from error


def _failed(image: str, words: str) -> ImagePullError:
    if is_disk_full(words):
        words = f"the engine's disk is full: {words}"
    return ImagePullError(
        f"image {image} cannot be pulled: {words}",
        is_transient=is_passing_registry_trouble(words),
        is_denied=is_denial(words),
    )


async def _follow(response: aiohttp.ClientResponse, progress: Callable[[str], None], idle: float) -> None:
    state = PullProgress()
    rest = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(idle) as limit:
        while data := await response.content.readany():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip() and (text := state.feed(json.loads(line))):
                    progress(text)
            if state.has_moved:
                limit.reschedule(loop.time() + idle)


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)


def _header(login: Login) -> dict[str, str]:
    """The header with our own credential; it goes to the engine, and from there only to the registry."""
    credential = {
        "username": login.username,
        "password": login.password,
        "serveraddress": login.server_address,
    }
    return {"X-Registry-Auth": auth.encode_header(credential).decode("ascii")}


def _credentials(repository: str) -> dict[str, str]:
    """The header with the credential that ``docker login`` has stored for the registry; read for every pull."""
    try:
        registry, _ = auth.resolve_repository_name(repository)
        credential = auth.resolve_authconfig(auth.load_config(), registry)
    except (DockerException, StoreError) as error:
        raise ImagePullError(f"credentials for the registry of {repository}: {error}") from error
    return {"X-Registry-Auth": auth.encode_header(credential).decode("ascii")} if credential else {}
