"""Following real runs: while they print, across the daemon's death, by many at once."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from tests.bench.figures import resident_megabytes
from tests.lab.timeball import Timeball, script

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

Found = list[tuple[str, str, Any]]


async def events(
    timeball: Timeball, path: str, session: aiohttp.ClientSession | None = None, **headers: str
) -> AsyncIterator[tuple[str, str, Any]]:
    """The events of a log as (kind, id, data), until the connection ends; comments are passed over."""
    assert timeball._session is not None
    session = session or timeball._session
    sent = {"Accept": "text/event-stream", **timeball._session.headers, **headers}
    timeout = aiohttp.ClientTimeout(total=120)
    async with session.get(timeball._url + path, headers=sent, timeout=timeout) as response:
        assert response.status == 200, await response.text()
        kind, number = "message", ""
        async for raw in response.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "id":
                number = value
            elif name == "data":
                yield kind, number, json.loads(value)
                kind = "message"


async def test_a_run_is_followed_across_the_daemons_death(own_timeball: Timeball) -> None:
    """Each line once, in order, with the times and streams that a read gives; then the outcome."""
    timeball = own_timeball
    job = await timeball.create(
        script(
            "i=0; while [ $i -lt 80 ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.1; done; exit 4"
        )
    )
    one = await timeball.trigger(job)
    path = f"/v1/jobs/{job}/execs/{one}/logs"
    seen: Found = []
    for ends_with in (20, 60):
        headers = {"Last-Event-ID": seen[-1][1]} if seen else {}
        with suppress(aiohttp.ClientError):
            async for event in events(timeball, path, **headers):
                seen.append(event)
                if len(seen) == ends_with:
                    await (timeball.kill() if ends_with == 20 else timeball.terminate())
                    await timeball.start()
                    break
    seen += [event async for event in events(timeball, path, **{"Last-Event-ID": seen[-1][1]})]
    kind, _, outcome = seen.pop()
    assert (kind, outcome["status"], outcome["exit_code"]) == ("end", "F", 4)
    assert {kind for kind, _, _ in seen} == {"message"}
    lines = [data for _, _, data in seen]
    assert lines == await timeball.logs(job, one)
    for stream, word in (("stdout", "out"), ("stderr", "err")):
        assert [line["message"] for line in lines if line["stream"] == stream] == [
            f"{word} {number}" for number in range(1, 81)
        ]


async def test_a_daemon_that_is_asked_to_stop_lets_its_followers_go(own_timeball: Timeball) -> None:
    """It does not wait for them; their connections end in order."""
    timeball = own_timeball
    job = await timeball.create(script("while :; do echo tick; sleep 0.1; done"))
    one = await timeball.trigger(job)
    path = f"/v1/jobs/{job}/execs/{one}/logs"
    begun = asyncio.Event()

    async def listen() -> None:
        async for _ in events(timeball, path):
            begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    status, seconds = await timeball.terminate()
    assert status == 0
    assert seconds < 60
    await task


async def test_a_thousand_followers_of_one_run_are_one_reader(own_timeball: Timeball) -> None:
    """All get every line, and the daemon's memory stays what it was, but for the connections."""
    timeball = own_timeball
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))
    job = await timeball.create(script("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; seq $((i * 20)); done"))
    one = await timeball.trigger(job)
    path = f"/v1/jobs/{job}/execs/{one}/logs"

    async def listen(session: aiohttp.ClientSession) -> list[str]:
        return [
            data["message"] if kind == "message" else kind
            async for kind, _, data in events(timeball, path, session)
        ]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        found = await asyncio.gather(*(listen(session) for _ in range(1_000)))
    expected = [str(number) for i in range(1, 11) for number in range(1, 20 * i + 1)]
    assert [number for number, messages in enumerate(found) if messages[2:] != [*expected, "end"]] == []
    assert resident_megabytes(timeball.pid) < 300
