"""Ordinary logs, made up: what web servers, services, batch jobs and builds print, the same in every run.

Times go on unevenly, names repeat, numbers and ids do not: that decides how well a log can be compressed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Final

_BEGIN: Final = 1_700_000_000.0
_PATHS: Final = (
    lambda _: "/",
    lambda dice: f"/api/v1/items/{dice.randrange(100_000)}",
    lambda dice: f"/static/app.{dice.randrange(40):08x}.js",
    lambda _: "/login",
    lambda _: "/healthz",
    lambda dice: f"/api/v1/users/{dice.randrange(5000)}/orders",
    lambda dice: f"/search?q={dice.choice(('shoes', 'red+hat', 'lamp', 'usb+cable'))}",
)
_CLIENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15",
    "curl/7.88.1",
    "kube-probe/1.28",
)
_PARTS: Final = ("core", "util", "net", "http", "parser", "render", "store", "index", "queue", "auth")


def web_server(dice: random.Random) -> Iterator[str]:
    """An access log in the combined format."""
    moment = _BEGIN
    while True:
        moment += dice.expovariate(20)
        when = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(moment))
        method = dice.choices(("GET", "POST"), (9, 1))[0]
        status = dice.choices((200, 304, 404, 500), (90, 5, 4, 1))[0]
        client = (
            f"{dice.choice((10, 172, 192))}.{dice.randrange(4)}.{dice.randrange(8)}.{dice.randrange(256)}"
        )
        size = int(dice.lognormvariate(8, 1.5))
        path = dice.choice(_PATHS)(dice)
        yield f'{client} - - [{when} +0000] "{method} {path} HTTP/1.1" {status} {size} "-" "{dice.choice(_CLIENTS)}"'


def service(dice: random.Random) -> Iterator[str]:
    """One JSON object a line, each with a request's random id of 64 bits."""
    moment = _BEGIN
    while True:
        moment += dice.expovariate(30)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
        level = dice.choices(("info", "debug", "warning", "error"), (70, 20, 8, 2))[0]
        said = dice.choice(
            ("request finished", "cache miss", "job picked up", "retrying connection", "logged in")
        )
        yield (
            f'{{"ts":"{when}.{int(moment % 1 * 1e6):06d}Z","level":"{level}","logger":"app.{dice.choice(_PARTS)}",'
            f'"msg":"{said}","request_id":"{dice.getrandbits(64):016x}","duration_ms":{dice.expovariate(0.05):.2f}}}'
        )


def batch_job(dice: random.Random) -> Iterator[str]:
    """A worker's log with a traceback now and then."""
    moment, number = _BEGIN, 0
    while True:
        moment += dice.expovariate(10)
        number += 1
        when = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(moment))},{int(moment % 1 * 1e3):03d}"
        if dice.random() < 0.03:
            yield f"{when} ERROR app.worker: task {dice.randrange(10_000)} failed"
            yield "Traceback (most recent call last):"
            yield '  File "/srv/app/worker.py", line 142, in run'
            yield "    result = task.execute(context)"
            yield f'  File "/srv/app/tasks/{dice.choice(_PARTS)}.py", line {dice.randrange(300)}, in execute'
            row, columns = dice.randrange(100_000), dice.randrange(12)
            yield f"ValueError: cannot parse row {row}: expected 12 columns, got {columns}"
        else:
            did = dice.choice(("loaded batch", "wrote rows", "uploaded part", "checked file"))
            yield f"{when} INFO app.{dice.choice(_PARTS)}: {did} {number % 500} of 500 in {dice.expovariate(2):.3f} s"


def build(dice: random.Random) -> Iterator[str]:
    """A compiler's and a test runner's."""
    number = 0
    while True:
        number += 1
        part, file = dice.choice(_PARTS), f"{dice.choice(_PARTS)}_{dice.choice(_PARTS)}"
        kind = dice.random()
        if kind < 0.6:
            yield f"[{number // 200 % 101:3d}%] Building CXX object src/{part}/CMakeFiles/{part}.dir/{file}.cpp.o"
        elif kind < 0.9:
            yield f"test_{file}_{dice.randrange(1000)} (tests.test_{part}.Test{part.title()}) ... ok"
        else:
            yield f"src/{part}/{file}.cpp:{dice.randrange(900)}:{dice.randrange(80)}: warning: unused variable 'i'"


KINDS: Final[dict[str, Callable[[random.Random], Iterator[str]]]] = {
    "web server": web_server,
    "service, JSON": service,
    "batch job": batch_job,
    "build": build,
}


def ordinary_log(kind: str, size: int) -> bytes:
    """So many bytes of a log of that kind, a little more."""
    lines, total = [], 0
    for line in KINDS[kind](random.Random(7)):  # noqa: S311 - the same log in every run
        lines.append(line.encode() + b"\n")
        total += len(lines[-1])
        if total >= size:
            return b"".join(lines)
    raise AssertionError
