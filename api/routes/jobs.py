"""`/v1/jobs`: creating, reading, changing and deleting jobs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.bodies import body_of
from api.http.filters import LABEL, labels_of
from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import Query, collect, query_of
from api.operations import examples
from api.operations.operation import Answer, Body, Parameter, described
from api.operations.parameters import NAMESPACE, words
from api.operations.tags import JOBS
from api.routes.paths import JOB
from api.schemas.common import ListOut
from api.schemas.jobs import READ_ONLY, JobChange, JobCreate, JobOut
from scheduler.access.callers import Role
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.filters import JobFilter
from scheduler.domain.job import ScheduleState


@described(
    "Create a job",
    tag=JOBS,
    role=Role.EDITOR,
    body=Body(JobCreate, {"by hand": examples.JOB_CREATE, "on a schedule": examples.JOB_SCHEDULED}),
    answers={201: Answer("The job.", JobOut, examples.JOB, headers={"Location": "The URL of the job."})},
    refuses=(409,),
)
async def create_job(request: web.Request) -> web.Response:
    """`POST /v1/jobs`: 201 with the job."""
    query_of(request)
    body = await body_of(request, JobCreate, what="job", read_only=READ_ONLY)
    view = await request.app[SERVICE].jobs.create(request[CALLER], body.given())
    return answer(JobOut.of_view(view), status=201, headers={"Location": f"/v1/jobs/{view.job.id}"})


@described(
    "List jobs",
    tag=JOBS,
    query=(
        NAMESPACE,
        Parameter("name", {"type": "string"}, "Only jobs with this name.", "test"),
        Parameter("schedule_state", words(ScheduleState), "Only jobs whose schedule is in this state."),
        LABEL,
        *PAGE,
    ),
    answers={
        200: Answer(
            "One page, the oldest first.",
            ListOut[JobOut],
            {"count": 1, "previous": None, "next": None, "results": [examples.JOB_CHANGED]},
        )
    },
)
async def list_jobs(request: web.Request) -> web.Response:
    """`GET /v1/jobs?namespace=&name=&schedule_state=&label=&page=&page_size=`: 200 with one page, oldest first."""
    query = query_of(request)
    page, selected = query.page(), _filter_of(query)
    count, views = await request.app[SERVICE].jobs.list(request[CALLER], selected, page=page)
    return envelope(request, page, count, [JobOut.of_view(view) for view in views])


def _filter_of(query: Query) -> JobFilter:
    errors: list[FieldError] = []
    selected = JobFilter(
        namespace=collect(errors, query.namespace),
        name=query.get("name"),
        schedule_state=collect(errors, lambda: query.word("schedule_state", ScheduleState)),
        labels=collect(errors, lambda: labels_of(query)) or {},
    )
    if errors:
        raise InvalidInputError(*errors)
    return selected


@described("Read a job", tag=JOBS, answers={200: Answer("The job.", JobOut, examples.JOB)})
async def get_job(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}`: 200 with the job."""
    query_of(request)
    view = await request.app[SERVICE].jobs.get(request[CALLER], request.match_info["job_id"])
    return answer(JobOut.of_view(view))


@described(
    "Change a job",
    tag=JOBS,
    role=Role.EDITOR,
    body=Body(JobChange, {"much": examples.JOB_CHANGE, "pause": {"is_schedule_active": False}}),
    answers={200: Answer("The job.", JobOut, examples.JOB_CHANGED)},
    refuses=(409,),
    description="Fields that are left out stay as they are.",
)
async def change_job(request: web.Request) -> web.Response:
    """`PUT` and `PATCH /v1/jobs/{job_id}`: changes the fields in the body; 200 with the job."""
    query_of(request)
    body = await body_of(request, JobChange, what="job", read_only=READ_ONLY)
    view = await request.app[SERVICE].jobs.update(request[CALLER], request.match_info["job_id"], body.given())
    return answer(JobOut.of_view(view))


@described(
    "Delete a job",
    tag=JOBS,
    role=Role.EDITOR,
    answers={204: Answer("The job, its runs and their logs are deleted.")},
    description="Runs in progress are stopped.",
)
async def delete_job(request: web.Request) -> web.Response:
    """`DELETE /v1/jobs/{job_id}`: 204; its runs and logs are deleted with it."""
    query_of(request)
    await request.app[SERVICE].jobs.delete(request[CALLER], request.match_info["job_id"])
    return web.Response(status=204)


ROUTES: Final = (
    web.post("/v1/jobs", create_job),
    web.get("/v1/jobs", list_jobs),
    web.get(JOB, get_job),
    web.put(JOB, change_job),
    web.patch(JOB, change_job),
    web.delete(JOB, delete_job),
)
