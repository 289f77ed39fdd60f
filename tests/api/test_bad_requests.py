"""Requests that cannot be understood: bodies, content types, paths, methods; always a problem, never a 500."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs
from yarl import URL

from api.server import finishing
from tests.api.conftest import LARGEST_BODY, PATIENCE, Api, check_problem, until

EXEC = "00000000-0000-4000-8000-000000000000"
GOOD = {"name": "n", "docker_image_repo": "busybox"}

MALFORMED = [
    b"",
    b" \n",
    b"{",
    b"{'name': 'x'}",
    b'{"name": "x",}',
    b'{"name": "x"} {}',
    b'{"name": "x"',
    b"name=x",
    b"\xff\xfe{\x00}\x00",
    b'{"name": "\xff"}',
    b'{"name": "\\ud800"}',
    b'{"name": "\\udc00\\ud800"}',
    b'{"name": "a\nb"}',
    b'{"name": "\\x41"}',
    b"\x00",
    b"[" * 100_000,
    b'{"runtime_vars":' * 10_000,
    b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"max_retries": ' + b"9" * 5_000 + b"}",
    b"nul",
    b"{/* no comments */}",
]
WRONG_SHAPE = [b"[]", b"true", b"5", b'"text"', b"[{}]", b"NaN", b"1e999"]


@pytest.fixture
async def paths(api: Api) -> list[tuple[str, str]]:
    """Every request that takes a body, on a job and an exec that exist."""
    job = await api.create(command="hang")
    one = await api.trigger(job["id"])
    path = f"/v1/jobs/{job['id']}"
    return [
        ("POST", "/v1/jobs"),
        ("PUT", path),
        ("PATCH", path),
        ("POST", path + "/execs"),
        ("POST", f"{path}/execs/{one['id']}/stop"),
    ]


async def test_a_body_that_is_not_json_is_refused(
    api: Api, paths: list[tuple[str, str]], subtests: pytest.Subtests
):
    """Whatever is sent, the 400 says that the body is not JSON and where it goes wrong."""
    for method, path in paths:
        for raw in MALFORMED:
            if not raw.strip() and path.endswith(("/execs", "/stop")):
                continue  # there the body may be left out
            with subtests.test(path=path, raw=raw[:30], length=len(raw)):
                answer = await api.send(method, path, raw=raw)
                assert answer.status == 400
                entry = answer.errors()["body"]
                assert entry["message"].startswith(("is not valid JSON: ", "is empty"))
                assert len(answer.raw) < 1_000


async def test_a_body_that_is_not_an_object_is_refused(
    api: Api, paths: list[tuple[str, str]], subtests: pytest.Subtests
):
    """JSON of another type is told apart from what is no JSON."""
    for method, path in paths:
        for raw in WRONG_SHAPE:
            with subtests.test(path=path, raw=raw):
                answer = await api.send(method, path, raw=raw)
                assert answer.status == 400
                assert answer.errors()["body"]["message"] == "is not an object"


async def test_null_is_no_body(api: Api):
    """`null` is told from a missing body."""
    answer = await api.send("POST", "/v1/jobs", raw=b"null")
    assert answer.status == 400
    assert answer.errors()["body"]["message"] == "is null"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"name": "a", "name": "b", "docker_image_repo": "busybox"}', "name"),
        (b'{"name": "a", "docker_image_repo": "busybox", "runtime_vars": {"A": "1", "A": "2"}}', "A"),
    ],
)
async def test_a_name_given_twice_in_an_object_is_refused(api: Api, raw: bytes, field: str):
    """Taking the last one without a word would drop what the user wrote."""
    answer = await api.send("POST", "/v1/jobs", raw=raw)
    assert answer.status == 400
    assert answer.errors()[field]["message"] == "is given twice"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "[NaN]", '{"a": [Infinity]}'])
async def test_numbers_that_json_has_not_are_refused_and_shown_as_text(api: Api, number: str):
    """The answer stays valid JSON by the strictest reading."""
    raw = f'{{"name": "n", "docker_image_repo": "b", "max_retries": {number}, "zzz": {number}}}'
    answer = await api.send("POST", "/v1/jobs", raw=raw)
    assert answer.status == 400
    assert set(answer.errors()) == {"max_retries", "zzz"}
    json.loads(answer.raw, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


async def test_a_byte_order_mark_before_json_is_ignored(api: Api):
    """Some editors and shells put one there (RFC 8259, section 8.1, lets readers ignore it)."""
    answer = await api.send("POST", "/v1/jobs", raw=b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert answer.status == 201


@pytest.mark.parametrize("size", [LARGEST_BODY + 1, 20 * LARGEST_BODY])
async def test_a_huge_body_is_refused(api: Api, size: int):
    """A body beyond the limit answers 413 and the limit."""
    raw = io.BytesIO(b'{"name": "' + b"x" * (size - 12) + b'"}')
    answer = await api.send("POST", "/v1/jobs", raw=raw)
    assert answer.status == 413
    check_problem(answer)
    assert str(LARGEST_BODY) in answer.body["detail"]


async def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(api: Api):
    """The limit counts what is unpacked, so that a bomb does not go off."""
    raw = gzip.compress(b" " * (50 * LARGEST_BODY))
    answer = await api.send("POST", "/v1/jobs", raw=raw, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413
    check_problem(answer)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "identity"])
async def test_a_compressed_body_is_unpacked(api: Api, encoding: str):
    """Gzip and deflate are understood."""
    raw = json.dumps(GOOD).encode()
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding.lower(), bytes)
    answer = await api.send("POST", "/v1/jobs", raw=pack(raw), headers={"Content-Encoding": encoding})
    assert answer.status == 201


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("cut", [None, 5, -5])
async def test_a_compressed_body_that_is_broken_is_refused(api: Api, encoding: str, cut: int | None):
    """What cannot be unpacked is the sender's mistake: 400."""
    good = gzip.compress(b"x" * 1000) if encoding == "gzip" else zlib.compress(b"x" * 1000)
    raw = b"not compressed at all" if cut is None else good[:cut]
    answer = await api.send("POST", "/v1/jobs", raw=raw, headers={"Content-Encoding": encoding})
    assert answer.status == 400
    check_problem(answer)


