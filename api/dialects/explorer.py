"""The dialect of Explorer workflow: its jobs are runs, its workflows are jobs, and the ids of runs are numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from api.dialects.dialect import Dialect, as_json
from api.http.keys import CALLER, SERVICE
from api.http.paging import LARGEST_PAGE_SIZE, LAST_PAGE
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Parameter, described
from api.operations.parameters import ID, number, path
from api.operations.tags import EXPLORER
from api.schemas.common import Input, Whole, invalid_input
from api.schemas.fields import Text
from scheduler.access.callers import Role
from scheduler.domain.errors import FieldError, InvalidInputError, NotFoundError
from scheduler.domain.execution import ExecStatus
from scheduler.domain.filters import ExecFilter, Order
from scheduler.domain.job import Job
from scheduler.domain.views import ListedExec, Page

DEFAULT_PAGE_SIZE: Final = 10
#: The last millisecond of the year 9999.
LAST_MILLISECOND: Final = 253_402_300_799_999
_STATUS: Final = {
    0: ExecStatus.WAITING,
    1: ExecStatus.RUNNING,
    2: ExecStatus.SUCCEEDED,
    3: ExecStatus.FAILED,
    4: ExecStatus.CANCELLED,
}
_NUMBER: Final = {status: number for number, status in _STATUS.items()}
_CODES: Final = {401: 40104000, 403: 40304000, 404: 40404000}
#: The name of a run: that of its workflow, and the second in which the run was created (UTC).
_RUN_NAME: Final = re.compile(r"(.+)_([0-9]{14})", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Filter(Input):
    """The JSON object in the parameter `filter`."""

    name: Text | None = None
    status: Whole | None = Field(default=None, ge=0, le=4)
    fromCreateTime: Whole | None = Field(default=None, ge=0, le=LAST_MILLISECOND)  # noqa: N815 - the name on the wire
    toCreateTime: Whole | None = Field(default=None, ge=0, le=LAST_MILLISECOND)  # noqa: N815
    orderByCreateTime: Literal["asc", "desc"] = "desc"  # noqa: N815


class ExplorerError(TypedDict):
    """An error in the format of Explorer. The code begins with the HTTP status.

    Attributes:
        code: the error code.
        message: what is wrong, and what to do.
    """

    code: int
    message: str


class ExplorerJob(TypedDict):
    """A job in Explorer, which is a run. `status` is 0 preparing, 1 running, 2 succeeded, 3 failed, 4 interrupted.

    Attributes:
        id: the run's number.
        name: the run's name.
        workflowId: the job's id.
        workflowName: the job's name.
        status: the status of the run, as a number.
        runBeginTime: when the run started, in milliseconds since 1970; null before that.
        runEndTime: when the run ended, in milliseconds since 1970; null before that.
        createTime: when the run was created, in milliseconds since 1970.
    """

    id: int
    name: str
    workflowId: str
    workflowName: str
    status: int
    runBeginTime: int | None
    runEndTime: int | None
    createTime: int | None


class ExplorerPage(TypedDict):
    """One page of jobs, and their total number.

    Attributes:
        items: the runs of this page.
        total: total number of runs.
        Page: the number of this page.
        PageSize: the size of a page.
    """

    items: list[ExplorerJob]
    total: int
    Page: int
    PageSize: int


class ExplorerJobAnswer(TypedDict):
    """A job, in Explorer's envelope.

    Attributes:
        code: always 0.
        message: always `Success`.
        data: the run.
    """

    code: Literal[0]
    message: Literal["Success"]
    data: ExplorerJob


class ExplorerJobsAnswer(TypedDict):
    """A page of jobs, in Explorer's envelope.

    Attributes:
        code: always 0.
        message: always `Success`.
        data: the page.
    """

    code: Literal[0]
    message: Literal["Success"]
    data: ExplorerPage


def refuse(status: int, problem: dict[str, Any]) -> web.Response:
    """The response for a problem: `{"code", "message"}`, whose code begins with the HTTP status."""
    code = _CODES.get(status) or (40004001 if "errors" in problem else status * 100_000 + 4000)
    return as_json({"code": code, "message": problem["detail"]}, status=status)


DIALECT: Final = Dialect(
    "explorer", "/api-open/", refuse, ExplorerError, "explorer_token", ("explorer_token", "explorer_cookie")
)
_ID: Final = path("exec_number", ID, "The job's id.", 105)
_WORKFLOW: Final = path("job_id", {"type": "string", "minLength": 1}, "The workflow's id or name.", "146")
_QUERY: Final = (
    Parameter(
        "filter",
        {"type": "string", "format": "explorer-filter"},
        "A JSON object with `name`, `status`, `fromCreateTime`, `toCreateTime` (milliseconds), `orderByCreateTime`.",
        examples.EXPLORER_FILTER,
    ),
    number("pageSize", "The size of a page.", default=DEFAULT_PAGE_SIZE, largest=LARGEST_PAGE_SIZE),
    number("page", "The number of the page, from 1.", default=1, largest=LAST_PAGE),
)
_ONE: Final = Answer(
    "The job.", ExplorerJobAnswer, {"code": 0, "message": "Success", "data": examples.EXPLORER_JOB}
)
_MANY: Final = Answer(
    "One page of jobs, the newest first unless the filter sets another order.",
    ExplorerJobsAnswer,
    {
        "code": 0,
        "message": "Success",
        "data": {"items": [examples.EXPLORER_JOB], "total": 1, "Page": 1, "PageSize": 10},
    },
)


@described("List jobs", tag=EXPLORER, query=_QUERY, answers={200: _MANY})
async def list_jobs(request: web.Request) -> web.Response:
    """`GET /api-open/v1/jobs?filter=&pageSize=&page=`: 200 with one page of the runs, the newest first."""
    return await _list(request, None)


@described(
    "List the jobs of a workflow",
    tag=EXPLORER,
    path=(_WORKFLOW,),
    query=_QUERY,
    answers={200: _MANY},
    refuses=(409,),
)
async def list_jobs_of_workflow(request: web.Request) -> web.Response:
    """`GET /api-open/v1/workflows/{id}/jobs?filter=&pageSize=&page=`: 200 with one page of the workflow's runs."""
    return await _list(request, await _workflow(request))


