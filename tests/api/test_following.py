"""Following a run over server-sent events: past, live, resumed, ended, dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse

from api.http import log_events as answers
from api.http.keys import SERVICE
from scheduler.domain.errors import UnavailableError
from scheduler.domain.stream import Stream
from scheduler.logs import followers as limits
from scheduler.logs import live
from scheduler.store import execs
from scheduler.usecases.logs import LogUseCases
from tests.api.conftest import PATIENCE, Api, World, until
from tests.lab.fake_engine import FakeEngine
from tests.lab.fake_programs import FakeProcess, waits


@dataclass
class Event:
    """One event as a browser sees it."""

    kind: str = "message"
    id: str = ""
    data: Any = None
    comments: list[str] = field(default_factory=list)


class Reader:
    """A client that follows."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def next(self) -> Event | None:
        """The next event, or comment; None when the connection has ended."""
        event = Event()
        async with asyncio.timeout(PATIENCE):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if line == "":
                    if event.data is not None or event.comments:
                        return event
                elif name == "event":
                    event.kind = value
                elif name == "id":
                    event.id = value
                elif name == "data":
                    event.data = json.loads(value)
                elif name == "":
                    event.comments.append(value)
        return None

    async def rest(self) -> list[Event]:
        """All events until the connection ends."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found

    async def messages(self, count: int) -> list[str]:
        """The messages of the next so many lines."""
        found: list[str] = []
        while len(found) < count:
            event = await self.next()
            assert event is not None, found
            if event.kind == "message" and event.data is not None:
                found.append(event.data["message"])
        return found


@asynccontextmanager
async def follow(api: Api, path: str, **headers: str) -> AsyncIterator[Reader]:
    """Follow, and leave afterwards."""
    sent = {"Authorization": f"Token {api.token}", "Accept": "text/event-stream"} | headers
    async with api.client.get(path, headers=sent) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Reader(response)


def log_cases(api: Api) -> LogUseCases:
    """The use cases behind the API."""
    app = api.client.app
    assert app is not None
    return app[SERVICE].logs


class Talker:
    """A program that prints what it is told to."""

    def __init__(self) -> None:
        self.process: FakeProcess | None = None
        self.leave = asyncio.Event()
        self.started = asyncio.Event()

    async def __call__(self, process: FakeProcess) -> int:
        """Run."""
        self.process = process
        self.started.set()
        await self.leave.wait()
        return 3

    def say(self, text: bytes) -> None:
        """Print."""
        assert self.process is not None
        self.process.out(text)


@pytest.fixture
def talker(engine: FakeEngine) -> Talker:
    """The program of the command `talk`."""
    talker = Talker()
    engine.programs["talk",] = talker
    return talker


async def talking(api: Api, talker: Talker) -> tuple[dict[str, Any], str]:
    """A run of the talker, and the path of its log."""
    job = await api.create(command="talk")
    one = await api.trigger(job["id"])
    async with asyncio.timeout(PATIENCE):
        await talker.started.wait()
    return one, f"/v1/jobs/{job['id']}/execs/{one['id']}/logs"


async def test_past_lines_come_first_then_live_ones_then_the_outcome(api: Api, talker: Talker):
    """Each once, in order, and the connection ends."""
    _, path = await talking(api, talker)
    talker.say(b"one\ntwo\n")
    async with follow(api, path + "?stream=stdout") as reader:
        assert await reader.messages(2) == ["one", "two"]
        talker.say(b"three\nfo")
        assert await reader.messages(1) == ["three"]
        talker.say(b"ur\nfive")
        assert await reader.messages(1) == ["four"]
        talker.leave.set()
        assert await reader.messages(1) == ["five"]
        [end] = await reader.rest()
    assert end.kind == "end"
    assert end.data["status"] == "F"
    assert (end.data["exit_code"], end.data["fail_reason"]) == (3, "exit_code")
    assert set(end.data) == {"status", "exit_code", "fail_reason", "error", "ended_at"}


async def test_what_is_followed_is_what_is_read(api: Api, talker: Talker):
    """The same objects, and each event's id is a cursor."""
    _, path = await talking(api, talker)
    async with follow(api, path) as reader:
        for n in range(20):
            talker.say(b"line %d\n" % n)
            await asyncio.sleep(0.01)
        talker.leave.set()
        events = await reader.rest()
    lines = (await api.get(path)).body
    assert [event.data for event in events[:-1]] == lines
    for event in (events[0], events[7], events[-2]):
        rest = lines[lines.index(event.data) + 1 :]
        assert (await api.get(f"{path}?cursor={event.id}")).body == rest


