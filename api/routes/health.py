"""`/healthz`, `/readyz` and `/metrics`: the state of the daemon."""

from __future__ import annotations

from typing import Final, Literal

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from typing_extensions import TypedDict

from api.http.keys import SERVICE
from api.operations.operation import Answer, described
from api.operations.tags import DAEMON
from scheduler.process.metrics import REGISTRY


class Health(TypedDict):
    """The daemon is alive.

    Attributes:
        status: always `ok`.
    """

    status: Literal["ok"]


class Readiness(TypedDict):
    """Whether the daemon is ready, and the result of each check.

    Attributes:
        status: `ok` if all checks passed.
        checks: the result of each check: the database and the engines.
    """

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


@described(
    "Check whether the daemon is alive",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={200: Answer("The daemon is alive.", Health, {"status": "ok"})},
)
async def healthz(_request: web.Request) -> web.Response:
    """`GET /healthz`: 200 while the daemon is alive."""
    alive: Health = {"status": "ok"}
    return web.json_response(alive)


@described(
    "Check whether the daemon is ready",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={
        200: Answer("The database and all engines answer.", Readiness),
        503: Answer(
            "Some of them do not answer.",
            Readiness,
            headers={"Retry-After": "Seconds after which to try again."},
        ),
    },
)
async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: 200 if the database and all engines answer, else 503; both with the result of each check."""
    readiness = await request.app[SERVICE].readiness()
    body: Readiness = {"status": "ok" if readiness.ready else "unavailable", "checks": dict(readiness.checks)}
    headers = {} if readiness.ready else {"Retry-After": "5"}
    return web.json_response(body, status=200 if readiness.ready else 503, headers=headers)


@described(
    "Read metrics",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={
        200: Answer(
            "Metrics in the format of Prometheus.",
            media={CONTENT_TYPE_LATEST.split(";")[0]: {"type": "string"}},
        )
    },
)
async def metrics(_request: web.Request) -> web.Response:
    """`GET /metrics`: the daemon's metrics in the format of Prometheus."""
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


ROUTES: Final = (
    web.get("/healthz", healthz),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
)
