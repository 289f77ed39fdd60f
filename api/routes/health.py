"""`/healthz`, `/readyz` and `/metrics`: how the daemon is."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.keys import SERVICE
from scheduler.metrics import REGISTRY


async def healthz(_request: web.Request) -> web.Response:
    """`GET /healthz`: 200 while the daemon is alive."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: 200 when database and engines answer, else 503; both say how each of them is."""
    readiness = await request.app[SERVICE].readiness()
    body = {"status": "ok" if readiness.ready else "unavailable", "checks": dict(readiness.checks)}
    headers = {} if readiness.ready else {"Retry-After": "5"}
    return web.json_response(body, status=200 if readiness.ready else 503, headers=headers)


async def metrics(_request: web.Request) -> web.Response:
    """`GET /metrics`: the daemon's figures, as Prometheus reads them."""
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


ROUTES: Final = (
    web.get("/healthz", healthz),
    web.get("/readyz", readyz),
    web.get("/metrics", metrics),
)