@pytest.mark.parametrize("way", ["header", "cursor"])
async def test_it_resumes_after_the_last_event(api: Api, talker: Talker, way: str):
    """Also after a log's end, and with an address that says otherwise."""
    _, path = await talking(api, talker)
    talker.say(b"1\n2\n3\n")
    await until(lambda: api.get(path + "?stream=stdout"), lambda answer: len(answer.body) == 3)
    async with follow(api, path + "?stream=stdout&tail=2") as reader:
        assert await reader.messages(1) == ["2"]
        event = await reader.next()
        assert event is not None
    talker.say(b"4\n")
    if way == "header":
        again = follow(api, path + "?stream=stdout&tail=2", **{"Last-Event-ID": event.id})
    else:
        again = follow(api, f"{path}?stream=stdout&cursor={event.id}")
    async with again as reader:
        assert await reader.messages(1) == ["4"]
        talker.say(b"5\n")
        talker.leave.set()
        events = await reader.rest()
    assert [one.data.get("message") for one in events] == ["5", None]
    async with follow(api, path, **{"Last-Event-ID": events[0].id}) as reader:
        assert [one.kind for one in await reader.rest()] == ["end"]


async def test_a_run_that_waits_is_followed_from_its_beginning(api: Api, engine: FakeEngine, talker: Talker):
    """Its system lines come as they are written; a run stopped while it waits ends."""
    job = await api.create(command="talk", concurrency_policy="queue")
    await api.trigger(job["id"])
    waiting = await api.trigger(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{waiting['id']}/logs"
    async with follow(api, path) as reader:
        talker.leave.set()
        messages = await reader.messages(2)
        [end] = [one for one in await reader.rest() if one.kind == "end"]
    assert messages[1] == "Start running!"
    assert end.data["status"] == "F"
    engine.programs["hang",] = waits()
    job = await api.create("other", command="hang", concurrency_policy="queue")
    await api.trigger(job["id"])
    waiting = await api.trigger(job["id"])
    async with follow(api, f"/v1/jobs/{job['id']}/execs/{waiting['id']}/logs") as reader:
        await api.post(f"/v1/jobs/{job['id']}/execs/{waiting['id']}/stop")
        events = await reader.rest()
    assert (events[-1].kind, events[-1].data["status"]) == ("end", "C")


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("stream=stdout,stderr", "text/event-stream", ["hello", "world", "careful"]),
        ("stream=stderr&follow=true", "application/json", ["careful"]),
        ("follow=true&contains=or", "*/*", ["world"]),
        ("follow=yes&regex=^h.*o$&format=json", "*/*", ["hello"]),
        ("follow=true&tail=1", "*/*", ["careful"]),
        ("start_time=9999999999", "text/event-stream, */*;q=0.1", []),
    ],
)
async def test_a_run_that_has_ended_is_told_and_that_is_all(
    api: Api, query: str, accept: str, expected: list[str]
):
    """The lines asked for, and the end."""
    job = await api.create(command="greet")
    one = await api.run(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}/logs?{query}"
    async with follow(api, path, Accept=accept) as reader:
        events = await reader.rest()
    assert [event.data["message"] for event in events[:-1]] == expected
    assert (events[-1].kind, events[-1].data["status"], events[-1].data["exit_code"]) == ("end", "S", 0)


async def test_filters_apply_to_what_comes_live_too(api: Api, talker: Talker):
    """Text, pattern, stream, and colours left out."""
    _, path = await talking(api, talker)
    async with (
        follow(api, path + "?contains=keep") as some,
        follow(api, path + "?regex=^%5Cd%24&ansi=strip&stream=stdout") as others,
        follow(api, path + "?stream=stderr") as errors,
    ):
        await api.get(path)
        for text in (b"keep 1\n", b"drop\n", b"\x1b[1m7\x1b[0m\n", b"keep 2\n"):
            talker.say(text)
        assert talker.process is not None
        talker.process.err(b"problem\n")
        talker.leave.set()
        found = [await reader.rest() for reader in (some, others, errors)]
    assert [[e.data["message"] for e in events[:-1]] for events in found] == [
        ["keep 1", "keep 2"],
        ["7"],
        ["problem"],
    ]


async def test_silence_is_filled_with_comments(api: Api, talker: Talker, monkeypatch: pytest.MonkeyPatch):
    """So that nothing in between takes the connection for dead."""
    monkeypatch.setattr(answers, "HEARTBEAT_SECONDS", 0.02)
    _, path = await talking(api, talker)
    async with follow(api, path) as reader:
        while not (event := await reader.next()) or not event.comments:
            pass