@pytest.mark.parametrize("encoding", ["br", "zstd", "rot13", "gzip, gzip"])
async def test_an_encoding_that_is_not_understood_is_refused(api: Api, encoding: str):
    """The refusal names the encodings that are understood."""
    answer = await api.send("POST", "/v1/jobs", raw=b"{}", headers={"Content-Encoding": encoding})
    assert answer.status in {400, 415}  # aiohttp itself refuses what it could unpack with another package
    check_problem(answer)
    assert "gzip" in answer.body["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "image/png",
        "application/merge-patch+json",
        "application/json-patch+json",
        "nonsense",
    ],
)
async def test_a_body_of_another_type_is_refused(api: Api, content_type: str):
    """415 names the type that was sent and the one to send."""
    answer = await api.send("POST", "/v1/jobs", raw=b"{}", headers={"Content-Type": content_type})
    assert answer.status == 415
    check_problem(answer)
    assert "Content-Type: application/json" in answer.body["detail"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/vnd.example+json",
        "application/json;",
    ],
)
async def test_json_by_any_of_its_names_is_taken(api: Api, content_type: str):
    """JSON with a charset, or a type that ends in +json, is JSON."""
    raw = json.dumps(GOOD).encode()
    answer = await api.send("POST", "/v1/jobs", raw=raw, headers={"Content-Type": content_type})
    assert answer.status == 201


async def test_a_trigger_without_a_body_may_have_any_content_type(api: Api):
    """`curl -d ''` says that it sends a form; where there is nothing, that does not matter."""
    job = await api.create(command="true")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await api.send("POST", f"/v1/jobs/{job['id']}/execs", raw=b"", headers=headers)
    assert answer.status == 201


UNKNOWN_JOBS = [
    "0", "-1", "+1", "2", "01", "1.0", "1e0", "x", "%20", "1%20", "9" * 19, "9" * 20, "9" * 5_000,
    "%D9%A1", "%EF%BC%91", "%C2%B2", "1%2Fexecs", "..%2F1", "%00", "1%00", "%ff", "%ed%a0%80", "%zz", "%",
    "null", "{job_id}", "1;2", "' OR 1=1 --",
]  # fmt: skip


