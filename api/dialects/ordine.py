"""The dialect of Ordine: its jobs (`/api/jobs`) are runs, and its pipelines (`/api/pipelines`) are jobs.

A client can choose the id of a run. It is stored as a label, and refers to the run from then on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from api.dialects.dialect import Dialect, as_json
from api.dialects.ordine_shapes import (
    STATUSES,
    OrdineError,
    OrdineJob,
    OrdineJobChange,
    OrdineJobIn,
    OrdineRunIn,
    OrdineTrace,
    OrdineTriggered,
)
from api.http.bodies import body_of
from api.http.filters import cursor_after, position_of
from api.http.keys import CALLER, SERVICE
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Body, Parameter, described
from api.operations.parameters import number, path, words
from api.operations.tags import ORDINE
from scheduler.access.callers import Caller, Role
from scheduler.domain.drafting import Overrides
from scheduler.domain.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from scheduler.domain.execution import Exec, ExecStatus
from scheduler.domain.filters import ExecFilter, Order
from scheduler.domain.job import Job
from scheduler.domain.stream import Stream
from scheduler.domain.views import ExecView, ListedExec, Page
from scheduler.logs.reader import LogQuery
from scheduler.service import Service

#: The word for success: `completed`, or `done` for clients that expect that.
SUCCESS_WORD: Final = web.AppKey("ordine_success_word", str)
#: The label with the id that the client chose for a run.
OWN_ID: Final = "ordine.id"
DEFAULT_LIMIT, MOST_JOBS = 1_000, 10_000
MOST_TRACES: Final = 10_000
_WORD: Final = {status: word for word, status in STATUSES.items() if word != "done"}
_LEVEL: Final = {Stream.STDERR: "error"}


def refuse(status: int, problem: dict[str, Any]) -> web.Response:
    """The response for a problem: `{"error": …}`."""
    return as_json({"error": problem["detail"]}, status=status)


DIALECT: Final = Dialect("ordine", "/api/", refuse, OrdineError)
_ID: Final = path("exec_id", {"type": "string", "minLength": 1}, "The job's id.", "job_manual_001")
_PIPELINE: Final = path(
    "job_id", {"type": "string", "minLength": 1}, "The pipeline's id or name.", "pipe_check_dao"
)
_CURSOR: Final = Parameter(
    "cursor", {"type": "string", "format": "cursor"}, "The cursor of an earlier answer, to continue after it."
)
_TRIGGERED: Final = Answer("The job's id.", OrdineTriggered, {"jobId": "job_manual_001"})


@described(
    "List jobs",
    tag=ORDINE,
    query=(
        Parameter("status", words(STATUSES), "Only jobs with this status.", "running"),
        Parameter("projectId", {"type": "string"}, "Only jobs of this project.", "proj_xxx"),
        Parameter("pipelineId", {"type": "string"}, "Only jobs of this pipeline, by id or name."),
        number("limit", "Maximum number of jobs.", default=DEFAULT_LIMIT, largest=MOST_JOBS),
        _CURSOR,
    ),
    answers={
        200: Answer(
            "A plain array, the newest first.",
            list[OrdineJob],
            [examples.ORDINE_JOB],
            headers={"X-Next-Cursor": "The cursor of the next page, if there are more jobs."},
        )
    },
    refuses=(404, 409),
)
async def list_jobs(request: web.Request) -> web.Response:
    """`GET /api/jobs?status=&projectId=&pipelineId=&limit=&cursor=`: 200 with a plain array, the newest first."""
    query = query_of(request)
    service, caller = request.app[SERVICE], request[CALLER]
    word, statuses = query.get("status"), frozenset[ExecStatus]()
    if word is not None:
        statuses = frozenset({_status_of(word)})
    job_id = None
    if (pipeline := query.get("pipelineId")) is not None:
        job_id = (await _pipeline(service, caller, pipeline, query.get("projectId"))).id
    order = Order.CREATED_DESCENDING
    listing = await service.overview.list(
        caller,
        ExecFilter(namespace=query.get("projectId"), job_id=job_id, statuses=statuses),
        order,
        page=Page(1, query.number("limit")),
        after=position_of(query, order),
    )
    response = as_json([_job(request, listed) for listed in listing.found])
    if listing.has_more:
        last = listing.found[-1].view.exec
        response.headers["X-Next-Cursor"] = cursor_after(order, last.created_at, last.id)
    return response


@described(
    "Read a job", tag=ORDINE, path=(_ID,), answers={200: Answer("The job.", OrdineJob, examples.ORDINE_JOB)}
)
async def get_job(request: web.Request) -> web.Response:
    """`GET /api/jobs/{id}`: 200 with the run."""
    query_of(request)
    listed, _ = await _find(request)
    return as_json(_job(request, listed))


@described(
    "Create a job",
    tag=ORDINE,
    role=Role.OPERATOR,
    body=Body(OrdineJobIn, {"an id of one's own": examples.ORDINE_JOB_CREATE}),
    answers={201: _TRIGGERED},
    refuses=(404, 409),
)
async def create_job(request: web.Request) -> web.Response:
    """`POST /api/jobs`: triggers a run of the pipeline; 201 with `{"jobId"}`."""
    query_of(request)
    body = await body_of(request, OrdineJobIn, what="job")
    if body.id is not None and await _of_own_id(request, body.id) is not None:
        raise ConflictError(
            f"A job with the id '{body.id}' already exists; choose another id, or leave it out"
        )
    return await _run(request, body.pipelineId, body, own_id=body.id, project=body.projectId)


@described(
    "Run a pipeline",
    tag=ORDINE,
    role=Role.OPERATOR,
    path=(_PIPELINE,),
    body=Body(
        OrdineRunIn, {"with inputs": {"inputPath": "./src", "inputs": {"LEVEL": "all"}}}, is_required=False
    ),
    answers={201: _TRIGGERED},
    refuses=(409,),
)
async def run_pipeline(request: web.Request) -> web.Response:
    """`POST /api/pipelines/{id}/run`: triggers a run; 201 with `{"jobId"}`."""
    query_of(request)
    body = await body_of(request, OrdineRunIn, what="run", optional=True)
    return await _run(request, request.match_info["job_id"], body)


@described(
    "Cancel a job",
    tag=ORDINE,
    role=Role.OPERATOR,
    path=(_ID,),
    body=Body(OrdineJobChange, {"cancel": examples.ORDINE_CANCEL, "confirm": examples.ORDINE_JOB_CHANGE}),
    answers={200: Answer("The job.", OrdineJob, examples.ORDINE_JOB)},
    refuses=(409,),
    description="`cancelled` stops the job. Any other status must be the current one.",
)
async def change_job(request: web.Request) -> web.Response:
    """`PATCH /api/jobs/{id}`: `cancelled` stops the run; other statuses must be the current one; 200 with it."""
    query_of(request)
    body = await body_of(request, OrdineJobChange, what="job")
    requested = _status_of(body.status)
    listed, job = await _find(request)
    current = listed.view.exec.status
    if requested is ExecStatus.CANCELLED and current in (ExecStatus.WAITING, ExecStatus.RUNNING):
        view = await request.app[SERVICE].execs.stop(request[CALLER], str(job.id), listed.view.exec.id)
        return as_json(_job(request, ListedExec(view, listed.job_name)))
    if requested is not current:
        raise ConflictError(
            f"The job's status is {_word(request, current)} and cannot be changed to {body.status}; "
            "set it to cancelled to stop a job that has not ended"
        )
    return as_json(_job(request, listed))


@described(
    "Delete a job",
    tag=ORDINE,
    role=Role.EDITOR,
    path=(_ID,),
    answers={204: Answer("The job is deleted.")},
    refuses=(409,),
)
async def delete_job(request: web.Request) -> web.Response:
    """`DELETE /api/jobs/{id}`: 204, or 409 if the run has not ended."""
    query_of(request)
    listed, job = await _find(request)
    try:
        await request.app[SERVICE].execs.delete(
            request[CALLER], str(job.id), listed.view.exec.id, force=False
        )
    except ConflictError as error:
        raise ConflictError(
            'The job has not ended; cancel it first with PATCH {"status": "cancelled"}'
        ) from error
    return web.Response(status=204)


@described(
    "Read a job's log",
    tag=ORDINE,
    path=(_ID,),
    query=(
        number("limit", "Maximum number of lines.", default=MOST_TRACES, largest=MOST_TRACES),
        Parameter(
            "cursor", {"type": "string", "format": "log-cursor"}, "Continue after the trace with this id."
        ),
    ),
    answers={200: Answer("The lines of the log, the oldest first.", list[OrdineTrace])},
)
async def list_traces(request: web.Request) -> web.Response:
    """`GET /api/jobs/{id}/traces?limit=&cursor=`: 200 with the run's log, the oldest line first."""
    query = query_of(request)
    listed, job = await _find(request)
    log_query = LogQuery(limit=query.number("limit"), cursor=query.get("cursor"))
    job_id = _id_of(listed.view.exec)
    traces: list[OrdineTrace] = []
    _, reading = await request.app[SERVICE].logs.read(
        request[CALLER], str(job.id), listed.view.exec.id, log_query
    )
    async for lines in reading:
        traces += [
            {
                "id": reading.cursor_of(line),
                "jobId": job_id,
                "level": _LEVEL.get(line.stream, "info"),
                "message": line.message.decode("utf-8", "replace"),
                "createdAt": _time(line.at),
            }
            for line in lines
        ]
    return as_json(traces)