async def test_followers_of_one_run_share_one_reader(api: Api, talker: Talker):
    """However many; and nothing of it is left when they have gone."""
    one, path = await talking(api, talker)
    followers = log_cases(api)._parts.followers

    async def listen(count: int) -> list[str]:
        async with follow(api, path + "?stream=stdout") as reader:
            return await reader.messages(count)

    tasks = [asyncio.create_task(listen(50)) for _ in range(40)]
    await until(lambda: asyncio.sleep(0, followers.count), lambda count: count == 40)
    assert list(followers._sources) == [one["id"]]
    for n in range(50):
        talker.say(b"%d\n" % n)
        if n % 10 == 0:
            await asyncio.sleep(0.01)
    assert await asyncio.gather(*tasks) == [[str(n) for n in range(50)]] * 40
    await until(lambda: asyncio.sleep(0, len(followers._sources)), lambda left: left == 0)


async def test_whoever_comes_while_the_lines_are_at_hand_is_given_them_without_reading_the_log(
    api: Api, talker: Talker, monkeypatch: pytest.MonkeyPatch
):
    """A thousand who come back at once would each hold the log in memory."""
    _, path = await talking(api, talker)
    async with follow(api, path) as first:
        assert await first.next() is not None  # so that what comes now is live
        talker.say(b"one\ntwo\n")
        event = await first.next()
        while event is not None and event.data["message"] != "one":
            event = await first.next()
        assert event is not None
        assert await first.messages(1) == ["two"]
        monkeypatch.setattr(log_cases(api)._parts.followers._reader, "read", None)
        async with follow(api, path, **{"Last-Event-ID": event.id}) as second:
            assert await second.messages(1) == ["two"]
            talker.say(b"three\n")
            assert await second.messages(1) == ["three"]


async def test_a_slow_follower_is_dropped_with_a_reason_and_can_resume(
    api: Api, talker: Talker, monkeypatch: pytest.MonkeyPatch
):
    """It is not waited for; others get every line, and what it missed is there when it comes back."""
    monkeypatch.setattr(limits, "SOURCE_BYTES", 200_000)
    monkeypatch.setattr(limits, "LEAST_SOURCE_BYTES", 200_000)
    monkeypatch.setattr(limits, "MOST_LAGGARDS", 0)
    one, path = await talking(api, talker)
    line = b"x" * 9_990 + b"\n"
    async with follow(api, path + "?stream=stdout") as slow, follow(api, path + "?stream=stdout") as quick:
        followers = log_cases(api)._parts.followers
        await until(lambda: asyncio.sleep(0, followers.count), lambda count: count == 2)
        talker.say(b"first\n")
        assert await quick.messages(1) == ["first"]
        assert await slow.messages(1) == ["first"]
        sent = 0
        # More than fits into the sockets in between.
        while followers.count == 2:
            for _ in range(10):
                talker.say(b"%08d " % sent + line)
                sent += 1
            assert len(await quick.messages(10)) == 10
        events = await slow.rest()
        assert events[-1].kind == "dropped"
        assert "slow" in events[-1].data["reason"]
        assert events[-1].data["resume_from"] == events[-2].id
    talker.leave.set()
    async with follow(api, path + "?stream=stdout", **{"Last-Event-ID": events[-2].id}) as reader:
        rest = await reader.rest()
    numbers = [int(event.data["message"][:8]) for event in [*events[:-1], *rest[:-1]]]
    assert numbers == list(range(sent))
    assert rest[-1].kind == "end"
    assert (await api.until_ended(one["job"], one["id"]))["status"] == "F"


async def test_a_burst_that_is_faster_than_a_connection_is_caught_up_with(
    api: Api, talker: Talker, monkeypatch: pytest.MonkeyPatch
):
    """Line by line, though the shared source has let go of it."""
    monkeypatch.setattr(limits, "SOURCE_BYTES", 1_000)
    monkeypatch.setattr(limits, "LEAST_SOURCE_BYTES", 1_000)
    _, path = await talking(api, talker)
    async with follow(api, path + "?stream=stdout") as reader:
        talker.say(b"first\n")
        assert await reader.messages(1) == ["first"]
        for n in range(5):
            talker.say(b"".join(b"%d %d\n" % (n, m) for m in range(5_000)))
            await api.get(path + "?limit=1")
        assert await reader.messages(25_000) == [f"{n} {m}" for n in range(5) for m in range(5_000)]
        talker.say(b"live again\n")
        assert await reader.messages(1) == ["live again"]
        talker.leave.set()
        assert [event.kind for event in await reader.rest()] == ["end"]