async def test_an_id_that_is_none_is_not_found(api: Api, subtests: pytest.Subtests):
    """404 for whatever stands where a job's id belongs, on every path and method."""
    await api.create()
    tails = [
        ("GET", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/execs"), ("POST", "/execs"),
        ("GET", "/schedule"), ("GET", "/occurrences"), ("GET", f"/execs/{EXEC}"), ("DELETE", f"/execs/{EXEC}"),
        ("POST", f"/execs/{EXEC}/stop"), ("GET", f"/execs/{EXEC}/logs"),
    ]  # fmt: skip
    for text in UNKNOWN_JOBS:
        for method, tail in tails:
            with subtests.test(id=text[:30], method=method, tail=tail):
                raw = b"{}" if method in {"PUT", "PATCH"} else None
                url = URL(f"/v1/jobs/{text.replace(' ', '%20')}{tail}", encoded=True)
                answer = await api.send(method, url, raw=raw)
                assert answer.status == 404
                check_problem(answer)
                assert len(answer.raw) < 2_000


async def test_an_exec_id_that_is_none_is_not_found(api: Api, subtests: pytest.Subtests):
    """404 for whatever stands where an exec's id belongs."""
    job = await api.create(command="true")
    one = await api.run(job["id"])
    bad = [
        EXEC, "1", "x", one["id"][:-1], one["id"] + "0", one["id"].replace("-", ""), "{" + one["id"] + "}", "%00",
        one["id"] + "%00", "%ff", "%ed%a0%80", "..", "9" * 3_000, "latest",
    ]  # fmt: skip
    for text in bad:
        for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/stop"), ("GET", "/logs")):
            if (text, tail) == ("..", "/logs"):
                continue  # which is the job's own log
            with subtests.test(id=text[:40], method=method, tail=tail):
                url = URL(f"/v1/jobs/{job['id']}/execs/{text}{tail}", encoded=True)
                answer = await api.send(method, url)
                assert answer.status in ({404, 405} if text == ".." else {404})
                check_problem(answer)
    assert (await api.exec(job["id"], one["id"].upper()))["id"] == one["id"]


async def test_an_exec_of_another_job_is_not_found(api: Api):
    """An exec is only found under its own job."""
    job, other = await api.create("a", command="true"), await api.create("b")
    one = await api.run(job["id"])
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/stop"), ("GET", "/logs")):
        answer = await api.send(method, f"/v1/jobs/{other['id']}/execs/{one['id']}{tail}")
        assert answer.status == 404
        check_problem(answer)
        assert one["id"] in answer.body["detail"]
    assert (await api.exec(job["id"], one["id"]))["status"] == "S"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, HEAD, POST"),
        ("/v1/jobs/1", "DELETE, GET, HEAD, PATCH, PUT"),
        ("/v1/jobs/1/execs", "GET, HEAD, POST"),
        (f"/v1/jobs/1/execs/{EXEC}", "DELETE, GET, HEAD"),
        (f"/v1/jobs/1/execs/{EXEC}/stop", "POST"),
        (f"/v1/jobs/1/execs/{EXEC}/logs", "GET, HEAD"),
        ("/v1/jobs/1/schedule", "GET, HEAD"),
        ("/v1/jobs/1/occurrences", "GET, HEAD"),
        ("/v1/schedules/preview", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(api: Api, path: str, allowed: str):
    """405 carries `Allow`; OPTIONS is refused the same way."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        if method in allowed.split(", "):
            continue
        answer = await api.send(method, path)
        assert answer.status == 405
        check_problem(answer)
        assert answer.headers["Allow"] == allowed
        assert allowed in answer.body["detail"]


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v2/jobs", "/v1/job", "/v1/jobs/1/runs", "/v1/jobs/1/execs/x/y", "/v1//jobs", "/v1/%6Aobs2", "/%00",
     "/%ff", "/v1/schedules", "/" + "x" * 3_000, "/v1/jobs%2F1"],
)  # fmt: skip
async def test_a_path_that_does_not_exist_is_not_found(api: Api, path: str):
    """404 as a problem, for whatever path."""
    answer = await api.get(URL(path, encoded=True))
    assert answer.status == 404
    check_problem(answer)


async def test_a_slash_too_many_is_explained(api: Api):
    """`/v1/jobs/` is not `/v1/jobs`, and the 404 says so."""
    answer = await api.get("/v1/jobs/")
    assert answer.status == 404
    assert "Remove the '/' at its end" in answer.body["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/1", "/v1/jobs/1/execs", "/healthz", "/v1/jobs/77"])
async def test_head_answers_as_get_does_without_a_body(api: Api, path: str):
    """Status and headers are those of GET."""
    await api.create()
    get, head = await api.get(path), await api.send("HEAD", path)
    assert (head.status, head.raw) == (get.status, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize(
    "query",
    ["page=%zz", "page=%", "page=%ff", "namespace=%ed%a0%80", "%ff=1", "%00=%00", "=", "&&&=&", "page==1", "a[]=1",
     "page=1;page=2", "x" * 6_000],
)  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused_or_ignored(api: Api, query: str):
    """Bad escapes and stray signs give a 400 that is a problem, or nothing at all where nothing is said."""
    answer = await api.get(URL(f"/v1/jobs?{query}", encoded=True))
    assert answer.status in {200, 400}
    if answer.status == 400:
        assert answer.errors()


@pytest.mark.parametrize("host", ["[", "a b", "x:99999", "x:y", "[::1", "\xff", ""])
async def test_a_host_that_is_none_gives_a_problem_or_an_answer(api: Api, host: str):
    """Lists name absolute addresses made of `Host`; one that cannot be a host is refused."""
    for number in range(2):
        await api.create(f"job {number}")
    answer = await raw_request(
        api, f"GET /v1/jobs?page_size=1 HTTP/1.1\r\nHost: {host}\r\n".encode("latin-1")
    )
    status = int(answer.split(b" ")[1])
    assert status in {200, 400}, answer


@pytest.mark.parametrize(
    "start",
    [b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Big: " + b"x" * 100_000 + b"\r\n",
     b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n",
     b"GET /v1/jobs HTTP/9.9\r\nHost: x\r\n", b"\x16\x03\x01\x02\x00\r\n", b"GET\r\n",
     b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n",
     b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"],
)  # fmt: skip
async def test_what_is_not_http_is_refused_as_a_problem(api: Api, start: bytes):
    """What the server itself refuses is a 400 with problem details as well; the daemon goes on."""
    answer = await raw_request(api, start)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"400"
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 400
    assert (await api.get("/healthz")).status == 200


async def test_a_url_that_is_not_escaped_is_refused_with_what_to_do(api: Api):
    """Command-line clients send Chinese letters as they are; the answer says how to write them."""
    answer = await raw_request(api, "GET /v1/jobs?namespace=研发部 HTTP/1.1\r\nHost: x\r\n".encode())
    assert b" 400 " in answer
    assert "%20 for a space" in answer.decode()


async def raw_request(api: Api, start: bytes) -> bytes:
    """Send a request as it is, and return what comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    lines = f"Authorization: Token {api.token}\r\nConnection: close\r\n\r\n".encode()
    writer.write(start + lines)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_client_that_leaves_in_the_middle_of_a_body_harms_nobody(api: Api):
    """Half a body is never acted upon nor taken for a defect, and the next request is served."""
    app = api.client.app
    assert app is not None

    async def in_progress() -> int:
        return len(app[finishing.CHANGES])

    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Token {api.token}\r\n"
    with capture_logs() as logs:
        for how in ("close", "abort"):
            reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
            writer.write(head.encode() + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            await until(in_progress)  # until the handler waits for the rest
            writer.close() if how == "close" else writer.transport.abort()
            with suppress(ConnectionError):
                await reader.read()
            await until(in_progress, lambda count: count == 0)
        assert (await api.get("/v1/jobs")).body["count"] == 0
    assert [entry for entry in logs if entry["event"] == "api.unforeseen"] == []


async def test_a_run_is_started_although_its_trigger_did_not_wait_for_the_answer(
    api: Api, world: Any, monkeypatch: pytest.MonkeyPatch
):
    """A client that leaves between the commit and the answer leaves no run behind that nobody starts."""
    job = await api.create(command="true")
    database = world.parts.database
    write, committed, go_on = database.write, asyncio.Event(), asyncio.Event()

    async def write_and_wait(work: Any, **more: Any) -> Any:
        result = await write(work, **more)
        committed.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(database, "write", write_and_wait)
    leaving = asyncio.create_task(api.post(f"/v1/jobs/{job['id']}/execs"))
    await committed.wait()
    monkeypatch.setattr(database, "write", write)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert (await api.get("/healthz")).status == 200  # the server has noticed by now
    go_on.set()
    ended = await until(
        lambda: api.get(f"/v1/jobs/{job['id']}/execs"),
        lambda answer: answer.body["results"][0]["status"] == "S",
    )
    assert ended.body["count"] == 1


async def test_a_client_that_never_ends_its_body_does_not_keep_the_daemon_from_stopping(
    api: Api, monkeypatch: pytest.MonkeyPatch
):
    """The application gives what is in progress some seconds, then gives it up."""
    monkeypatch.setattr(finishing, "PATIENCE", 0.05)
    app = api.client.app
    assert app is not None
    _, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Token {api.token}\r\nContent-Length: 9\r\n\r\n{{"
    writer.write(head.encode())

    async def in_progress() -> int:
        return len(app[finishing.CHANGES])

    await until(in_progress)
    await asyncio.wait_for(finishing.finish(app), PATIENCE)
    await until(in_progress, lambda count: count == 0)
    writer.close()
