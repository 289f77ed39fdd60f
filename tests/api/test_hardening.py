"""What every answer carries, for which hosts the daemon answers, and whom it takes a request to come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web

from api.http.keys import SERVICE, TOKENS
from api.http.proxies import Trust, trust_of
from api.server.app import build_app
from api.server.runner import ConnectionLimits, ServerRunner
from scheduler.store import database
from tests.api.conftest import PATIENCE, Api, World, check_problem
from tests.lab.loop_time import LoopTime

NETWORKS = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"))
PROXIED = Trust(None, NETWORKS)


@asynccontextmanager
async def serving(
    world: World, *, trust: Trust | None = None, body_seconds: int = 30, **limits: Any
) -> AsyncIterator[int]:
    """The world's API on a server of its own; gives its port."""
    app = world.api.client.server.app
    app = build_app(app[SERVICE], app[TOKENS], max_body_bytes=100_000, trust=trust, body_seconds=body_seconds)
    runner = ServerRunner(app, limits=ConnectionLimits(**limits), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Line:
    """A connection on which bytes are sent as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        """Send bytes."""
        self.writer.write(raw)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def head(self) -> bytes:
        """An answer's head."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    """A connection to the port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Line(reader, writer)
    writer.close()


def get(path: str, api: Api, *headers: str) -> bytes:
    """A GET request as bytes, after which the connection is closed."""
    lines = [f"GET {path} HTTP/1.1", f"Authorization: Token {api.token}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("method", "path", "token"),
    [
        ("GET", "/v1/jobs", ""),
        ("GET", "/healthz", None),
        ("GET", "/metrics", None),
        ("GET", "/v1/jobs", None),
        ("GET", "/nothing", ""),
        ("PUT", "/v1/jobs", ""),
        ("OPTIONS", "/v1/jobs", ""),
        ("GET", "/v1/jobs?page=x", ""),
        ("GET", "/v1/jobs/%ff", ""),
    ],
)
async def test_every_answer_carries_what_keeps_browsers_careful(
    api: Api, method: str, path: str, token: str | None
):
    """And nothing that lets other sites in, or tells the server's version."""
    answer = await api.send(method, path, token=token, headers={"Origin": "https://evil.example"})
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Server"] == "Timeball"
    assert len(headers["X-Request-Id"]) == 32
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert "Strict-Transport-Security" not in headers
    assert not set("0123456789") & set(headers["Server"])


async def test_what_is_no_request_is_answered_as_carefully(world: World):
    """Also where no handler is reached."""
    async with serving(world) as port, line(port) as one:
        await one.send(b"GET /\xff HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n")
        answer = await one.rest()
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"X-Content-Type-Options: nosniff" in answer
    assert b"Server: Timeball\r\n" in answer
    assert b"Python" not in answer


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("abc-1.2:3_x", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ("ä", False),
        ("<b>", False),
        ("", False),
    ],
)
async def test_a_request_keeps_its_id_if_that_is_one(api: Api, given: str, is_taken: bool):
    """Else it gets one of its own."""
    answer = await api.get("/healthz", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) is is_taken


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8601", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8601", 200),
        ("localhost.", 200),
        ("timeball.example.com", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example:8601", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.2", 421),
        ("localhost@evil.example", 421),
        ("localhost:x", 421),
        ("", 421),
    ],
)
async def test_a_name_that_was_made_to_point_here_is_not_answered_for(world: World, host: str, status: int):
    """On a loopback address only its own names and the configured ones are; without a Host there is no browser."""
    trust = trust_of("127.0.0.1", ["Timeball.Example.com"], ())
    async with serving(world, trust=trust) as port:
        async with line(port) as one:
            await one.send(get("/v1/jobs", world.api, f"Host: {host}"))
            answer = await one.rest()
        async with line(port) as one:
            await one.send(get("/v1/jobs", world.api).replace(b"HTTP/1.1", b"HTTP/1.0"))
            without = await one.rest()
    assert answer.split()[1] == str(status).encode(), answer
    assert without.split()[1] == b"200"


