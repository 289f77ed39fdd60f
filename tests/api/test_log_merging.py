"""The logs of many runs as one: a job's, a namespace's; as pages, streams and files."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
import zstandard
from aiohttp import ClientSession
from yarl import URL

from tests.api.conftest import Api
from tests.lab.fake_engine import FakeEngine
from tests.lab.fake_programs import prints

UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "zstd": lambda raw: zstandard.ZstdDecompressor().decompressobj().decompress(raw),
}


async def all_pages(api: Api, url: str) -> list[Any]:
    """What following the links leads to."""
    seen: list[Any] = []
    following: URL | str | None = url
    while following is not None:
        answer = await api.get(following)
        assert answer.status == 200, answer.text
        seen += answer.body
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        following = URL(link[1]).relative() if link else None
    return seen


async def test_all_runs_of_a_job_are_one_log_in_the_order_of_time(api: Api):
    """Each line says of which run it is; pages put together are the whole, in both directions."""
    job = await api.create(command="greet")
    other = await api.create("other", command="greet")
    runs = [await api.run(job["id"]) for _ in range(3)]
    await api.run(other["id"])
    path = f"/v1/jobs/{job['id']}/logs"
    whole = (await api.get(path)).body
    assert {line["exec"] for line in whole} == {run["id"] for run in runs}
    assert [line["timestamp"] for line in whole] == sorted(line["timestamp"] for line in whole)
    for run in runs:
        own = (await api.get(f"/v1/jobs/{job['id']}/execs/{run['id']}/logs")).body
        assert own == [
            {name: value for name, value in line.items() if name != "exec"}
            for line in whole
            if line["exec"] == run["id"]
        ]
    for limit in (1, 2, 7, 100):
        assert await all_pages(api, f"{path}?limit={limit}") == whole
        assert await all_pages(api, f"{path}?limit={limit}&order=desc") == whole[::-1]
    assert (await api.get(f"{path}?tail=4")).body == whole[-4:]
    ndjson = await api.get(f"{path}?format=ndjson&stream=stderr")
    assert [json.loads(line) for line in ndjson.raw.splitlines()] == [
        line for line in whole if line["stream"] == "stderr"
    ]
    assert (await api.get(f"{path}?contains=orl&format=text")).raw == b"world\n" * 3


async def test_a_range_takes_the_lines_of_whichever_runs_were_going(api: Api):
    """To the microsecond."""
    job = await api.create(command="greet")
    for _ in range(3):
        await api.run(job["id"])
    path = f"/v1/jobs/{job['id']}/logs"
    whole = (await api.get(path)).body

    def moment(line: Any) -> str:
        return f"{line['time']}.{line['timestamp'][20:26]}"

    for first, last in ((0, 3), (4, 9), (7, 7), (2, len(whole) - 1)):
        begin, end = whole[first]["timestamp"], whole[last]["timestamp"]
        query = f"start_time={moment(whole[first])}&end_time={moment(whole[last])}"
        expected = [line for line in whole if begin <= line["timestamp"] <= end]
        assert (await api.get(f"{path}?{query}")).body == expected
        assert (await api.get(f"{path}?{query}&order=desc")).body == expected[::-1]
    assert (await api.get(f"{path}?end_time=5")).body == []
    assert (await api.get(f"{path}?start_time=9999999999")).body == []


async def test_a_namespace_is_one_log_too(api: Api):
    """Lines name their job besides; other namespaces stay out; the caller's own is meant where none is named."""
    mine = [await api.create(name, command="greet") for name in ("a", "b")]
    theirs = await api.create("c", command="greet", namespace="theirs")
    for job in [*mine, theirs]:
        await api.run(job["id"])
    lines = (await api.get("/v1/logs")).body
    assert {line["job"] for line in lines} == {job["id"] for job in mine}
    assert all(set(line) >= {"job", "exec", "message"} for line in lines)
    assert (await api.get("/v1/logs?namespace=admin")).body == lines
    assert {line["job"] for line in (await api.get("/v1/logs?namespace=theirs")).body} == {theirs["id"]}
    assert (await api.get("/v1/logs?namespace=nobody")).body == []
    assert await all_pages(api, "/v1/logs?limit=3") == lines


