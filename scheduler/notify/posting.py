"""One POST to a receiver that may be down, slow, hostile or not what it says: bounded in time, size and reach.

Every connection is made anew for one host, whose addresses are checked when its name is resolved and, whatever
resolved it, where the socket is made: nothing is ever connected to that was not checked. No proxy, cookie or
credential of the environment is used.
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
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from scheduler.notify.addresses import AddressPolicy, RefusedAddressError, Target
from scheduler.notify.outcome import DeliveryOutcome, failure

#: Seconds that an attempt may take in all, redirects included.
TIME_LIMIT: Final = 30.0
MOST_REDIRECTS: Final = 3
#: Redirects that keep the method, and the two older ones that are meant so by whoever moves a receiver.
REDIRECTS: Final = frozenset({301, 302, 307, 308})
#: Of an answer's body, so much is read, so that an ordinary receiver can finish its answer; it is not looked at.
READ_BYTES: Final = 4096
READ_SECONDS: Final = 2.0
#: Names are looked up on threads of their own: a name server that hangs holds up nothing else.
LOOKUP_THREADS: Final = 16


class _Guard(AbstractResolver):
    """Finds the addresses of one host, lets only checked ones through, and remembers what it refused."""

    def __init__(self, target: Target, policy: AddressPolicy, threads: ThreadPoolExecutor) -> None:
        self._target = target
        self._policy = policy
        self._threads = threads
        self.refused: RefusedAddressError | None = None

    def _passes(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
            self._policy.check_address(found, self._target.host, self._target.port)
        except RefusedAddressError as error:
            self.refused = error
            return False
        return True

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Those of the host's addresses that a delivery may go to.

        Raises:
            OSError: it has none, or none of these.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
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
            for kind, _, proto, _, address in found
            if self._passes(str(address[0]))
        ]
        if not results:
            raise OSError(None, f"{host} has no address that deliveries may go to")
        return results

    async def close(self) -> None:
        """Nothing to close: the threads are shared."""

    def make_socket(self, info: Any) -> socket.socket:
        """The socket for one address, checked once more: the last door before the network."""
        family, kind, proto, _, address = info
        if not self._passes(str(address[0])):
            raise OSError(None, f"{address[0]} is no address that deliveries may go to")
        return socket.socket(family=family, type=kind, proto=proto)


class Poster:
    """Makes attempts.

    Args:
        policy: which addresses deliveries may go to.
        user_agent: what the attempts call themselves.
        time_limit: seconds that one may take in all.
    """

    def __init__(self, policy: AddressPolicy, *, user_agent: str, time_limit: float = TIME_LIMIT) -> None:
        self.policy = policy
        self._time_limit = time_limit
        self._headers = {"Content-Type": "application/json", "User-Agent": user_agent}
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="hook-lookup")
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Let go of the threads; a lookup that hangs is left to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryOutcome:
        """Send a body once, following redirects; never raises but for cancellation."""
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
                return failure(f"{via}not followed, for it is not encrypted", status_code=outcome.status_code)
        return failure(f"more than {MOST_REDIRECTS} redirects", status_code=outcome.status_code)

    async def _send(
        self, target: Target, headers: Mapping[str, str], body: bytes, via: str
    ) -> tuple[DeliveryOutcome, URL | None]:
        """One request; answers what came of it, and where it is redirected to."""
        guard = _Guard(target, self.policy, self._threads)
        if target.scheme == "https" and self._tls is None:
            # Reads every authority that the system trusts: too long for the event loop.
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
    await _read_some(response)
    if 200 <= status < 300:
        return DeliveryOutcome(delivered=True, status_code=status), None
    shown = f"HTTP {status} {response.reason or ''}"
    if status == 410:
        return failure(f"{shown}: the receiver wants no more", status_code=status, is_final=True), None
    wish = response.headers.get("Retry-After", "")
    found = failure(shown, status_code=status)
    if wish.isascii() and wish.isdigit() and len(wish) < 7:
        found = DeliveryOutcome(delivered=False, status_code=status, error=found.error, wish=float(wish))
    return found, None


async def _read_some(response: aiohttp.ClientResponse) -> None:
    """Read the beginning of an answer's body; its status has decided already, whatever comes."""
    left = READ_BYTES
    with suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            while left > 0 and (some := await response.content.read(left)):
                left -= len(some)
    response.close()


def _explain(error: Exception, target: Target) -> str:
    where = f"{target.host}:{target.port}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {target.host} cannot be resolved: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate of {where} is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        known = error.os_error.errno
        return f"no connection to {where}: {os.strerror(known) if known else error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{where} closed the connection without an answer"
    return f"{where}: {type(error).__name__}: {error}"