async def _run(
    request: web.Request,
    pipeline: str,
    body: OrdineRunIn,
    *,
    own_id: str | None = None,
    project: str | None = None,
) -> web.Response:
    service, caller = request.app[SERVICE], request[CALLER]
    job = await _pipeline(service, caller, pipeline, project)
    variables = dict(body.inputs or {})
    if body.inputPath is not None:
        variables["INPUT_PATH"] = body.inputPath
    overrides = Overrides(runtime_vars=variables, labels=None if own_id is None else {OWN_ID: own_id})
    view = await service.execs.trigger(caller, str(job.id), overrides)
    return as_json({"jobId": _id_of(view.exec)}, status=201)


async def _pipeline(service: Service, caller: Caller, text: str, project: str | None) -> Job:
    try:
        return await service.overview.find_job(caller, text, namespace=project)
    except NotFoundError as error:
        raise NotFoundError("Pipeline not found") from error


async def _find(request: web.Request) -> tuple[ListedExec, Job]:
    text = request.match_info["exec_id"]
    try:
        return await request.app[SERVICE].overview.find_exec(
            request[CALLER], await _of_own_id(request, text) or text
        )
    except NotFoundError as error:
        raise NotFoundError("Job not found") from error


async def _of_own_id(request: web.Request, text: str) -> str | None:
    """The id of the run for which a client chose this id; None if there is none."""
    listing = await request.app[SERVICE].overview.list(
        request[CALLER],
        ExecFilter(labels={OWN_ID: text}),
        Order.CREATED_DESCENDING,
        page=Page(1, 1),
    )
    return listing.found[0].view.exec.id if listing.found else None