async def test_cursors_of_other_logs_are_refused(api: Api):
    """A run's, another job's, a namespace's."""
    job = await api.create(command="greet")
    run = await api.run(job["id"])
    other = await api.create("other", command="greet")
    await api.run(other["id"])
    paths = (
        f"/v1/jobs/{job['id']}/logs",
        f"/v1/jobs/{other['id']}/logs",
        f"/v1/jobs/{job['id']}/execs/{run['id']}/logs",
        "/v1/logs",
    )
    cursors = [(await api.get(path + "?limit=2")).headers["X-Next-Cursor"] for path in paths]
    for path in paths:
        for other_path, cursor in zip(paths, cursors, strict=True):
            answer = await api.get(f"{path}?cursor={cursor}")
            if path == other_path:
                assert answer.status == 200
            else:
                assert answer.status == 400
                assert "another log" in answer.errors()["cursor"]["message"]


@pytest.mark.parametrize(
    ("query", "ending", "packing"),
    [("", "log", None), ("?compression=gzip", "log.gz", "gzip"), ("?compression=zstd", "log.zst", "zstd")],
)
async def test_a_log_can_be_had_as_a_file(api: Api, query: str, ending: str, packing: str | None):
    """Of a run, of a job, of a namespace; with a name that any system takes, and in full for those who read it."""
    job = await api.create('夜间/报告 "1"', command="greet", namespace="admin")
    run = await api.run(job["id"])
    run_path = f"/v1/jobs/{job['id']}/execs/{run['id']}/logs"
    text = (await api.get(run_path + "?format=text")).raw
    for path, name in (
        (run_path, f"夜间_报告 _1_-{run['id'][:8]}"),
        (f"/v1/jobs/{job['id']}/logs", "夜间_报告 _1_"),
        ("/v1/logs", "admin"),
    ):
        answer = await api.get(f"{path}/export{query}", headers={"Accept-Encoding": "identity"})
        assert UNPACK[packing](answer.raw) == text
        header = answer.headers["Content-Disposition"]
        assert header.isascii()
        plain = re.search(r'filename="([^"]+)"', header)
        full = re.search(r"filename\*=UTF-8''(\S+)", header)
        assert plain is not None
        assert (unquote(full[1]) if full else plain[1]) == f"{name}.{ending}"
        assert "/" not in plain[1]


async def test_a_file_may_have_lines_of_json(api: Api):
    """And be asked for by range, stream and text."""
    job = await api.create(command="greet")
    run = await api.run(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{run['id']}/logs"
    answer = await api.get(path + "/export?format=ndjson&stream=stdout&contains=o")
    assert [json.loads(line)["message"] for line in answer.raw.splitlines()] == ["hello", "world"]
    assert '.ndjson"' in answer.headers["Content-Disposition"]
    assert "compression" in (await api.get(path + "/export?compression=rar")).errors()
    # What was not given is not complained of.
    assert list((await api.get(path + "/export?follow=true")).errors()) == ["follow"]


ACCEPTED: dict[str, str | None] = {
    "gzip": "gzip",
    "zstd": "zstd",
    "gzip, zstd": "zstd",
    "zstd;q=0.5, gzip;q=0.9": "gzip",
    "zstd;q=0, gzip": "gzip",
    "*": "gzip",
    "*;q=0": None,
    "identity, gzip;q=0.5": None,
    "br": None,
    "gzip;q=0": None,
    "gzip;q=nonsense": None,
    "": None,
}


@pytest.mark.parametrize("query", ["", "?limit=10000", "?format=text", "/export"])
async def test_a_large_answer_is_packed_as_the_client_accepts(api: Api, engine: FakeEngine, query: str):
    """A small one is not; what it depends on is said in either case."""
    engine.programs["many",] = prints(b"a line like many others\n" * 5_000)
    job = await api.create(command="many")
    run = await api.run(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{run['id']}/logs{query}"
    plain = await api.get(path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    small = f"{path}{'&' if '?' in path else '?'}stream=system"
    token = {"Authorization": f"Token {api.token}"}
    async with ClientSession(auto_decompress=False, headers=token) as session:
        for accepted, encoding in ACCEPTED.items():
            headers = {"Accept-Encoding": accepted}
            async with session.get(api.client.make_url(path), headers=headers) as answer:
                assert answer.headers.get("Content-Encoding") == encoding, accepted
                assert "Accept-Encoding" in answer.headers["Vary"]
                assert UNPACK[encoding](await answer.read()) == plain.raw
            async with session.get(api.client.make_url(small), headers=headers) as answer:
                assert "Content-Encoding" not in answer.headers


async def test_lists_are_packed_as_well(api: Api):
    """Any large answer is."""
    for n in range(20):
        await api.create(f"job {n}")
    answer = await api.get("/v1/jobs", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.body["count"] == 20
    assert int(answer.headers["Content-Length"]) < 3_000
