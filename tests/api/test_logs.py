"""Logs over HTTP: ranges, streams, pages, formats, and parameters that are refused."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from yarl import URL

from tests.api.conftest import Api
from tests.lab.fake_engine import FakeEngine
from tests.lab.fake_programs import prints


async def ended(api: Api, **fields: Any) -> str:
    """The path of the log of a run that has ended."""
    job = await api.create(**({"command": "greet"} | fields))
    one = await api.run(job["id"])
    return f"/v1/jobs/{job['id']}/execs/{one['id']}/logs"


async def test_a_line_says_what_when_and_from_where(api: Api):
    """Message, whole seconds, stream, and the moment in full, in the order in which they arrived."""
    lines = (await api.get(await ended(api))).body
    assert [(line["stream"], line["message"]) for line in lines[2:]] == [
        ("stdout", "hello"),
        ("stdout", "world"),
        ("stderr", "careful"),
    ]
    for line in lines:
        assert set(line) == {"message", "time", "stream", "timestamp"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", line["timestamp"])
        assert int(datetime.fromisoformat(line["timestamp"]).timestamp()) == line["time"]


async def test_both_ends_of_a_range_are_inclusive_and_a_whole_second_is_all_of_it(api: Api):
    """A line within second N is in `end_time=N`; a decimal is exact, down to the microsecond."""
    path = await ended(api)
    lines = (await api.get(path)).body
    last = lines[-1]
    second = last["time"]
    assert last in (await api.get(f"{path}?end_time={second}")).body
    exact = f"{second}.{last['timestamp'][20:26]}"
    assert last in (await api.get(f"{path}?start_time={exact}&end_time={exact}")).body
    assert last not in (await api.get(f"{path}?end_time={second}.000000")).body
    assert last in (await api.get(f"{path}?start_time={second}.000000")).body


async def test_one_stream_or_several_can_be_asked_for(api: Api):
    """`stream=stderr`, or several with commas between."""
    path = await ended(api)
    lines = (await api.get(path)).body
    for wanted in (["stderr"], ["stdout", "stderr"], ["system"]):
        answer = await api.get(f"{path}?stream={','.join(wanted)}")
        assert answer.body == [line for line in lines if line["stream"] in wanted]


async def test_pages_put_together_are_the_whole_log(api: Api):
    """Following `Link` page by page sees every line once; the last page has a cursor and no `Link`."""
    path = await ended(api)
    whole = (await api.get(path)).body
    seen: list[Any] = []
    url: URL | str | None = f"{path}?limit=2"
    while url is not None:
        answer = await api.get(url)
        assert answer.status == 200
        seen += answer.body
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        url = URL(link[1]).relative() if link else None
    assert seen == whole
    assert (await api.get(f"{path}?cursor={answer.headers['X-Next-Cursor']}")).body == []


async def test_the_newest_lines_come_first_where_that_is_asked(api: Api):
    """`order=desc&limit=2` is the tail of the log."""
    path = await ended(api)
    whole = (await api.get(path)).body
    assert (await api.get(f"{path}?order=desc&limit=2")).body == whole[::-1][:2]
    assert (await api.get(f"{path}?order=desc")).body == whole[::-1]


async def test_a_log_can_be_had_as_lines_of_json_or_as_it_was_printed(api: Api, engine: FakeEngine):
    """`ndjson` is one object a line; `text` is the bytes as they came."""
    engine.programs["raw",] = prints("grün\n\n\xff".encode("latin-1") + b"\n" + "你好".encode())
    path = await ended(api, command="raw")
    whole = (await api.get(path)).body
    ndjson = await api.get(f"{path}?format=ndjson")
    assert ndjson.headers["Content-Type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in ndjson.raw.splitlines()] == whole
    text = await api.get(f"{path}?format=text&stream=stdout")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert text.raw == b"gr\xfcn\n\n\xff\n" + "你好".encode()
    assert [line["message"] for line in whole[2:]] == ["gr\ufffdn", "", "\ufffd", "你好"]


async def test_a_log_without_lines_is_empty_in_every_format(api: Api):
    """An empty array, or nothing at all."""
    path = await ended(api)
    assert (await api.get(f"{path}?end_time=1")).raw.strip() in {b"[]", b"[\n]"}
    for form in ("ndjson", "text"):
        assert (await api.get(f"{path}?end_time=1&format={form}")).raw == b""


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("start_time=yesterday", "start_time", "not a number of seconds"),
        ("start_time=2015-12-28T14:31:07Z", "start_time", "is a date"),
        ("end_time=-1", "end_time", "negative"),
        ("end_time=1e9", "end_time", "not a number of seconds"),
        ("end_time=1451350945000", "end_time", "milliseconds"),
        ("end_time=" + "9" * 5_000, "end_time", "9999"),
        ("end_time=١", "end_time", "not a number of seconds"),
        ("start_time=2&end_time=1", "start_time", "is later than end_time"),
        ("stream=stdin", "stream", "not a stream"),
        ("limit=0", "limit", "from 1 to 10000"),
        ("limit=10001", "limit", "from 1 to 10000"),
        ("limit=ten", "limit", "from 1 to 10000"),
        ("order=newest", "order", "allowed value"),
        ("format=xml", "format", "allowed value"),
        ("cursor=1", "cursor", "not a valid cursor"),
        ("cursor=00000000-1", "cursor", "another log"),
        ("tail=0", "tail", "from 1 to 10000"),
        ("tail=2&limit=2", "tail", "cannot be combined with limit"),
        ("tail=2&cursor=00000000-1", "tail", "cannot be combined with cursor"),
        ("tail=2&order=desc", "tail", "order=desc"),
        ("contains=" + "x" * 1_001, "contains", "too long"),
        ("contains=a%0Ab", "contains", "line break"),
        ("regex=(a", "regex", "at character 1"),
        ("regex=ab%5Bz-a%5D", "regex", "at character 4"),
        ("regex=x**", "regex", "regular expression"),
        ("regex=x(%3F!a)", "regex", "contains unsupported syntax at character 2"),
        ("regex=(a)%5C1", "regex", "contains unsupported syntax"),
        ("regex=((a%7B99%7D)%7B99%7D)%7B99%7D", "regex", "too large"),
        ("regex=(.%7B500%7D)(.%7B500%7D)(%5CpL%7B500%7D)", "regex", "too large"),
        ("ignore_case=perhaps", "ignore_case", "neither true nor false"),
        ("ansi=remove", "ansi", "allowed value"),
        ("follow=maybe", "follow", "neither true nor false"),
        ("follow=true&end_time=5", "end_time", "not possible when following"),
        ("follow=true&limit=5", "limit", "not possible when following"),
        ("follow=true&order=desc", "order", "not possible when following"),
        ("follow=true&format=text", "format", "not possible when following"),
        ("since=1", "since", "not a parameter"),
        ("limit=1&limit=2", "limit", "given twice"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_refused(api: Api, query: str, field: str, words: str):
    """The 400 names the parameter, shows its value, and says what to write."""
    path = await ended(api)
    answer = await api.get(f"{path}?{query}")
    assert answer.status == 400
    entry = answer.errors()[field]
    assert words in entry["message"]
    assert str(entry["value"]).removesuffix("…") in URL(f"?{query}").query_string


@pytest.mark.parametrize("query", ["", "?limit=2", "?format=text", "?format=ndjson&limit=1", "?order=desc"])
async def test_head_of_a_log_has_no_body(api: Api, query: str):
    """The next answer on the same connection is not disturbed."""
    path = await ended(api)
    for _ in range(2):
        answer = await api.send("HEAD", path + query)
        assert (answer.status, answer.raw) == (200, b"")
    assert (await api.get("/healthz")).status == 200
