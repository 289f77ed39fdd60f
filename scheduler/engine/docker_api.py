"""The connection to one Docker Engine: the SDK for control calls, aiohttp for everything that takes long.

Handles addresses, TLS, API versions and timeouts, but knows nothing about containers. Every failure is raised as
`EngineUnavailableError` (the result is unknown) or `EngineRefusedError` (the engine answered with an error).
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import aiohttp
import requests
from docker.api.client import APIClient
from docker.constants import DEFAULT_DOCKER_API_VERSION, MINIMUM_DOCKER_API_VERSION
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from requests.adapters import HTTPAdapter

from scheduler.domain.errors import SettingsError
from scheduler.engine.docker_calls import CallPool
from scheduler.engine.docker_profile import profile_of
from scheduler.engine.docker_transport import UnixAdapter
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.errors import EngineTimeoutError, EngineUnavailableError, EngineUnreachableError
from scheduler.engine.profile import EngineProfile
from scheduler.engine.ssh import SshTunnel

T = TypeVar("T")

QUICK_CALLS = 8
"""Concurrent calls such as inspect and create; each takes the engine a few milliseconds."""
START_CALLS = 16
"""Concurrent starts; each takes the engine about 200 ms."""
REMOVE_CALLS = 8
"""Concurrent removals; separate from the starts, so that neither waits for the other."""
READ_BYTES = 256 * 1024
"""Size of a stream's read-ahead buffer before the engine has to wait."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files for mutual TLS with a ``tcp://`` engine.

    Attributes:
        ca: the authority that signed the engine's certificate.
        certificate: Timeball's own certificate.
        key: the private key of Timeball's certificate.
    """

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTimeLimits:
    """Timeouts of an engine, in seconds.

    Attributes:
        control: for the answer to a call; after that, the engine counts as hanging.
        connect: for a connection.
        pull_idle: for progress of a pull; the caller limits its total duration.
    """

    control: float = 60
    connect: float = 15
    pull_idle: float = 120


class DockerApi:
    """One engine, accessed with the SDK in threads and with aiohttp on the event loop.

    Creating the object does not connect; the engine may be unavailable, and every call tries again.

    Args:
        base_url: ``unix:///path``, ``tcp://host:port`` or ``ssh://user@host``.
        tls: the files for TLS; without them, ``tcp://`` is not encrypted.
        ssh_config: an ssh configuration file to use instead of the user's.
        limits: timeouts.

    Raises:
        SettingsError: the address is invalid.
    """

    def __init__(
        self, base_url: str, *, tls: TlsFiles | None, ssh_config: Path | None, limits: EngineTimeLimits
    ) -> None:
        scheme, _, rest = base_url.partition("://")
        if scheme not in ("unix", "tcp", "http", "https", "ssh") or not rest.strip("/"):
            raise SettingsError(
                f"engine address {base_url!r}: use unix:///path/to/docker.sock, tcp://host:port or ssh://user@host"
            )
        self.base_url = base_url
        self.limits = limits
        self._tls = tls
        self._tunnel: SshTunnel | None = None
        self._socket_path: str | None = None
        self._sdk_url = base_url
        if scheme == "ssh":
            self._tunnel = SshTunnel(base_url, config=ssh_config, seconds=limits.connect)
            self._socket_path = self._tunnel.socket_path
            self._sdk_url = f"unix://{self._socket_path}"
        elif scheme == "unix":
            self._socket_path = f"/{rest.lstrip('/')}"
        secure = scheme == "https" or tls is not None
        self._http_url = (
            "http://engine" if self._socket_path else f"http{'s' if secure else ''}://{rest}".rstrip("/")
        )
        self._lock = threading.Lock()
        self._client: APIClient | None = None
        self._version: str | None = None
        self._profile: EngineProfile | None = None
        self._session: aiohttp.ClientSession | None = None
        self._quick = CallPool("engine-quick", size=QUICK_CALLS, seconds=limits.control)
        self._starts = CallPool("engine-start", size=START_CALLS, seconds=limits.control)
        # Whoever asks for a start has a thread for it at once: until then, it is certain that nothing was asked.
        self._start_turns = asyncio.Semaphore(START_CALLS)
        self._removals = CallPool("engine-remove", size=REMOVE_CALLS, seconds=limits.control)

    async def quick(self, call: Callable[[APIClient], T]) -> T:
        """The result of an SDK call that takes the engine a few milliseconds.

        Raises:
            EngineUnavailableError: there is no answer.
            EngineRefusedError: the engine answered with an error.
        """
        return await self._run(self._quick, call)

    async def profile(self) -> EngineProfile:
        """What kind of engine answers; read again after every lost connection.

        Raises:
            EngineUnavailableError: there is no answer.
            EngineRefusedError: the engine answered with an error.
        """
        if self._version is not None and self._profile is not None:
            return self._profile
        return await self.quick(lambda _: self._known_profile())

    async def starting(
        self, call: Callable[[APIClient], T], *, before: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """Like `quick`, for starts; `before` is awaited when the call's turn has come and the engine has answered.

        Raises:
            EngineUnreachableError: the call certainly did not reach the engine.
        """
        async with self._start_turns:
            if self._version is None:
                await self.quick(lambda client: client.api_version)
            if before is not None:
                await before()
            return await self._run(self._starts, lambda client: self._afresh(client, call))

    async def removing(self, call: Callable[[APIClient], T]) -> T:
        """Like `quick`, for removals."""
        return await self._run(self._removals, call)

    async def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        answer_seconds: float | None = None,
        idle_seconds: float | None = None,
        data: AsyncIterator[bytes] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request whose response takes long or never ends; returns when the response begins.

        Args:
            method: the HTTP method.
            path: the path below the API's version, with a leading slash.
            params: the query.
            headers: further headers.
            answer_seconds: how long to wait for the beginning of the response; default: `limits.control`.
            idle_seconds: how long to wait for more of the body; default: no limit.
            data: the request's body, in pieces.

        Raises:
            EngineUnavailableError: there is no answer.
            EngineRefusedError: the answer is an error (including 304).
        """
        version = self._version
        if version is None:
            version = await self.quick(lambda client: client.api_version)
        if self._tunnel is not None:
            await self._tunnel.ready()
        session = self._session_here()
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self.limits.connect, sock_read=idle_seconds)
        try:
            async with asyncio.timeout(answer_seconds or self.limits.control):
                response = await session.request(
                    method,
                    f"{self._http_url}/v{version}{path}",
                    params=params,
                    headers=headers,
                    data=data,
                    timeout=limits,
                    allow_redirects=False,
                )
                if response.status < 300 or response.status == 101:
                    return response
                transport = response.connection.transport if response.connection is not None else None
                async with response:
                    body = await response.text(errors="replace")
                if data is not None and transport is not None:
                    # An engine need not have read all of a body that it refuses; a connection with unsent data would
                    # remain half closed.
                    transport.abort()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            self._give_up(error)
        raise EngineRefusedError(response.status, _message(body))

    async def close(self) -> None:
        """Close all connections; calls still running in threads are left to finish by themselves."""
        for pool in (self._quick, self._starts, self._removals):
            pool.close()
        if self._session is not None:
            await self._session.close()
            # aiohttp only schedules the end of its connections, which must not outlive the event loop.
            for _ in range(3):
                await asyncio.sleep(0)
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
        if self._tunnel is not None:
            await self._tunnel.close()

    async def _run(self, pool: CallPool, call: Callable[[APIClient], T]) -> T:
        if self._tunnel is not None:
            await self._tunnel.ready()
        try:
            return await pool.run(lambda: call(self._ready_client()))
        except APIError as error:
            status = error.status_code or 500
            raise EngineRefusedError(status, str(error.explanation or error)) from error
        # ValueError: something other than a Docker Engine answered.
        except (requests.RequestException, DockerException, OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> NoReturn:
        # An engine may come back with another version, so ask for it again.
        self._version = None
        cause = _innermost(error)
        words = "no answer in time" if isinstance(error, TimeoutError) and not str(error) else _words(cause)
        if self._tunnel is not None and self._tunnel.last_words:
            words = f"{words} (ssh: {self._tunnel.last_words})"
        # These come from connecting alone: over a connection, the system reports others.
        refused = isinstance(cause, ConnectionRefusedError | FileNotFoundError | PermissionError)
        if refused or isinstance(error, requests.ConnectTimeout):
            raise EngineUnreachableError(
                f"the engine at {self.base_url} cannot be reached: {words}"
            ) from error
        if isinstance(error, TimeoutError | requests.Timeout):
            raise EngineTimeoutError(f"the engine at {self.base_url} does not answer: {words}") from error
        raise EngineUnavailableError(f"the engine at {self.base_url} cannot be reached: {words}") from error

    def _ready_client(self) -> APIClient:
        """The SDK's client with the negotiated version; runs in a thread."""
        client = self._client
        if client is not None and self._version is not None:
            return client
        # The SDK would ask for the version in its constructor, with its own proxies and timeouts.
        with self._build_client(MINIMUM_DOCKER_API_VERSION, self.limits.control / 2) as probe:
            offered = probe.version(api_version=False)
        version = min(str(offered["ApiVersion"]), DEFAULT_DOCKER_API_VERSION, key=_version_number)
        with self._build_client(version, self.limits.control / 2) as probe:
            profile = profile_of(offered, probe.info())
        with self._lock:
            if self._client is None or self._client.api_version != version:
                self._client = self._build_client(version, self.limits.control)
            self._version, self._profile = version, profile
            return self._client

    def _known_profile(self) -> EngineProfile:
        assert self._profile is not None  # noqa: S101 - read before any call
        return self._profile

    def _afresh(self, client: APIClient, call: Callable[[APIClient], T]) -> T:
        """The result of a call over a connection of its own; runs in a thread.

        Over one that was kept open, it would be unknown whether an engine that has died meanwhile got the call.
        """
        with self._build_client(client.api_version, self.limits.control) as fresh:
            return call(fresh)

    def _build_client(self, version: str, seconds: float) -> APIClient:
        tls = self._tls
        config = TLSConfig((str(tls.certificate), str(tls.key)), str(tls.ca), verify=True) if tls else False
        pool = QUICK_CALLS + START_CALLS + REMOVE_CALLS
        client = APIClient(
            self._sdk_url,
            version,
            timeout=seconds,  # type: ignore[arg-type] # requests accepts a float, which the stubs do not declare
            tls=config,
            max_pool_size=pool,
        )
        # The address is explicit: neither proxies nor a .netrc file of the environment may affect it.
        client.trust_env = False
        if self._socket_path is not None:
            adapter = UnixAdapter(f"http+unix://{self._socket_path}", math.ceil(seconds), max_pool_size=pool)
            client.mount("http+docker://", adapter)
        else:
            client.mount(self._http_url, HTTPAdapter(pool_connections=1, pool_maxsize=pool))
        return client

    def _session_here(self) -> aiohttp.ClientSession:
        """The session for streams, created on the event loop that uses it."""
        if self._session is None or self._session.closed:
            connector: aiohttp.BaseConnector
            # No limit for connections: every attached container uses one for as long as it runs.
            if self._socket_path is not None:
                connector = aiohttp.UnixConnector(self._socket_path, limit=0)
            else:
                connector = aiohttp.TCPConnector(limit=0, ssl=self._ssl_context() or True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                read_bufsize=READ_BYTES,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _ssl_context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.create_default_context(cafile=str(self._tls.ca))
        context.load_cert_chain(str(self._tls.certificate), str(self._tls.key))
        return context


def _version_number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:500]


def _innermost(error: BaseException) -> BaseException:
    """The first cause of an error, such as the system's, instead of that of requests."""
    seen: BaseException = error
    while True:
        cause = (
            seen.__cause__
            or seen.__context__
            or next((a for a in seen.args if isinstance(a, Exception)), None)
        )
        if cause is None or cause is seen:
            return seen
        seen = cause


def _words(error: BaseException) -> str:
    """The message of an error, such as 'No such file or directory'."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
