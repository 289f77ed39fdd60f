"""`/v1/execs` and `/v1/stats`: runs of all jobs."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.filters import (
    CURSOR,
    FILTER,
    FILTERS,
    ORDER,
    cursor_after,
    filter_of,
    order_of,
    position_of,
)
from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Parameter, described
from api.operations.parameters import EXEC_ID, ID, NAMESPACE, flag, instant, number, path
from api.operations.tags import RUNS
from api.schemas.execs import ExecDetailOut
from api.schemas.overview import BulkOut, ExecDiffOut, ExecListOut, ListedExecOut, StatsOut
from scheduler.access.callers import Role
from scheduler.domain.errors import FieldError, How, InvalidInputError, NotFoundError
from scheduler.domain.filters import ExecFilter

#: The default window of statistics.
DEFAULT_WINDOW: Final = timedelta(days=1)
DEFAULT_JOBS, MOST_JOBS = 100, 1_000
#: Maximum number of runs that one request stops or deletes.
MOST_AT_ONCE: Final = 10_000


#: `stop` is not the id of a run, so that requests to it other than POST are answered with 405.
ONE: Final = "/v1/execs/{exec_id:(?!stop$)[^/]+}"
BULK: Final = (
    *FILTER,
    flag("dry_run", "Only show what would be done."),
    flag("all", "Select all runs that the token can see, if no filter is given."),
    number("limit", "Maximum number of runs.", default=MOST_AT_ONCE, largest=MOST_AT_ONCE),
)


@described(
    "List runs of all jobs",
    tag=RUNS,
    query=(*FILTER, ORDER, *PAGE, CURSOR),
    answers={200: Answer("One page of the runs, the latest first by default.", ExecListOut)},
)
async def list_all_execs(request: web.Request) -> web.Response:
    """`GET /v1/execs?…&order=&page=&page_size=&cursor=`: 200 with one page of the runs, the latest first."""
    query = query_of(request)
    selected = filter_of(query)
    order = order_of(query, selected)
    page, after = query.page(), position_of(query, order)
    listing = await request.app[SERVICE].overview.list(
        request[CALLER], selected, order, page=page, after=after
    )
    if not listing.found and after is None and page.number > 1:
        raise NotFoundError(f"page={page.number} does not exist: the list ends before it. Use a lower page.")
    cursor = None
    if listing.has_more:
        last = listing.found[-1].view.exec
        moment = last.started_at if order.by_start else last.created_at
        cursor = cursor_after(order, moment or last.created_at, last.id)
    adjacent: dict[str, str | None] = {"previous": None, "next": None}
    if after is not None:
        adjacent["next"] = cursor and str(request.url.update_query(cursor=cursor))
    else:
        if listing.has_more:
            adjacent["next"] = str(request.url.update_query(page=str(page.number + 1)))
        if page.number > 1:
            adjacent["previous"] = str(request.url.update_query(page=str(page.number - 1)))
    return answer(
        ExecListOut(
            count=listing.count,
            count_is_estimate=listing.is_estimate,
            next_cursor=cursor,
            results=[ListedExecOut.of_listed(listed) for listed in listing.found],
            **adjacent,
        )
    )


@described(
    "Read a run by its id",
    tag=RUNS,
    answers={200: Answer("The run with its job.", ExecDetailOut, examples.EXEC_DETAIL)},
)
async def find_exec(request: web.Request) -> web.Response:
    """`GET /v1/execs/{exec_id}`: 200 with the run and its job, for callers that only know the id of the run."""
    query_of(request)
    listed, job = await request.app[SERVICE].overview.find_exec(
        request[CALLER], request.match_info["exec_id"]
    )
    view = await request.app[SERVICE].jobs.get(request[CALLER], str(job.id))
    return answer(ExecDetailOut.of_both(listed.view, view))


@described(
    "Compare two runs",
    tag=RUNS,
    path=(EXEC_ID, path("other_exec_id", EXEC_ID.schema, "The id of the other run.", EXEC_ID.example)),
    answers={200: Answer("The differences between the two runs.", ExecDiffOut)},
)
async def compare_execs(request: web.Request) -> web.Response:
    """`GET /v1/execs/{exec_id}/diff/{other_exec_id}`: 200 with the differences between the two runs."""
    query_of(request)
    first, second, differences = await request.app[SERVICE].overview.compare(
        request[CALLER], request.match_info["exec_id"], request.match_info["other_exec_id"]
    )
    return answer(ExecDiffOut.of_runs(first, second, differences))


@described(
    "Stop many runs",
    tag=RUNS,
    role=Role.OPERATOR,
    query=BULK,
    answers={
        200: Answer("The runs that would be stopped.", BulkOut),
        202: Answer("The runs that are being stopped.", BulkOut),
    },
    description="Requires at least one filter, or `all=true`.",
)
async def stop_execs(request: web.Request) -> web.Response:
    """`POST /v1/execs/stop?…&dry_run=&limit=`: 202 with the runs that are being stopped, or 200 for a preview."""
    selected, dry_run, limit = _bulk_of(request)
    result = await request.app[SERVICE].overview.stop_many(
        request[CALLER], selected, dry_run=dry_run, limit=limit
    )
    return answer(BulkOut.of_result(result, dry_run=dry_run), status=200 if dry_run else 202)


@described(
    "Delete many runs",
    tag=RUNS,
    role=Role.EDITOR,
    query=BULK,
    answers={200: Answer("The ended runs that were deleted with their logs, or would be.", BulkOut)},
    description="Requires at least one filter, or `all=true`.",
)
async def delete_execs(request: web.Request) -> web.Response:
    """`DELETE /v1/execs?…&dry_run=&limit=`: 200 with the ended runs that were deleted with their logs."""
    selected, dry_run, limit = _bulk_of(request)
    result = await request.app[SERVICE].overview.delete_many(
        request[CALLER], selected, dry_run=dry_run, limit=limit
    )
    return answer(BulkOut.of_result(result, dry_run=dry_run))


def _bulk_of(request: web.Request) -> tuple[ExecFilter, bool, int]:
    """The selected runs, which are only all runs if that is requested; whether it is a preview; and the limit."""
    query = query_of(request)
    selected = filter_of(query)
    if selected.is_empty and not query.flag("all"):
        remedy = f"give at least one of {', '.join(FILTERS)}, or {How.ALL} for all runs that you can see"
        raise InvalidInputError(FieldError("query", None, "does not select any runs", remedy))
    return selected, query.flag("dry_run"), query.number("limit")


@described(
    "Read statistics of runs",
    tag=RUNS,
    query=(
        NAMESPACE,
        Parameter("job", ID, "Only runs of the job with this id.", 146),
        instant("from", "Only runs created at or after this time. Default: a day before `to`."),
        instant("to", "Only runs created at or before this time. Default: now.", "2099-12-31T23:59:59Z"),
        number("limit", "Maximum number of jobs.", default=DEFAULT_JOBS, largest=MOST_JOBS),
    ),
    answers={200: Answer("Statistics of the window, in total and by job.", StatsOut)},
)
async def get_stats(request: web.Request) -> web.Response:
    """`GET /v1/stats?namespace=&job=&from=&to=&limit=`: 200 with statistics of the last day, or of that window."""
    query = query_of(request)
    selected = filter_of(query)
    end = query.instant("to") or request.app[SERVICE].now()
    start = query.instant("from") or end - DEFAULT_WINDOW
    if start > end:
        raise InvalidInputError(
            FieldError("from", query["from"], f"is later than to={query.get('to', 'now')}", "swap the two")
        )
    stats = await request.app[SERVICE].overview.stats(
        request[CALLER],
        namespace=selected.namespace,
        job_id=selected.job_id,
        start=start,
        end=end,
        limit=query.number("limit"),
    )
    return answer(StatsOut.of_window(stats))


ROUTES: Final = (
    web.get("/v1/execs", list_all_execs),
    web.delete("/v1/execs", delete_execs),
    web.post("/v1/execs/stop", stop_execs),
    web.get(ONE, find_exec),
    web.get("/v1/execs/{exec_id}/diff/{other_exec_id}", compare_execs),
    web.get("/v1/stats", get_stats),
)
