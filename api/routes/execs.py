"""`/v1/jobs/{job_id}/execs`: triggering, replaying, reading, stopping and deleting runs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.bodies import body_of
from api.http.filters import STATUS
from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Body, described
from api.operations.parameters import flag
from api.operations.tags import RUNS
from api.routes.paths import EXEC, JOB
from api.schemas.common import ListOut
from api.schemas.execs import ExecCreate, ExecDetailOut, ExecOut, ExecStop
from scheduler.access.callers import Role
from scheduler.domain.execution import ExecStatus
from scheduler.domain.views import ExecView


@described(
    "Trigger a run",
    tag=RUNS,
    role=Role.OPERATOR,
    query=(
        flag("force", "Run it even if the job forbids overlapping runs and an earlier run has not ended."),
    ),
    body=Body(ExecCreate, {"with changes": examples.EXEC_CREATE, "as it is": {}}, is_required=False),
    answers={
        201: Answer(
            "The run. It is waiting.", ExecOut, examples.EXEC, headers={"Location": "The URL of the run."}
        )
    },
    refuses=(409,),
)
async def create_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs?force=`: 201 with the run, which is waiting."""
    query = query_of(request)
    body = await body_of(request, ExecCreate, what="trigger", optional=True)
    job_id = request.match_info["job_id"]
    view = await request.app[SERVICE].execs.trigger(
        request[CALLER], job_id, body.overrides(), force=query.flag("force")
    )
    return _created(view)


@described(
    "Replay a run",
    tag=RUNS,
    role=Role.OPERATOR,
    query=(
        flag("force", "Run it even if the job forbids overlapping runs and an earlier run has not ended."),
    ),
    body=Body(ExecCreate, {"as it was": {}, "with a change": {"priority": 10}}, is_required=False),
    answers={
        201: Answer(
            "The new run. It is waiting.",
            ExecOut,
            examples.EXEC,
            headers={"Location": "The URL of the run."},
        )
    },
    refuses=(409,),
    description="Uses the same image digest, command and variables again, except for what the body changes.",
)
async def replay_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs/{exec_id}/replay?force=`: 201 with the new run, which is waiting."""
    query = query_of(request)
    body = await body_of(request, ExecCreate, what="replay", optional=True)
    view = await request.app[SERVICE].execs.replay(
        request[CALLER],
        request.match_info["job_id"],
        request.match_info["exec_id"],
        body.overrides(),
        force=query.flag("force"),
    )
    return _created(view)


def _created(view: ExecView) -> web.Response:
    where = f"/v1/jobs/{view.exec.job_id}/execs/{view.exec.id}"
    return answer(ExecOut.of_view(view), status=201, headers={"Location": where})


@described(
    "List the runs of a job",
    tag=RUNS,
    query=(STATUS, *PAGE),
    answers={
        200: Answer(
            "One page, the latest first.",
            ListOut[ExecOut],
            {"count": 1, "previous": None, "next": None, "results": [examples.EXEC_FAILED]},
        )
    },
)
async def list_execs(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/execs?status=&page=&page_size=`: 200 with one page, the latest first."""
    query = query_of(request)
    page = query.page()
    count, views = await request.app[SERVICE].execs.list(
        request[CALLER],
        request.match_info["job_id"],
        page=page,
        statuses=query.words("status", ExecStatus),
    )
    return envelope(request, page, count, [ExecOut.of_view(view) for view in views])


@described(
    "Read a run",
    tag=RUNS,
    answers={200: Answer("The run with its job.", ExecDetailOut, examples.EXEC_DETAIL)},
)
async def get_exec(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/execs/{exec_id}`: 200 with the run and its job."""
    query_of(request)
    view, job = await request.app[SERVICE].execs.get(
        request[CALLER], request.match_info["job_id"], request.match_info["exec_id"]
    )
    return answer(ExecDetailOut.of_both(view, job))


@described(
    "Stop a run",
    tag=RUNS,
    role=Role.OPERATOR,
    body=Body(ExecStop, is_required=False),
    answers={202: Answer("The run. It will end as cancelled.", ExecOut)},
    refuses=(409,),
    description="Sends SIGTERM, then SIGKILL after the job's `stop_grace_seconds`.",
)
async def stop_exec(request: web.Request) -> web.Response:
    """`POST /v1/jobs/{job_id}/execs/{exec_id}/stop`: 202 with the run, which will end as cancelled."""
    query_of(request)
    await body_of(request, ExecStop, what="stop", optional=True)
    view = await request.app[SERVICE].execs.stop(
        request[CALLER], request.match_info["job_id"], request.match_info["exec_id"]
    )
    return answer(ExecOut.of_view(view), status=202)


@described(
    "Delete a run",
    tag=RUNS,
    role=Role.EDITOR,
    query=(flag("force", "Stop the run first if it has not ended."),),
    answers={204: Answer("The run and its log are deleted.")},
    refuses=(409,),
)
async def delete_exec(request: web.Request) -> web.Response:
    """`DELETE /v1/jobs/{job_id}/execs/{exec_id}?force=`: 204; its log is deleted with it."""
    query = query_of(request)
    await request.app[SERVICE].execs.delete(
        request[CALLER],
        request.match_info["job_id"],
        request.match_info["exec_id"],
        force=query.flag("force"),
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