def _status_of(word: str) -> ExecStatus:
    if word not in STATUSES:
        raise InvalidInputError(
            FieldError("status", word, "is not a status of a job", f"use one of {', '.join(STATUSES)}")
        )
    return STATUSES[word]


def _word(request: web.Request, status: ExecStatus) -> str:
    return request.app[SUCCESS_WORD] if status is ExecStatus.SUCCEEDED else _WORD[status]


def _id_of(run: Exec) -> str:
    return run.spec.labels.get(OWN_ID, run.id)


def _job(request: web.Request, listed: ListedExec) -> OrdineJob:
    view: ExecView = listed.view
    run = view.exec
    return {
        "id": _id_of(run),
        "pipelineId": str(run.job_id),
        "pipelineName": listed.job_name,
        "projectId": run.namespace,
        "status": _word(request, run.status),
        "result": None
        if run.ended_at is None
        else {"summary": run.error or "The container ended with 0.", "exitCode": run.exit_code},
        "error": run.error,
        "startedAt": _time(run.started_at),
        "completedAt": _time(run.ended_at),
        "createdAt": _time(run.created_at),
    }


def _time(moment: datetime | None) -> str | None:
    """A time in the format of JavaScript: ``2015-12-28T14:31:07.639Z``; None for None."""
    return (
        None
        if moment is None
        else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


_JOB: Final = "/api/jobs/{exec_id}"
ROUTES: Final = (
    web.get("/api/jobs", list_jobs),
    web.post("/api/jobs", create_job),
    web.get(_JOB, get_job),
    web.patch(_JOB, change_job),
    web.delete(_JOB, delete_job),
    web.get(_JOB + "/traces", list_traces),
    web.post("/api/pipelines/{job_id}/run", run_pipeline),
)
