"""`/v1/jobs/{job_id}/execs`: triggering, replaying, reading, stopping and deleting runs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.answers import answer
from api.bodies import body_of
from api.keys import CALLER, SERVICE
from api.paging import PAGE_PARAMETERS, envelope, flag_of, page_of, query_of
from api.routes.paths import EXEC, JOB
from api.schemas.execs import ExecCreate, ExecDetailOut, ExecOut, ExecStop
from scheduler.views import ExecView


async def create_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs?force=`: 201 with the run, which waits."""
    query = query_of(request, ("force",))
    body = await body_of(request, ExecCreate, what="trigger", optional=True)
    job_id = request.match_info["job_id"]
    view = await request.app[SERVICE].execs.trigger(
        request[CALLER], job_id, body.overrides(), force=flag_of(query, "force")
    )
    return _made(view)


async def replay_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs/{exec_id}/replay?force=`: 201 with the new run, which waits."""
    query = query_of(request, ("force",))
    body = await body_of(request, ExecCreate, what="replay", optional=True)
    view = await request.app[SERVICE].execs.replay(
        request[CALLER],
        request.match_info["job_id"],
        request.match_info["exec_id"],
        body.overrides(),
        force=flag_of(query, "force"),
    )
    return _made(view)


def _made(view: ExecView) -> web.Response:
    where = f"/v1/jobs/{view.exec.job_id}/execs/{view.exec.id}"
    return answer(ExecOut.of(view), status=201, headers={"Location": where})


async def list_execs(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/execs?page=&page_size=`: 200 with one page, newest first."""
    page = page_of(query_of(request, PAGE_PARAMETERS))
    count, found = await request.app[SERVICE].execs.list(
        request[CALLER], request.match_info["job_id"], page=page
    )
    return envelope(request, page, count, [ExecOut.of(view) for view in found])


async def get_exec(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/execs/{exec_id}`: 200 with the run and its whole job."""
    query_of(request, ())
    view, job = await request.app[SERVICE].execs.get(
        request[CALLER], request.match_info["job_id"], request.match_info["exec_id"]
    )
    return answer(ExecDetailOut.of_both(view, job))


async def stop_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs/{exec_id}/stop`: 202 with the run, which ends as cancelled."""
    query_of(request, ())
    await body_of(request, ExecStop, what="stop", optional=True)
    view = await request.app[SERVICE].execs.stop(
        request[CALLER], request.match_info["job_id"], request.match_info["exec_id"]
    )
    return answer(ExecOut.of(view), status=202)


async def delete_exec(request: web.Request) -> web.Response:
    """`DELETE /v1/jobs/{job_id}/execs/{exec_id}?force=`: 204; its logs go with it."""
    query = query_of(request, ("force",))
    await request.app[SERVICE].execs.delete(
        request[CALLER],
        request.match_info["job_id"],
        request.match_info["exec_id"],
        force=flag_of(query, "force"),
    )
    return web.Response(status=204)


ROUTES: Final = (
    web.post(JOB + "/execs", create_exec),
    web.get(JOB + "/execs", list_execs),
    web.get(EXEC, get_exec),
    web.delete(EXEC, delete_exec),
    web.post(EXEC + "/stop", stop_exec),
    web.post(EXEC + "/replay", replay_exec),
)
