"""The log over HTTP: its three formats, its pages, its errors."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.test_utils import TestClient
from aiohttp.typedefs import Handler

from api.http import log_answers, log_lines
from api.http.keys import CALLER, SERVICE
from api.http.log_lines import INLINE_BYTES
from api.http.problems import problems_middleware
from api.routes.logs import get_exec_logs
from scheduler.access.callers import Caller
from scheduler.domain.errors import NotFoundError, UnavailableError
from scheduler.domain.stream import Stream
from scheduler.logs import builder
from scheduler.logs.lines import Line
from scheduler.logs.reader import LogQuery, LogReader, Reading
from scheduler.service import Service
from tests.unit.logs.scene import EXEC, LogScene

OUT, ERR = Stream.STDOUT, Stream.STDERR
#: Bytes such as a program writes that is no friend of text; the same every time.
RANDOM = random.Random(4).randbytes(300_000)  # noqa: S311
PATH = f"/v1/jobs/1/execs/{EXEC}/logs"


class LogReading:
    """The use case that the route knows, over the scene's log, under one id alone."""

    def __init__(self, scene: LogScene) -> None:
        self.scene = scene
        self.fail_after: int | None = None

    async def read(
        self, _caller: object, job_id: str, exec_id: str, query: LogQuery
    ) -> tuple[None, FailingReading]:
        """As the use case."""
        if (job_id, exec_id) != ("1", EXEC):
            raise NotFoundError(f"There is no run {exec_id}")
        return None, FailingReading(self.scene.reader, exec_id, query, self.fail_after)


class FailingReading(Reading):
    """A read whose database may go away."""

    def __init__(self, reader: LogReader, exec_id: str, query: LogQuery, fail_after: int | None) -> None:
        super().__init__(reader, exec_id, query)
        self.fail_after = fail_after

    async def __aiter__(self) -> AsyncIterator[list[Line]]:
        number = 0
        async for batch in super().__aiter__():
            if number == self.fail_after:
                raise UnavailableError("The database is gone")
            number += 1
            yield batch


@pytest.fixture
def service(scene: LogScene) -> LogReading:
    """The use case."""
    return LogReading(scene)


@pytest.fixture
async def client(service: LogReading, aiohttp_client: AiohttpClient) -> TestClient[Any, Any]:
    """A client of an application that has nothing but this route."""

    @web.middleware
    async def as_somebody(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CALLER] = cast("Caller", None)
        return await handler(request)

    app = web.Application(middlewares=[problems_middleware, as_somebody])
    app[SERVICE] = cast("Service", SimpleNamespace(logs=service))
    app.router.add_get("/v1/jobs/{job_id}/execs/{exec_id}/logs", get_exec_logs)
    return await aiohttp_client(app)


async def test_a_log_is_a_bare_array(scene: LogScene, client: TestClient[Any, Any]) -> None:
    """Message and time as the API that is answered like, stream and timestamp besides."""
    log = await scene.hub.open(EXEC)
    log.system("Start running!")
    log.add(OUT, "你好\n".encode())
    log.add(ERR, b"\xff\n")
    answer = await client.get(PATH)
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert await answer.json() == [
        {
            "message": text,
            "time": 1716465600,
            "stream": stream,
            "timestamp": "2024-05-23T12:00:00.000000+00:00",
        }
        for text, stream in (("Start running!", "system"), ("你好", "stdout"), ("\ufffd", "stderr"))
    ]


@pytest.mark.parametrize("form", ["json", "ndjson", "text"])
@pytest.mark.parametrize("limit", ["", "10"])
async def test_an_empty_log_is_empty(client: TestClient[Any, Any], form: str, limit: str) -> None:
    """In every format."""
    answer = await client.get(PATH, params={"format": form, "limit": limit, "start_time": ""})
    assert (await answer.text()).strip() == ("[]" if form == "json" else "")


