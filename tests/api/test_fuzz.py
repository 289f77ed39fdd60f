"""Thousands of random requests, the same in every run: whatever comes, no 500, and every refusal is a problem."""

from __future__ import annotations

import json
import random
from typing import Any

from yarl import URL

from tests.api.conftest import REPO, TAG, Answer, Api, World, check_problem

SEED = 20151228
REQUESTS = 4_000

WORDS: list[Any] = [
    "", " ", "a", "test", "任务", "\x00", "\u202e", "👩‍👩‍👧", "x" * 300, "true", "null", "0", "-1", "1" * 25,
    "NaN", "LOCAL",
    "BEIJING1", "XXS", "XL", "latest", REPO, TAG, "busybox:1", "Busybox", "greet", "true", "'", '"', "\\",
    "$(id)", "../..",
    "%00", "%", "R1//PT1H", "R/2099-01-01T00:00:00/P1M", "R0//P1D", "R5/P1D/2099-01-01", "R-1//",
    "* * * * *", "@daily",
    "61 * * * *", "Europe/Berlin", "UTC", "Mars", "allow", "forbid", "queue", "replace", "all", "skip",
    "never", "always",
    "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01", "1451350945", "1e9", "zh", "ran", "missed,ran",
]  # fmt: skip
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 10**30, 1.5, -0.0, 1e300, [], {}, [[]], [None], {"a": None}, {"": ""},
    [1, "a"], ["greet"],
    {"A": "1"}, {"A B": "1"}, {"A": 1}, {"a" * 500: "b"}, {"名": "值"},
]  # fmt: skip
FIELDS = [
    "id", "name", "namespace", "command", "docker_image_repo", "docker_image_tag", "resource_size", "region_name",
    "is_schedule_active", "schedule_mode", "schedule_timezone", "runtime_vars", "labels", "email_enabled",
    "misfire_policy",
    "misfire_grace_seconds", "concurrency_policy", "timeout_seconds", "stop_grace_seconds", "max_retries",
    "retry_backoff_seconds", "pull_policy", "created_at", "status", "naem", "", "__proto__", "任务",
]  # fmt: skip
PARAMETERS = [
    "page", "page_size", "namespace", "force", "start_time", "end_time", "stream", "limit", "cursor",
    "order", "format",
    "schedule", "timezone", "after", "count", "from", "to", "outcome", "x", "", "名",
]  # fmt: skip
RAW = [
    b"", b"null", b"[]", b"{", b'"', b"\xff", b"[" * 3_000, b'{"a":' * 3_000, b"1" * 5_000, b"{}",
    b'{"name": "\\ud800"}',
    b'{"name": NaN}', b'{"a": 1, "a": 2}', b"\x1f\x8b\x08", b" " * 300_000,
]  # fmt: skip
HEADERS = [
    {}, {}, {}, {}, {"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Encoding": "gzip"},
    {"Content-Encoding": "deflate"}, {"Content-Encoding": "x"}, {"Accept-Language": "zh;q=a, en;;q=1"},
    {"Accept": "text/html"}, {"If-Match": "*"}, {"Range": "bytes=0-1"}, {"X-HTTP-Method-Override": "DELETE"},
]  # fmt: skip


def random_body(dice: random.Random) -> bytes | None:
    """No body, noise, or a JSON object that is nearly right."""
    kind = dice.random()
    if kind < 0.2:
        return None
    if kind < 0.35:
        return dice.choice(RAW)
    if kind < 0.4:
        return dice.randbytes(dice.randrange(60))
    body: dict[str, Any] = {}
    if dice.random() < 0.7:
        body = {"name": f"job {dice.randrange(60)}", "docker_image_repo": REPO, "docker_image_tag": TAG}
    for _ in range(dice.choice([0, 1, 1, 2, 3])):
        body[dice.choice(FIELDS)] = dice.choice(WORDS if dice.random() < 0.6 else ODD)
    raw = json.dumps(body, ensure_ascii=dice.random() < 0.5).encode()
    if dice.random() < 0.1:
        place = dice.randrange(len(raw))
        raw = raw[:place] + dice.randbytes(1) + raw[place + 1 :]
    return raw


def random_path(dice: random.Random, jobs: list[int], runs: list[tuple[int, str]]) -> URL:
    """A path that exists, or nearly, with a query or without."""
    job, run = dice.choice([*runs, (dice.choice(jobs), "x")]) if jobs else (1, "x")
    segments = [str(job), str(job), str(job), "0", "x", "%00", "%ff", "1" * 30, "%F0%9F", "..", ""]
    one = dice.choice(segments)
    path = dice.choice(
        ["/v1/jobs", "/v1/jobs", f"/v1/jobs/{one}", f"/v1/jobs/{one}", f"/v1/jobs/{one}/execs",
         f"/v1/jobs/{one}/execs",
         f"/v1/jobs/{one}/execs/{run}", f"/v1/jobs/{job}/execs/{run}/logs", f"/v1/jobs/{job}/execs/{run}/stop",
         f"/v1/jobs/{one}/schedule", f"/v1/jobs/{one}/occurrences", "/v1/schedules/preview", "/healthz", "/metrics",
         "/v1", f"/{one}"]
    )  # fmt: skip
    query: list[tuple[str, str]] = []
    if dice.random() < 0.4:
        query = [(dice.choice(PARAMETERS), str(dice.choice(WORDS))) for _ in range(dice.choice([1, 1, 2, 3]))]
    url = URL(path, encoded=True).with_query(query)
    if dice.random() < 0.05:
        url = URL(str(url) + dice.choice(["?%", "?%zz=%", "&=", "?a&a&a", "?page=%ff"]), encoded=True)
    return url


def check(answer: Answer, method: str) -> None:
    """No 500, and every refusal a problem; /readyz alone may answer 503."""
    assert answer.status < 500
    if answer.status >= 400 and method != "HEAD":
        check_problem(answer)


async def test_no_random_request_is_answered_with_a_500(api: Api, world: World):
    """Methods, paths, queries, headers and bodies at random; afterwards the daemon is as well as before."""
    dice = random.Random(SEED)  # noqa: S311 - it guards nothing
    jobs = [(await api.create(f"seed {number}", command="true"))["id"] for number in range(3)]
    runs = [(job, (await api.trigger(job))["id"]) for job in jobs]
    seen: dict[int, int] = {}
    for number in range(REQUESTS):
        method = dice.choice(["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
        url = random_path(dice, jobs, runs)
        raw, headers = random_body(dice), dice.choice(HEADERS)
        if "Content-Encoding" in headers:  # the server closes after what it cannot unpack
            headers = {**headers, "Connection": "close"} if method != "HEAD" else {}
        answer = await api.send(method, url, raw=raw, headers=headers)
        try:
            check(answer, method)
        except AssertionError as error:
            error.add_note(f"request {number}: {method} {url} {headers} {raw!r:.300}\nanswer: {answer}")
            raise
        seen[answer.status] = seen.get(answer.status, 0) + 1
        if answer.status == 201 and (location := answer.headers.get("Location")):
            parts = location.split("/")
            if len(parts) == 4:
                jobs.append(int(parts[3]))
            else:
                runs.append((int(parts[3]), parts[5]))
    assert {200, 201, 204, 400, 404, 405, 413, 415} <= set(seen), seen
    assert world.daemon.failure is None
    assert (await api.get("/healthz")).status == 200
    assert (await api.get("/v1/jobs?page_size=1000")).status == 200
