"""A door before a real image registry, which can be ill in the ways that registries are."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import uuid
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from docker.api.client import APIClient
from multidict import CIMultiDict

from tests.lab.engine import busybox_tar
from tests.lab.ports import registry_port


def push_fresh_image(client: APIClient, registry: str) -> str:
    """Put an image into a registry none of whose layers any engine has; answers its name there."""
    made = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=made, mode="a") as tar:
        entry = tarfile.TarInfo("fresh")
        entry.size = 200_000
        tar.addfile(entry, io.BytesIO(os.urandom(entry.size)))
    repository, tag = f"{registry}/timeball-test/fresh", uuid.uuid4().hex
    client.import_image_from_data(made.getvalue(), repository=repository, tag=tag)
    for line in client.push(repository, tag, stream=True, decode=True):
        assert "error" not in line, line
    client.remove_image(f"{repository}:{tag}")
    return f"{repository}:{tag}"


class RegistryDoor:
    """Listens on a free loopback port and passes requests on to a registry.

    Args:
        registry: ``host:port`` of the real one.

    Attributes:
        broken: answer this many requests for manifests with 503, then be well.
        denying: answer as a registry that does not know who asks.
        stalls: let this many layers come to a stop after their first bytes, then be well.
        requests: how many requests for manifests have come.
    """

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self._ending = asyncio.Event()
        self.broken = 0
        self.denying = False
        self.stalls = 0
        self.requests = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def image(self, name: str) -> str:
        """An image of the real registry as it is called at this door."""
        return name.replace(self._registry, f"127.0.0.1:{self.port}")

    async def open(self) -> None:
        """Listen; on the same port as before, if it listened before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._ending.clear()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port or registry_port())
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Listen no more: connections are refused."""
        self._ending.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.denying:
            return web.json_response(
                {"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]},
                status=403,
            )
        if "/manifests/" in request.path:
            self.requests += 1
            if self.broken > 0:
                self.broken -= 1
                return web.Response(status=503, text="the registry is ill")
        # Engines send one Accept header for each kind of manifest that they know.
        kept = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name in ("Accept", "Range")
        )
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, f"http://{self._registry}{request.path}", headers=kept) as far,
        ):
            body = await far.read()
            answer = web.StreamResponse(status=far.status)
            for name in (
                "Content-Type",
                "Docker-Content-Digest",
                "Docker-Distribution-Api-Version",
                "Content-Length",
            ):
                if name in far.headers:
                    answer.headers[name] = far.headers[name]
            await answer.prepare(request)
            if "/blobs/" in request.path and len(body) > 100_000 and self.stalls > 0:
                self.stalls -= 1
                await answer.write(body[:50_000])
                await self._ending.wait()
                return answer
            if request.method != "HEAD":
                await answer.write(body)
            return answer