async def test_a_client_that_takes_nothing_is_dropped(
    api: Api, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    """Also while it is sent what was printed before it came."""
    monkeypatch.setattr(answers, "STALL_SECONDS", 0.05)

    async def prints_much(process: FakeProcess) -> int:
        for _ in range(40):
            process.write(Stream.STDOUT, (b"y" * 999 + b"\n") * 1_000)
            await asyncio.sleep(0)
        return 0

    engine.programs["much",] = prints_much
    job = await api.create(command="much")
    one = await api.run(job["id"])
    followers = log_cases(api)._parts.followers
    async with follow(api, f"/v1/jobs/{job['id']}/execs/{one['id']}/logs") as reader:
        await until(lambda: asyncio.sleep(0, followers.count), lambda count: count == 0)
        last = (await reader.rest())[-1]
    assert last.kind == "dropped"
    assert "has not read anything" in last.data["reason"]


async def test_a_run_of_another_daemon_is_followed_by_looking(
    api: Api, world: World, talker: Talker, monkeypatch: pytest.MonkeyPatch
):
    """Nobody here tells of what that one stores."""
    monkeypatch.setattr(live, "POLL_SECONDS", 0.01)
    _, path = await talking(api, talker)
    hub = world.parts.hub
    monkeypatch.setattr(hub, "follow", lambda *_: None)
    monkeypatch.setattr(type(hub), "get", lambda *_: None)
    async with follow(api, path + "?stream=stdout") as reader:
        talker.say(b"elsewhere\n")
        assert await reader.messages(1) == ["elsewhere"]
        talker.leave.set()
        assert [event.kind for event in await reader.rest()] == ["end"]


async def test_a_deleted_run_is_told(api: Api, talker: Talker):
    """Its followers are let go."""
    one, path = await talking(api, talker)
    async with follow(api, path) as reader:
        assert (await api.delete(f"/v1/jobs/{one['job']}/execs/{one['id']}?force=true")).status == 204
        last = (await reader.rest())[-1]
    assert (last.kind, last.data["reason"]) == ("dropped", live.DELETED)


async def test_followers_go_when_the_daemon_stops(api: Api, talker: Talker):
    """At once, with a comment, so that they come back to the next daemon."""
    _, path = await talking(api, talker)
    async with follow(api, path) as reader:
        await reader.messages(2)
        log_cases(api).stop_following()
        last = (await reader.rest())[-1]
    assert "stopping" in last.comments[0]
    assert (await api.get(path + "?follow=true")).status == 503


async def test_a_database_that_is_away_for_a_moment_interrupts_nothing(
    api: Api, talker: Talker, monkeypatch: pytest.MonkeyPatch
):
    """The source tries again."""
    monkeypatch.setattr(live, "POLL_SECONDS", 0.01)
    _, path = await talking(api, talker)
    found, times = execs.get, 0

    def get(connection: Any, exec_id: str) -> Any:
        nonlocal times
        times += 1
        if times in {2, 3}:
            raise UnavailableError("away")
        return found(connection, exec_id)

    async with follow(api, path + "?stream=stdout") as reader:
        monkeypatch.setattr(live.execs, "get", get)
        for n in range(5):
            talker.say(b"%d\n" % n)
            assert await reader.messages(1) == [str(n)]


async def test_too_many_followers_are_refused(api: Api, talker: Talker, monkeypatch: pytest.MonkeyPatch):
    """With when to try again."""
    monkeypatch.setattr(limits, "MOST_FOLLOWERS", 1)
    _, path = await talking(api, talker)
    async with follow(api, path):
        answer = await api.get(path + "?follow=true")
    assert answer.status == 503
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("cursor", ["5", "00000000-5", "x" * 500])
async def test_a_last_event_that_is_none_is_refused_by_its_name(api: Api, cursor: str):
    """A header is as bad an input as a parameter."""
    job = await api.create(command="greet")
    one = await api.run(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}/logs?follow=true"
    answer = await api.get(path, headers={"Last-Event-ID": cursor})
    assert answer.status == 400
    assert "cursor" in answer.errors()["Last-Event-ID"]["message"]


async def test_a_head_of_events_has_none(api: Api, talker: Talker):
    """And ends."""
    _, path = await talking(api, talker)
    answer = await api.send("HEAD", path + "?follow=true")
    assert (answer.status, answer.raw) == (200, b"")
    assert answer.headers["Content-Type"].startswith("text/event-stream")


async def test_a_file_cannot_be_followed(api: Api):
    """It has an end, and says so, whatever it is a file of."""
    job = await api.create()
    for path in (f"/v1/jobs/{job['id']}/logs/export", "/v1/logs/export"):
        assert (
            "is not supported for files"
            in (await api.get(path + "?follow=true")).errors()["follow"]["message"]
        )
        answer = await api.get(path, headers={"Accept": "text/event-stream"})
        assert "is not supported for files" in answer.errors()["Accept"]["message"]


async def test_a_job_is_followed_through_its_runs(api: Api, talker: Talker):
    """Past lines first, then those of the run that goes on, then those of one that begins; each names its run."""
    job = await api.create(command="greet")
    path = f"/v1/jobs/{job['id']}/logs"
    earlier = (await api.run(job["id"]))["id"]
    async with follow(api, path + "?stream=stdout") as reader:
        assert await reader.messages(2) == ["hello", "world"]
        one = await api.trigger(job["id"], {"command": "talk"})
        async with asyncio.timeout(PATIENCE):
            await talker.started.wait()
        talker.say(b"one\n")
        assert await reader.messages(1) == ["one"]
        await api.run(job["id"])
        assert await reader.messages(1) == ["hello"]
        talker.say(b"two\n")
        rest = [await reader.next(), await reader.next()]
    last = rest[-1]
    assert last is not None
    assert (last.data["message"], last.data["exec"]) == ("two", one["id"])
    talker.leave.set()
    lines = (await api.get(path + "?stream=stdout")).body
    assert lines[0]["exec"] == earlier
    assert [line["message"] for line in lines] == ["hello", "world", "one", "hello", "world", "two"]


@pytest.mark.parametrize("asked", ["stream=stdout", "stream=stdout&contains=o", "stream=stdout&tail=1"])
async def test_a_job_s_follower_resumes_after_the_last_event(api: Api, asked: str):
    """Nothing twice and nothing left out, also where a filter lets few lines through."""
    job = await api.create(command="greet")
    path = f"/v1/jobs/{job['id']}/logs?{asked}"
    await api.run(job["id"])
    async with follow(api, path) as reader:
        event = await reader.next()
        while event is not None and (event.data is None or event.data["message"] != "world"):
            event = await reader.next()
    assert event is not None
    second = await api.run(job["id"])
    async with follow(api, path, **{"Last-Event-ID": event.id}) as reader:
        assert await reader.messages(2) == ["hello", "world"]
        third = await api.run(job["id"])
        events = [await reader.next(), await reader.next()]
    assert [one.data["exec"] for one in events if one is not None] == [third["id"]] * 2
    assert (await api.get(f"/v1/jobs/{job['id']}/logs?cursor={event.id}&stream=stdout")).body[0][
        "exec"
    ] == second["id"]


async def test_a_namespace_is_followed_over_its_jobs(api: Api):
    """Each line names its job and its run."""
    await api.run((await api.create("first", namespace="team", command="greet"))["id"])
    async with follow(api, "/v1/logs?namespace=team&stream=stdout&tail=1") as reader:
        assert await reader.messages(1) == ["world"]
        job = await api.create("second", namespace="team", command="greet")
        one = await api.run(job["id"])
        await api.run((await api.create("third", namespace="other", command="greet"))["id"])
        event = await reader.next()
    assert event is not None
    assert (event.data["job"], event.data["exec"], event.data["message"]) == (job["id"], one["id"], "hello")


async def test_a_job_that_is_deleted_lets_its_followers_go(api: Api):
    """With the reason; a daemon that stops, without any."""
    job = await api.create(command="greet")
    path = f"/v1/jobs/{job['id']}/logs?follow=true"
    async with follow(api, path) as reader, follow(api, "/v1/logs?follow=true") as other:
        await api.delete(f"/v1/jobs/{job['id']}")
        [dropped] = await reader.rest()
        log_cases(api).stop_following()
        assert [event.data for event in await other.rest()] == [None]
    assert (dropped.kind, dropped.data["reason"]) == ("dropped", "the job was deleted")
    assert (await api.get("/v1/logs?follow=true")).status == 503


async def test_followers_of_many_runs_are_limited_and_their_cursors_checked(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    """Each looks for itself; a cursor of another log is refused by the header's name."""
    job = await api.create(command="greet")
    path = f"/v1/jobs/{job['id']}/logs?follow=true"
    other = (await api.get("/v1/logs?limit=1")).headers.get("X-Next-Cursor", "00000000-0-" + "0" * 32 + "-0")
    refused = await api.get(path, headers={"Last-Event-ID": other})
    assert refused.errors()["Last-Event-ID"]["message"] == "is the cursor of another log"
    monkeypatch.setattr(limits, "MOST_OF_MANY", 1)
    async with follow(api, path):
        answer = await api.get(path)
        assert answer.status == 503
        assert "There are already 1 followers of jobs and namespaces" in answer.body["detail"]
