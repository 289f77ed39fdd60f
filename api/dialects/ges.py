"""The dialect of GES: its projects are namespaces, its graphs are jobs, and its jobs are runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, Literal, NotRequired

from aiohttp import web
from typing_extensions import TypedDict

from api.dialects.dialect import Dialect, as_json
from api.http.keys import CALLER, SERVICE
from api.http.paging import LAST_PAGE
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Parameter, described
from api.operations.parameters import NAMESPACE_SCHEMA, number, path
from api.operations.tags import GES
from api.schemas.fields import NAMESPACE_REMEDY, is_namespace
from scheduler.access.callers import Role
from scheduler.domain.errors import FieldError, InvalidInputError, NotFoundError
from scheduler.domain.execution import Exec, ExecStatus
from scheduler.domain.filters import ExecFilter, Order, Position
from scheduler.domain.views import ListedExec, Page

MOST_JOBS: Final = 100_000
#: Number of runs that are read from the database and sent at a time.
BATCH: Final = 1_000
BAD_FORMAT, BAD_PARAMETER, NO_JOB, NO_ACCESS = "GES.8000", "GES.8005", "GES.8301", "GES.8402"
_STATUS: Final = {
    ExecStatus.WAITING: "pending",
    ExecStatus.RUNNING: "running",
    ExecStatus.SUCCEEDED: "success",
    ExecStatus.FAILED: "failed",
    ExecStatus.CANCELLED: "failed",
}
_CODES: Final = {401: NO_ACCESS, 403: NO_ACCESS, 404: NO_JOB}
#: The name that selects all graphs of a project.
ALL_GRAPHS: Final = "-"


class GesError(TypedDict):
    """An error in the format of GES.

    Attributes:
        errorMessage: what is wrong, and what to do.
        errorCode: the error code.
        result: always `failed`.
    """

    errorMessage: str
    errorCode: str
    result: Literal["failed"]


class GesJob(TypedDict):
    """A job in GES, which is a run. `rawRequest` is a string of JSON, and `progress` is a number as a string.

    Attributes:
        jobId: the run's id.
        rawRequest: the request of the run, as a JSON string.
        taskType: always `Container`.
        canStop: whether the run can be stopped.
        progress: progress in percent, as a string.
        startTime: when the run started; empty before that.
        endTime: when the run ended; empty before that.
        status: the status of the run.
        failReason: why the run failed.
    """

    jobId: str
    rawRequest: str
    taskType: Literal["Container"]
    canStop: bool
    progress: str
    startTime: str
    endTime: str
    status: str
    failReason: NotRequired[str]


class GesJobs(TypedDict):
    """A list of jobs, and their total number.

    Attributes:
        jobs: the runs.
        jobCount: total number of runs.
    """

    jobs: list[GesJob]
    jobCount: int


class GesStopped(TypedDict):
    """The confirmation that a job is being stopped.

    Attributes:
        result: always `success`.
        jobId: the run's id.
    """

    result: Literal["success"]
    jobId: str


def refusal(status: int, code: str, message: str) -> web.Response:
    """The response for an error: `{"errorMessage", "errorCode", "result": "failed"}`."""
    return as_json({"errorMessage": message, "errorCode": code, "result": "failed"}, status=status)


def refuse(status: int, problem: dict[str, Any]) -> web.Response:
    """The response for a problem. GES has status 400 for objects that do not exist."""
    code = _CODES.get(status) or (BAD_PARAMETER if "errors" in problem else BAD_FORMAT)
    return refusal(400 if status == 404 else status, code, problem["detail"])


DIALECT: Final = Dialect("ges", "/ges/", refuse, GesError, "X-Auth-Token", ("x_auth_token",))
_PATH: Final = (
    path("namespace", NAMESPACE_SCHEMA, "The project's id.", "proj_xxx"),
    path("job_id", {"type": "string", "minLength": 1}, "The graph's name or id; `-` for all.", "movie"),
)


@described(
    "List the jobs of a graph",
    tag=GES,
    path=_PATH,
    query=(
        number("limit", "Maximum number of jobs.", default=MOST_JOBS, largest=MOST_JOBS),
        number("offset", "Number of jobs to skip.", default=0, largest=LAST_PAGE, least=0),
        Parameter("job_id", {"type": "string"}, "Only this job."),
    ),
    answers={200: Answer("The jobs, newest first.", GesJobs, {"jobs": [examples.GES_JOB], "jobCount": 1})},
    refuses=(409,),
)
async def list_jobs(request: web.Request) -> web.StreamResponse:
    """`GET …/jobs/status?limit=&offset=&job_id=`: 200 with the runs, the newest first, sent as they are read."""
    query = query_of(request)
    limit = query.number("limit")
    offset = query.number("offset")
    selected = await _filter_of(request)
    if isinstance(selected, web.Response):
        return selected
    if (run_id := query.get("job_id")) is not None:
        listed = await _find(request, selected, run_id)
        return as_json({"jobs": [_job(listed)], "jobCount": 1})
    return await _write(request, selected, offset=offset, limit=limit)


async def _write(
    request: web.Request, selected: ExecFilter, *, offset: int, limit: int
) -> web.StreamResponse:
    service, order = request.app[SERVICE], Order.CREATED_DESCENDING
    # A page begins at a multiple of its size; the runs between its beginning and the offset are read and skipped.
    size = limit if limit < BATCH and offset % limit == 0 else BATCH
    page = Page(offset // size + 1, size)
    listing = await service.overview.list(request[CALLER], selected, order, page=page, count_all=True)
    count, rest = listing.count, listing.found[offset % size :]
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
    await response.prepare(request)
    await response.write(b'{"jobs":[')
    remaining, comma = limit, ""
    while rest:
        text = ",".join(json.dumps(_job(listed), ensure_ascii=False) for listed in rest[:remaining])
        await response.write((comma + text).encode())
        remaining, comma = remaining - len(rest), ","
        if remaining <= 0 or not listing.has_more:
            break
        last = rest[-1].view.exec
        after = Position(last.created_at, last.id)
        listing = await service.overview.list(
            request[CALLER], selected, order, page=Page(1, BATCH), after=after
        )
        rest = listing.found
    await response.write(f'],"jobCount":{count}}}'.encode())
    await response.write_eof()
    return response


@described(
    "Read a job",
    tag=GES,
    path=_PATH,
    answers={200: Answer("The job.", GesJob, examples.GES_JOB)},
    refuses=(409,),
)
async def get_job(request: web.Request) -> web.Response:
    """`GET …/jobs/{job_id}/status`: 200 with the run."""
    query_of(request)
    selected = await _filter_of(request)
    if isinstance(selected, web.Response):
        return selected
    return as_json(_job(await _find(request, selected, request.match_info["exec_id"])))


@described(
    "Stop a job",
    tag=GES,
    role=Role.OPERATOR,
    path=_PATH,
    answers={200: Answer("The job is being stopped.", GesStopped)},
    refuses=(409,),
)
async def stop_job(request: web.Request) -> web.Response:
    """`DELETE …/jobs/{job_id}`: stops the run; 200."""
    query_of(request)
    selected = await _filter_of(request)
    if isinstance(selected, web.Response):
        return selected
    run = (await _find(request, selected, request.match_info["exec_id"])).view.exec
    await request.app[SERVICE].execs.stop(request[CALLER], str(run.job_id), run.id)
    return as_json({"result": "success", "jobId": run.id})


async def _filter_of(request: web.Request) -> ExecFilter | web.Response:
    """The filter for the runs of the graph, or the response if the graph does not exist."""
    project, graph = request.match_info["namespace"], request.match_info["job_id"]
    if not is_namespace(project):
        raise InvalidInputError(
            FieldError("project_id", project, "is not a valid name of a namespace", NAMESPACE_REMEDY)
        )
    if graph == ALL_GRAPHS:
        return ExecFilter(namespace=project)
    try:
        job = await request.app[SERVICE].overview.find_job(request[CALLER], graph, namespace=project)
    except NotFoundError:
        return refusal(400, BAD_FORMAT, f"graph : {graph} not exist")
    return ExecFilter(namespace=project, job_id=job.id)


async def _find(request: web.Request, selected: ExecFilter, exec_id: str) -> ListedExec:
    try:
        listed, job = await request.app[SERVICE].overview.find_exec(request[CALLER], exec_id)
    except NotFoundError:
        job = None
    if job is None or job.definition.namespace != selected.namespace or selected.job_id not in (None, job.id):
        raise NotFoundError(f"job : {exec_id[:100]} not exist")
    return listed


def _job(listed: ListedExec) -> GesJob:
    run = listed.view.exec
    has_ended = run.ended_at is not None
    body: GesJob = {
        "jobId": run.id,
        "rawRequest": json.dumps(_request(run, listed.job_name), ensure_ascii=False),
        "taskType": "Container",
        "canStop": not has_ended,
        "progress": "100" if has_ended else "0",
        "startTime": _time(run.started_at),
        "endTime": _time(run.ended_at),
        "status": _STATUS[run.status],
    }
    if body["status"] == "failed":
        body["failReason"] = run.error or "The run was cancelled."
    return body


def _request(run: Exec, job_name: str) -> dict[str, Any]:
    return {
        "job": run.job_id,
        "name": job_name,
        "docker_image_repo": run.spec.docker_image_repo,
        "docker_image_tag": run.spec.docker_image_tag,
        "command": run.spec.command,
        "runtime_vars": dict(run.spec.runtime_vars),
        "resource_size": run.spec.resource_size,
    }


def _time(moment: datetime | None) -> str:
    """A time such as ``2024-05-23 09:54:00`` in UTC; empty for None."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


_JOBS: Final = "/ges/v1.0/{namespace}/graphs/{job_id}/jobs"
#: `status` is not the id of a job, so that other methods than GET get 405 there.
_JOB: Final = _JOBS + "/{exec_id:(?!status$)[^/]+}"
ROUTES: Final = (
    web.get(_JOBS + "/status", list_jobs),
    web.get(_JOB + "/status", get_job),
    web.delete(_JOB, stop_job),
)