@pytest.mark.parametrize(
    ("listening_on", "allowed", "host", "answers"),
    [
        ("0.0.0.0", [], "any.example", True),  # noqa: S104
        ("192.0.2.1", [], "any.example", True),
        ("192.0.2.1", ["a.example"], "any.example", False),
        ("192.0.2.1", ["a.example"], "192.0.2.1:80", True),
        ("127.0.0.1", ["*"], "any.example", True),
        ("::1", [], "any.example", False),
        ("localhost", [], "any.example", False),
        ("127.0.0.2", [], "127.0.0.2", True),
    ],
)
def test_which_hosts_are_answered_for(listening_on: str, allowed: list[str], host: str, answers: bool):
    """Any, where the daemon can be reached from elsewhere and no names are configured."""
    assert trust_of(listening_on, allowed, ()).answers_for(host) is answers


@pytest.mark.parametrize(
    ("headers", "remote"),
    [
        ({}, "127.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.7"}, "192.0.2.7"),
        ({"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}, "192.0.2.7"),
        ({"X-Forwarded-For": "198.51.100.1, 192.0.2.7, 10.1.2.3"}, "192.0.2.7"),
        ({"X-Forwarded-For": "192.0.2.7:4711"}, "192.0.2.7"),
        ({"X-Forwarded-For": "2001:db8::1"}, "2001:db8::1"),
        ({"X-Forwarded-For": "[2001:db8::1]"}, "2001:db8::1"),
        ({"X-Forwarded-For": "unknown"}, "127.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.7, x y"}, "127.0.0.1"),
        ({"X-Forwarded-For": "10.0.0.1, 10.0.0.2"}, "10.0.0.1"),
    ],
)
async def test_a_trusted_proxy_says_who_asks(world: World, headers: dict[str, str], remote: str):
    """The last address that is not a proxy's own; what stood before it anybody can have written."""
    given = [f"{name}: {value}" for name, value in headers.items()]
    async with serving(world, trust=PROXIED) as port, line(port) as one:
        request = get("/v1/jobs", world.api, "Host: x", *given).replace(world.api.token.encode(), b"wrong")
        await one.send(request)
        assert b" 401 " in await one.head()
    [entry] = (await world.api.get("/v1/audit")).body["results"]
    assert entry["remote"] == remote


async def test_who_is_no_trusted_proxy_says_nothing(world: World):
    """Neither address nor scheme nor host."""
    headers = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
    }
    await world.api.get("/v1/jobs", token="tbl_wrong", headers=headers)
    [entry] = (await world.api.get("/v1/audit")).body["results"]
    assert entry["remote"] == "127.0.0.1"
    for number in range(2):
        await world.api.create(str(number))
    answer = await world.api.get("/v1/jobs?page_size=1", headers=headers)
    assert answer.body["next"].startswith("http://127.0.0.1:")


async def test_addresses_of_pages_are_those_that_the_client_asked_for(world: World):
    """Behind a trusted proxy that ends TLS they are its own."""
    for number in range(2):
        await world.api.create(str(number))
    more = ("X-Forwarded-Proto: https", "X-Forwarded-Host: timeball.example.com")
    async with serving(world, trust=PROXIED) as port, line(port) as one:
        await one.send(get("/v1/jobs?page_size=1", world.api, "Host: x", *more))
        assert b'"next":"https://timeball.example.com/v1/jobs?page_size=1&page=2"' in await one.rest()


@pytest.mark.parametrize(
    "path",
    ["/v1/../healthz", "/v1/jobs/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/v1/jobs/..%2f..%2f..%2fadmin.token",
     "//etc/passwd", "/%2e%2e/admin.token", "/v1/users/..%2f..%2fadmin.token", "/v1/jobs/1/execs/..%2f../logs",
     "/v1/tokens/%00", "/v1/jobs/1%0d%0aX-Injected:%20yes"],
)  # fmt: skip
async def test_no_path_leads_out(world: World, path: str):
    """Whatever it climbs over, it finds nothing; and nothing of it gets into a header."""
    async with serving(world) as port, line(port) as one:
        await one.send(get(path, world.api, "Host: x"))
        head = await one.head()
    assert head.split()[1] in {b"404", b"400"} or path == "/v1/../healthz"
    assert b"\r\nX-Injected" not in head


