"""Puts the routes together with what they need; the daemon serves the result."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.auth import auth_middleware
from api.finishing import CHANGES, finish, finishing_middleware
from api.keys import SERVICE, TOKENS
from api.problems import problems_middleware
from api.routes import execs, health, jobs, logs, schedules
from scheduler.service import Service
from scheduler.tokens import Tokens

JOB: Final = "/v1/jobs/{job_id}"
EXEC: Final = JOB + "/execs/{exec_id}"


def build_app(service: Service, tokens: Tokens, *, max_body_bytes: int) -> web.Application:
    """The application: every route, behind the middlewares."""
    app = web.Application(
        middlewares=[finishing_middleware, problems_middleware, auth_middleware],
        client_max_size=max_body_bytes,
    )
    app[CHANGES] = set()
    app.on_shutdown.append(finish)
    app[SERVICE] = service
    app[TOKENS] = tokens
    app.add_routes(
        [
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            web.get("/metrics", health.metrics),
            web.post("/v1/jobs", jobs.create_job),
            web.get("/v1/jobs", jobs.list_jobs),
            web.get(JOB, jobs.get_job),
            web.put(JOB, jobs.change_job),
            web.patch(JOB, jobs.change_job),
            web.delete(JOB, jobs.delete_job),
            web.get("/v1/schedules/preview", schedules.preview_schedule),
            web.get(JOB + "/schedule", schedules.get_job_schedule),
            web.get(JOB + "/occurrences", schedules.list_occurrences),
            web.post(JOB + "/execs", execs.create_exec),
            web.get(JOB + "/execs", execs.list_execs),
            web.get(EXEC, execs.get_exec),
            web.delete(EXEC, execs.delete_exec),
            web.post(EXEC + "/stop", execs.stop_exec),
            web.get(EXEC + "/logs", logs.get_exec_logs),
        ]
    )
    return app