@pytest.mark.parametrize("limit", ["", "10000"])
async def test_every_format_has_every_line(scene: LogScene, client: TestClient[Any, Any], limit: str) -> None:
    """Streamed or as a page; text keeps the very bytes."""
    log = await scene.hub.open(EXEC)
    printed = b"".join(b"%d \xff\x00\n" % n for n in range(9_999))
    log.add(OUT, printed)
    text = await client.get(PATH, params={"format": "text", "limit": limit})
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert await text.read() == printed
    lines = await client.get(PATH, params={"format": "ndjson", "limit": limit})
    assert lines.content_type == "application/x-ndjson"
    messages = [json.loads(line)["message"] for line in (await lines.text()).splitlines()]
    assert messages == [f"{n} \ufffd\0" for n in range(9_999)]
    array = await client.get(PATH, params={"limit": limit})
    assert [line["message"] for line in await array.json()] == messages


@pytest.mark.parametrize("limit", ["", "10000"])
@pytest.mark.parametrize("printed", [b"a\r\nb\rc\n\n\nd", RANDOM, b"\r", b"a\n\r\n"])
async def test_one_stream_as_text_is_byte_for_byte_what_was_printed(
    scene: LogScene, client: TestClient[Any, Any], printed: bytes, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the bytes, wherever they were cut on their way or because a line was too long."""
    monkeypatch.setattr(builder, "LONGEST_LINE_BYTES", 700)
    log = await scene.hub.open(EXEC)
    log.system("Start running!")
    for begin in range(0, len(printed), 9_973):
        scene.clock.forward(0.1)
        log.add(OUT, printed[begin : begin + 9_973])
        log.add(ERR, b"tick")
    log.end_output()
    log.system("Ended")
    answer = await client.get(PATH, params={"format": "text", "stream": "stdout", "limit": limit})
    assert await answer.read() == printed


@pytest.mark.parametrize(
    ("order", "text"),
    [("asc", b"one\r\nstart\nful\nend\n"), ("desc", b"end\nful\nstart\none\r\n")],
)
@pytest.mark.parametrize("limit", ["", "10"])
async def test_lines_of_several_streams_do_not_run_together(
    scene: LogScene, client: TestClient[Any, Any], order: str, text: bytes, limit: str
) -> None:
    """A newline is put after an unfinished line that is followed by another stream's, or by an older one."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"one\r\nstart")
    log.add(ERR, b"ful")
    log.end_output()
    log.system("end")
    answer = await client.get(PATH, params={"format": "text", "order": order, "limit": limit})
    assert await answer.read() == text


async def test_a_message_is_without_the_ending_of_its_line(
    scene: LogScene, client: TestClient[Any, Any]
) -> None:
    """And of one that was drawn anew the last state is shown."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"a\r\nb\rc\n\n\nd\r")
    log.end_output()
    lines = await (await client.get(PATH)).json()
    assert [line["message"] for line in lines] == ["a", "c", "", "", "d"]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "printed", [b"\n" * 250_000, b"%078d\n" % 1 * 50_000, RANDOM * 20], ids=["empty lines", "lines", "bytes"]
)
async def test_a_large_answer_does_not_hold_up_others(
    scene: LogScene, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, printed: bytes, form: str
) -> None:
    """They get their turn between any two batches, and what is large is encoded on a thread."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, printed)
    await log.flush()
    loop_thread, encoded = threading.get_ident(), log_lines.encoded
    turns, at_once, most = 0, 0, 0

    def encode(lines: Sequence[Line], form: Any, newest_first: bool, last: Line | None) -> bytes:
        nonlocal at_once, most
        body = encoded(lines, form, newest_first, last)
        if threading.get_ident() == loop_thread:
            at_once += len(body)
            most = max(most, at_once)
        return body

    async def take_turns() -> None:
        nonlocal turns, at_once
        while True:
            await asyncio.sleep(0)
            turns, at_once = turns + 1, 0

    monkeypatch.setattr(log_lines, "encoded", encode)
    others = asyncio.create_task(take_turns())
    body = await (await client.get(PATH, params={"format": form})).read()
    others.cancel()
    assert len(body) > len(printed) - 300_000  # an open line is not shown
    assert turns > 10
    assert most < 4 * INLINE_BYTES


async def test_a_very_long_line_is_the_same_in_json_as_in_one_piece(
    scene: LogScene, client: TestClient[Any, Any]
) -> None:
    """Also where a character lies across two of the pieces that it is encoded in."""
    printed = (
        b"x"
        + 'é€😀"\\'.encode() * 60_000
        + RANDOM.replace(b"\n", b"\xe2").replace(b"\r", b"\xe2")
        + b"\xe2\x82"
    )
    log = await scene.hub.open(EXEC)
    log.add(OUT, printed)
    log.end_output()
    [line] = await (await client.get(PATH)).json()
    is_same = line["message"] == printed.decode("utf-8", "replace")
    assert is_same


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_links_lead_through_all_pages(
    scene: LogScene, client: TestClient[Any, Any], order: str
) -> None:
    """And the last page has none."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"".join(b"%d\n" % n for n in range(25)))
    url: str | None = f"{PATH}?limit=10&order={order}&stream=stdout"
    found: list[int] = []
    sizes = []
    while url is not None:
        answer = await client.get(url)
        page = [int(line["message"]) for line in await answer.json()]
        sizes.append(len(page))
        found += page
        following = answer.links.get("next")
        url = following["url"].path_qs if following is not None else None  # type: ignore[union-attr]
    assert sizes == [10, 10, 5]
    assert found == (list(range(25)) if order == "asc" else list(range(25))[::-1])


async def test_the_next_cursor_waits_for_what_is_yet_to_come(
    scene: LogScene, client: TestClient[Any, Any]
) -> None:
    """Asking again and again follows a run."""
    log = await scene.hub.open(EXEC)
    cursor = ""
    for text in (b"1\n2\n", b"", b"3\n"):
        log.add(OUT, text)
        answer = await client.get(PATH, params={"limit": "10", "cursor": cursor, "format": "text"})
        assert await answer.read() == text
        assert "Link" not in answer.headers
        cursor = answer.headers["X-Next-Cursor"]


async def test_a_page_of_huge_lines_ends_early(
    scene: LogScene, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says that there is more."""
    monkeypatch.setattr(log_answers, "PAGE_BYTES", 1000)
    log = await scene.hub.open(EXEC)
    log.add(OUT, (b"x" * 600 + b"\n") * 5)
    answer = await client.get(PATH, params={"limit": "10"})
    assert len(await answer.json()) == 2
    assert 'rel="next"' in answer.headers["Link"]


async def test_bad_parameters_are_problems(client: TestClient[Any, Any]) -> None:
    """Before a byte of the log is sent, by field."""
    for query, field in (
        ("start_time=x", "start_time"),
        ("tails=5", "tails"),
        ("limit=5&limit=6", "limit"),
        ("start_time=5&end_time=4", "start_time"),
        ("cursor=5", "cursor"),
    ):
        answer = await client.get(f"{PATH}?{query}")
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"
        assert [error["field"] for error in (await answer.json())["errors"]] == [field]


async def test_an_unknown_exec_is_not_found(client: TestClient[Any, Any]) -> None:
    """With and without a limit."""
    for query in ("", "?limit=5", "?format=text"):
        assert (await client.get(f"/v1/jobs/2/execs/x/logs{query}")).status == 404


async def test_an_answer_that_cannot_be_finished_is_cut(
    scene: LogScene, service: LogReading, client: TestClient[Any, Any]
) -> None:
    """A reader must not take half a log for the whole."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"\n" * 100_000)
    service.fail_after = 3
    with pytest.raises(ClientPayloadError):
        await (await client.get(PATH)).read()
    service.fail_after = 0
    assert (await client.get(PATH)).status == 503


async def test_a_reader_who_leaves_harms_nobody(scene: LogScene, client: TestClient[Any, Any]) -> None:
    """The next one gets its answer."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, (b"x" * 1000 + b"\n") * 20_000)
    answer = await client.get(PATH)
    await answer.content.readexactly(10)
    answer.close()
    await asyncio.sleep(0)
    assert len(await (await client.get(PATH, params={"limit": "3"})).json()) == 3