async def test_what_a_job_is_called_gets_into_no_header(api: Api):
    """Line breaks are refused where they could, and what is made names its place by numbers."""
    for name in ("a\r\nX-Injected: yes", "a\nb", "a\u2028b"):
        answer = await api.post("/v1/jobs", {"name": name, "docker_image_repo": "busybox"})
        assert answer.status == 400
        check_problem(answer)
        assert "X-Injected" not in answer.headers
    for namespace in ("../x", "a\r\nb", "a/b", "..", ".hidden"):
        body = {"name": "a", "docker_image_repo": "busybox", "namespace": namespace}
        assert (await api.post("/v1/jobs", body)).status == 400


async def test_a_head_that_does_not_end_is_not_waited_for(world: World, loop_time: LoopTime):
    """Byte after byte gains nothing: the time is that of the whole head; a connection without a word is closed."""
    async with serving(world, head_seconds=1000) as port, line(port) as slow, line(port) as silent:
        await slow.send(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(4):
            loop_time.let_pass(240)
            await slow.send(b"X: y\r\n")
            await _until_let_in(port)  # what was sent before has been looked at then
        assert not slow.reader.at_eof()
        assert not silent.reader.at_eof()
        loop_time.let_pass(240)
        assert b" 408 " in await slow.rest()
        assert await silent.rest() == b""


async def test_a_connection_in_use_is_not_cut(world: World, loop_time: LoopTime):
    """One request after the other on it, longer in all than a head may take."""
    async with serving(world, head_seconds=1000) as port, line(port) as one:
        for _ in range(4):
            await one.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in await one.head()
            await one.reader.readexactly(len(b'{"status": "ok"}'))
            loop_time.let_pass(700)


async def test_a_body_that_does_not_come_is_not_waited_for(
    world: World, loop_time: LoopTime, monkeypatch: pytest.MonkeyPatch
):
    """408 as a problem, and nothing is made."""
    monkeypatch.setattr(database, "ANSWER_SECONDS", 1e9)  # its time passes as well
    monkeypatch.setattr(database, "HUNG_SECONDS", 1e9)
    async with serving(world, body_seconds=1000) as port, line(port) as one:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Token {world.api.token}\r\n"
        await one.send((head + "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{").encode())
        answering = asyncio.create_task(one.reader.readuntil(b"\r\n\r\n"))
        while not answering.done():  # its time passes from when the handler waits for it
            loop_time.let_pass(1000)
            await _until_let_in(port)
        assert b" 408 " in answering.result()
    assert (await world.api.get("/v1/jobs")).body["count"] == 0


async def test_so_many_connections_and_no_more(world: World):
    """In all, and of one address; a place that is given up can be taken."""
    for limits in ({"total": 3}, {"per_address": 3}):
        async with serving(world, **limits) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for reader, writer in held:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
            async with line(port) as one:
                answer = await one.rest()
                assert answer == b"" or b" 503 " in answer
            held.pop()[1].close()
            await _until_let_in(port)
            for _, writer in held:
                writer.close()


async def test_proxies_have_as_many_as_all_together(world: World):
    """For what comes from one address there comes from many."""
    async with serving(world, per_address=1, proxies=PROXIED.is_proxy) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await _until_let_in(port)
        for _, writer in held:
            writer.close()


async def _until_let_in(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            async with line(port) as one:
                await one.send(b"GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n")
                if b" 200 " in await one.rest():
                    return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "head",
    [b"X: " + b"y" * 20_000, b"\r\n".join(b"X%d: y" % n for n in range(1_000)), b"X" * 20_000 + b": y"],
)
async def test_a_head_that_is_too_large_is_refused(world: World, head: bytes):
    """One header, their number, and a name."""
    async with serving(world) as port, line(port) as one:
        await one.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        assert (await one.rest()).split()[1][:1] == b"4"


async def test_who_takes_in_nothing_of_an_answer_is_cut_off(world: World):
    """So that no handler waits for it for ever."""
    large = "x" * 60_000
    job = await world.api.create(runtime_vars={"A": large})
    async with serving(world, stalled_seconds=0.3) as port, line(port) as one:
        one.reader._transport.pause_reading()
        request = get(f"/v1/jobs/{job['id']}", world.api, "Host: x").replace(b"Connection: close\r\n", b"")
        for _ in range(400):
            one.writer.write(request)
        with pytest.raises(ConnectionError):  # noqa: PT012 - it comes when it comes
            async with asyncio.timeout(PATIENCE):
                while True:
                    one.writer.write(request)
                    await one.writer.drain()
                    await asyncio.sleep(0.05)
