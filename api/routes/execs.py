"""`/v1/jobs/{job_id}/execs`: triggering, reading, stopping and deleting runs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.answers import answer
from api.bodies import body_of
from api.exec_filters import filter_of, parameters_of
from api.keys import CALLER, SERVICE
from api.paging import PAGE_PARAMETERS, envelope, flag_of, page_of, query_of
from api.routes.paths import EXEC, JOB
from api.schemas.execs import ExecCreate, ExecDetailOut, ExecOut, ExecStop


async def create_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs?force=`: 201 with the run, which waits."""
    query = query_of(request, ("force",))
    body = await body_of(request, ExecCreate, what="trigger", optional=True)
    job_id = request.match_info["job_id"]
    view = await request.app[SERVICE].execs.trigger(
        request[CALLER], job_id, body.overrides(), force=flag_of(query, "force")
    )
    return answer(
        ExecOut.of(view),
        status=201,
        headers={"Location": f"/v1/jobs/{view.exec.job_id}/execs/{view.exec.id}"},
    )


async def list_execs(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/execs?status=&page=&page_size=`: 200 with one page, newest first."""
    single, several = parameters_of(request.query, ("status", *PAGE_PARAMETERS))
    page = page_of(single)
    count, found = await request.app[SERVICE].execs.list(
        request[CALLER],
        request.match_info["job_id"],
        page=page,
        statuses=filter_of({}, several).statuses,
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
)
