"""One POST request to a receiver that may be down, slow or hostile, limited in time, size and reach.

Every attempt opens a new connection to one host. The host's addresses are checked when its name is resolved, and
again when the socket is created, so no unchecked address is ever connected to. Proxies, cookies and credentials of
the environment are not used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from scheduler.notify.addresses import AddressPolicy, RefusedAddressError, Target
from scheduler.notify.outcome import DeliveryOutcome, failure

#: Maximum duration of an attempt in seconds, including redirects.
TIME_LIMIT: Final = 30.0
MOST_REDIRECTS: Final = 3
#: Redirects that keep the method, and the two older ones, which are used with the same meaning.
REDIRECTS: Final = frozenset({301, 302, 307, 308})
#: Number of bytes of the response body that are read, so that a normal receiver can finish; they are ignored.
READ_BYTES: Final = 4096
READ_SECONDS: Final = 2.0
#: Names are resolved on separate threads, so that a name server that hangs delays nothing else.
LOOKUP_THREADS: Final = 16


class _Guard(AbstractResolver):
    """Resolves one host, lets only allowed addresses through, and remembers the last refusal."""

    def __init__(self, target: Target, policy: AddressPolicy, threads: ThreadPoolExecutor) -> None:
        self._target = target
        self._policy = policy
        self._threads = threads
        self.refused: RefusedAddressError | None = None

    def _passes(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
            self._policy.check_address(parsed, self._target.host, self._target.port)
        except RefusedAddressError as error:
            self.refused = error
            return False
        return True

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The host's addresses that deliveries may go to.

        Raises:
            OSError: it has no address, or none that is allowed.
        """
        loop = asyncio.get_running_loop()
        resolved = await loop.run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        results: list[ResolveResult] = [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": port,
                "family": kind,
                "proto": proto,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for kind, _, proto, _, address in resolved
            if self._passes(str(address[0]))
        ]
        if not results:
            raise OSError(None, f"{host} has no address that deliveries may go to")
        return results

    async def close(self) -> None:
        """Nothing to close: the threads are shared."""

    def make_socket(self, info: Any) -> socket.socket:
        """Create the socket for one address after checking it once more, right before the connection."""
        family, kind, proto, _, address = info
        if not self._passes(str(address[0])):
            raise OSError(None, f"{address[0]} is not an address that deliveries may go to")
        return socket.socket(family=family, type=kind, proto=proto)


class Sender(Protocol):
    """Sends webhook deliveries; `Poster` is the real one.

    Attributes:
        policy: which addresses deliveries may go to.
    """

    policy: AddressPolicy

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryOutcome:
        """Send a body once; raises only when cancelled."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class Poster:
    """Sends webhook deliveries over HTTP.

    Args:
        policy: which addresses deliveries may go to.
        user_agent: the User-Agent header of the requests.
        time_limit: maximum duration of an attempt in seconds.
    """

    def __init__(self, policy: AddressPolicy, *, user_agent: str, time_limit: float = TIME_LIMIT) -> None:
        self.policy = policy
        self._time_limit = time_limit
        self._headers = {"Content-Type": "application/json", "User-Agent": user_agent}
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="hook-lookup")
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Release the threads; a lookup that hangs is left to finish by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryOutcome:
        """Send a body once, following redirects; raises only when cancelled."""
        try:
            async with asyncio.timeout(self._time_limit):
                return await self._follow(url, {**self._headers, **headers}, body)
        except TimeoutError:
            return failure(f"no answer within {self._time_limit:g} s")

    async def _follow(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryOutcome:
        at, via = url, ""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                target = self.policy.check_url(at)
            except RefusedAddressError as error:
                return failure(f"{via}refused: {error}")
            outcome, location = await self._send(target, headers, body, via)
            if location is None:
                return outcome
            at = str(location)
            via = f"redirected to {at[:200]}: "
            if target.scheme == "https" and location.scheme == "http":
                return failure(
                    f"{via}not followed: the target is not encrypted", status_code=outcome.status_code
                )
        return failure(f"more than {MOST_REDIRECTS} redirects", status_code=outcome.status_code)

    async def _send(
        self, target: Target, headers: Mapping[str, str], body: bytes, via: str
    ) -> tuple[DeliveryOutcome, URL | None]:
        """Send one request; returns its outcome, and the target if it was redirected."""
        guard = _Guard(target, self.policy, self._threads)
        if target.scheme == "https" and self._tls is None:
            # Loads all authorities that the system trusts, which takes too long for the event loop.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        connector = aiohttp.TCPConnector(
            resolver=guard,
            socket_factory=guard.make_socket,
            ssl=self._tls or True,
            use_dns_cache=False,
            force_close=True,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        try:
            async with (
                session,
                session.post(target.url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return await _judge(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
                raise
            if guard.refused is not None:
                return failure(f"{via}refused: {guard.refused}"), None
            return failure(via + _explain(error, target)), None


async def _judge(response: aiohttp.ClientResponse) -> tuple[DeliveryOutcome, URL | None]:
    status = response.status
    if status in REDIRECTS and (location := response.headers.get("Location")):
        response.close()
        return DeliveryOutcome(delivered=False, status_code=status), response.url.join(URL(location))
    await _read_beginning(response)
    if 200 <= status < 300:
        return DeliveryOutcome(delivered=True, status_code=status), None
    shown = f"HTTP {status} {response.reason or ''}"
    if status == 410:
        return failure(
            f"{shown}: the receiver does not want any more deliveries", status_code=status, is_final=True
        ), None
    wish = response.headers.get("Retry-After", "")
    outcome = failure(shown, status_code=status)
    if wish.isascii() and wish.isdigit() and len(wish) < 7:
        outcome = DeliveryOutcome(delivered=False, status_code=status, error=outcome.error, wish=float(wish))
    return outcome, None


async def _read_beginning(response: aiohttp.ClientResponse) -> None:
    """Read the beginning of a response body; only the status decides the outcome, so errors are ignored."""
    left = READ_BYTES
    with suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            while left > 0 and (chunk := await response.content.read(left)):
                left -= len(chunk)
    response.close()


def _explain(error: Exception, target: Target) -> str:
    where = f"{target.host}:{target.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {target.host} cannot be resolved: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {where} is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        known = error.os_error.errno
        return f"cannot connect to {where}: {os.strerror(known) if known else error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{where} closed the connection without an answer"
    return f"{where}: {type(error).__name__}: {error}"