async def _list(request: web.Request, job: Job | None) -> web.Response:
    query = query_of(request)
    given = _filter_of(query)
    number = query.number("page")
    size = query.number("pageSize")
    selected = ExecFilter(
        job_id=None if job is None else job.id,
        statuses=frozenset() if given.status is None else frozenset({_STATUS[given.status]}),
        **_name_and_times(given),
    )
    order = Order.CREATED if given.orderByCreateTime == "asc" else Order.CREATED_DESCENDING
    listing = await request.app[SERVICE].overview.list(
        request[CALLER], selected, order, page=Page(number, size), count_all=True
    )
    items = [_item(run) for run in listing.found]
    return _success({"items": items, "total": listing.count, "Page": number, "PageSize": size})


@described("Read a job", tag=EXPLORER, path=(_ID,), answers={200: _ONE})
async def get_job(request: web.Request) -> web.Response:
    """`GET /api-open/v1/jobs/{id}`: 200 with the run."""
    query_of(request)
    return _success(_item((await _find(request))[0]))


@described("Cancel a job", tag=EXPLORER, role=Role.OPERATOR, path=(_ID,), answers={200: _ONE}, refuses=(409,))
async def cancel_job(request: web.Request) -> web.Response:
    """`PUT /api-open/v1/jobs/{id}/cancel`: stops the run; 200 with it."""
    query_of(request)
    listed, job = await _find(request)
    view = await request.app[SERVICE].execs.stop(request[CALLER], str(job.id), listed.view.exec.id)
    return _success(_item(ListedExec(view, listed.job_name)))


@described(
    "Run a workflow",
    tag=EXPLORER,
    role=Role.OPERATOR,
    path=(_WORKFLOW,),
    answers={200: _ONE},
    refuses=(409,),
)
async def run_workflow(request: web.Request) -> web.Response:
    """`POST /api-open/v1/workflows/{id}/jobs`: triggers a run; 200 with it."""
    query_of(request)
    job = await _workflow(request)
    view = await request.app[SERVICE].execs.trigger(request[CALLER], str(job.id))
    listed, _ = await request.app[SERVICE].overview.find_exec(request[CALLER], view.exec.id)
    return _success(_item(listed))


def _filter_of(query: Mapping[str, str]) -> Filter:
    text = query.get("filter")
    if text is None:
        return Filter()
    try:
        given = Filter.model_validate_json(text)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            remedy = 'write an object such as {"status": 2, "orderByCreateTime": "asc"}, URL-encoded'
            raise InvalidInputError(FieldError("filter", text, "is not a JSON object", remedy)) from error
        raise invalid_input(error, fields=tuple(Filter.model_fields), what="filter") from None
    start, end = given.fromCreateTime, given.toCreateTime
    if start is not None and end is not None and start > end:
        raise InvalidInputError(
            FieldError("fromCreateTime", start, f"is later than toCreateTime={end}", "swap the two")
        )
    return given


def _name_and_times(given: Filter) -> dict[str, Any]:
    """The conditions on name and time. The name of a run contains both: its job's name and its time."""
    start, end = _moment(given.fromCreateTime), _moment(given.toCreateTime)
    name = given.name
    if name is not None and (match := _RUN_NAME.fullmatch(name)) is not None:
        try:
            created_at = datetime.strptime(match[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            created_at = None
        if created_at is not None:
            name = match[1]
            last = created_at + timedelta(seconds=1, microseconds=-1)
            start, end = max(start or created_at, created_at), min(end or last, last)
    # To the end of the millisecond, which is the precision of this API.
    if given.toCreateTime is not None and end is not None:
        end += timedelta(microseconds=999)
    return {"job_name": name, "created_from": start, "created_to": end}


async def _workflow(request: web.Request) -> Job:
    text = request.match_info["job_id"]
    return await request.app[SERVICE].overview.find_job(request[CALLER], text)


async def _find(request: web.Request) -> tuple[ListedExec, Job]:
    text = request.match_info["exec_number"]
    if not (text.isascii() and text.isdigit()):
        raise NotFoundError(f"There is no job with the id '{text[:100]}'; ids are numbers")
    return await request.app[SERVICE].overview.find_exec(request[CALLER], text)


def _success(data: ExplorerJob | ExplorerPage) -> web.Response:
    return as_json({"code": 0, "message": "Success", "data": data})


def _item(listed: ListedExec) -> ExplorerJob:
    run = listed.view.exec
    return {
        "id": run.number,
        "name": f"{listed.job_name}_{run.created_at.astimezone(UTC):%Y%m%d%H%M%S}",
        "workflowId": str(run.job_id),
        "workflowName": listed.job_name,
        "status": _NUMBER[run.status],
        "runBeginTime": _milliseconds(run.started_at),
        "runEndTime": _milliseconds(run.ended_at),
        "createTime": _milliseconds(run.created_at),
    }


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)


ROUTES: Final = (
    web.get("/api-open/v1/jobs", list_jobs),
    web.get("/api-open/v1/jobs/{exec_number}", get_job),
    web.put("/api-open/v1/jobs/{exec_number}/cancel", cancel_job),
    web.get("/api-open/v1/workflows/{job_id}/jobs", list_jobs_of_workflow),
    web.post("/api-open/v1/workflows/{job_id}/jobs", run_workflow),
)
