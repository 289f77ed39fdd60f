"""Logs of a run, of a job or of a namespace: as a page, a stream, a file, or events.

`/v1/jobs/{job_id}/execs/{exec_id}/logs`, `/v1/jobs/{job_id}/logs`, `/v1/logs`, and `/export` below each of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from aiohttp import web

from api.http.compression import add_vary
from api.http.keys import CALLER, SERVICE
from api.http.log_answers import File, Readable, page, stream
from api.http.log_events import AnyFollow, is_wanted, send_events
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Parameter, described
from api.operations.tags import LOGS
from api.routes.paths import EXEC, JOB
from api.schemas.lines import LineOut
from api.schemas.logs import (
    ExportParameters,
    LogParameters,
    NamespaceExportParameters,
    NamespaceLogParameters,
    check_together,
    parse_log_parameters,
)
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.logs.places import check_cursor
from scheduler.logs.reader import LogQuery

_P = TypeVar("_P", bound=LogParameters)

#: The header that a reconnecting client sends.
LAST_EVENT_ID: Final = "Last-Event-ID"
_TEXT: Final = {"type": "string"}
#: The shape of each event of a stream.
_EVENT: Final = {
    "type": "object",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT, "retry": {"type": "integer"}},
}
#: How to continue after a page.
_ONWARDS: Final = {
    "X-Next-Cursor": "With `limit` or `tail`: the cursor after this page, even if there is no further output yet.",
    "Link": 'With `limit` or `tail`: the URL of further lines, as `rel="next"` or `rel="prev"`, if there may be any.',
}
_LINES: Final = Answer(
    "The lines in the requested `format`, the oldest first unless `order` says otherwise. Without `limit` "
    "and `tail`, "
    "all lines are streamed.",
    list[LineOut],
    examples.LINES,
    media={"application/x-ndjson": _TEXT, "text/plain": _TEXT},
    headers=_ONWARDS,
)
_LINES_OR_EVENTS: Final = replace(
    _LINES,
    description=f"{_LINES.description} With `follow=true` or `Accept: text/event-stream`, an event for each line "
    "until the run has ended: `id` is a cursor and `data` the line as JSON. The last event is `end`, with the result "
    "of the run.",
    media={**_LINES.media, "text/event-stream": _EVENT},
)
_LINES_OR_EVENTS_OF_MANY: Final = replace(
    _LINES_OR_EVENTS,
    description=f"{_LINES.description} With `follow=true` or `Accept: text/event-stream`, an event for each line "
    "until the client disconnects: `id` is a cursor and `data` the line as JSON.",
)
_FILE: Final = Answer(
    "All lines as a file.",
    list[LineOut],
    media={**_LINES.media, "application/gzip": {}, "application/zstd": {}},
    headers={"Content-Disposition": "The name of the file."},
)


def _parameters(request: web.Request, kind: type[_P]) -> tuple[_P, Mapping[str, str]]:
    query = query_of(request)
    return parse_log_parameters(query, kind), query


async def _answer(request: web.Request, parameters: LogParameters, reading: Readable) -> web.StreamResponse:
    limit = parameters.limit or parameters.tail
    if limit is not None:
        return await page(request, parameters, limit, reading)
    return await stream(request, parameters, reading)


def _query_of(parameters: LogParameters) -> LogQuery:
    query = parameters.query()
    # One line more than requested shows whether there is a next page.
    return query if query.limit is None else replace(query, limit=query.limit + 1)


def _refuse_following(request: web.Request, parameters: LogParameters) -> None:
    """Reject requests to follow a file."""
    if is_wanted(request, follow=parameters.follow):
        field, value = ("follow", "true") if parameters.follow else ("Accept", request.headers.get("Accept"))
        raise InvalidInputError(
            FieldError(field, value, "is not supported for files", "follow the log itself")
        )


_LAST_EVENT: Final = Parameter(
    LAST_EVENT_ID,
    {"type": "string", "format": "log-cursor"},
    "When following: the id of the last event received, to continue after it.",
    where="header",
)


@described(
    "Read or follow a run's log",
    tag=LOGS,
    query=LogParameters,
    headers=(_LAST_EVENT,),
    answers={200: _LINES_OR_EVENTS},
)
async def get_exec_logs(request: web.Request) -> web.StreamResponse:
    """`GET …/execs/{id}/logs`: 200 with the lines, or with events."""
    parameters, given = _parameters(request, LogParameters)
    caller, job_id, exec_id = (request[CALLER], request.match_info["job_id"], request.match_info["exec_id"])
    logs = request.app[SERVICE].logs
    if is_wanted(request, follow=parameters.follow):
        return await _follow(request, parameters, given, lambda q: logs.follow(caller, job_id, exec_id, q))
    _, reading = await logs.read(caller, job_id, exec_id, _query_of(parameters))
    return _varying(await _answer(request, parameters, reading))


async def _follow(
    request: web.Request,
    parameters: LogParameters,
    given: Mapping[str, str],
    begin: Callable[[LogQuery], Awaitable[AnyFollow]],
) -> web.StreamResponse:
    check_together(parameters, given, is_followed=True)
    query = replace(parameters.query(), is_bounded=False)
    # A reconnecting client also repeats its URL; the last event takes precedence over its cursor.
    if last := request.headers.get(LAST_EVENT_ID, ""):
        query = replace(query, cursor=last, tail=None)
    try:
        if last:
            check_cursor(last)
        follow = await begin(query)
    except InvalidInputError as error:
        if not last:
            raise
        raise InvalidInputError(
            *(replace(refused, field=LAST_EVENT_ID) for refused in error.errors)
        ) from error
    try:
        return await send_events(request, follow)
    finally:
        request.app[SERVICE].logs.leave(follow)


def _varying(response: web.StreamResponse) -> web.StreamResponse:
    """Declare that the answer depends on `Accept`."""
    if not response.prepared:
        add_vary(response, "Accept")
    return response


@described(
    "Read or follow the log of all runs of a job",
    tag=LOGS,
    query=LogParameters,
    headers=(_LAST_EVENT,),
    answers={200: _LINES_OR_EVENTS_OF_MANY},
)
async def get_job_logs(request: web.Request) -> web.StreamResponse:
    """`GET /v1/jobs/{id}/logs`: 200 with the lines of all its runs by time, or with events."""
    parameters, given = _parameters(request, LogParameters)
    caller, job_id, logs = request[CALLER], request.match_info["job_id"], request.app[SERVICE].logs
    if is_wanted(request, follow=parameters.follow):
        return await _follow(request, parameters, given, lambda q: logs.follow_job(caller, job_id, q))
    _, reading = await logs.read_job(caller, job_id, _query_of(parameters))
    return _varying(await _answer(request, parameters, reading))


@described(
    "Read or follow the log of all runs of a namespace",
    tag=LOGS,
    query=NamespaceLogParameters,
    headers=(_LAST_EVENT,),
    answers={200: _LINES_OR_EVENTS_OF_MANY},
    refuses=(404,),
)
async def get_logs(request: web.Request) -> web.StreamResponse:
    """`GET /v1/logs`: 200 with the lines of all runs of a namespace by time, or with events."""
    parameters, given = _parameters(request, NamespaceLogParameters)
    caller, namespace, logs = request[CALLER], parameters.namespace, request.app[SERVICE].logs
    if is_wanted(request, follow=parameters.follow):
        return await _follow(
            request, parameters, given, lambda q: logs.follow_namespace(caller, namespace, q)
        )
    _, reading = await logs.read_namespace(caller, namespace, _query_of(parameters))
    return _varying(await _answer(request, parameters, reading))


@described("Export a run's log", tag=LOGS, query=ExportParameters, answers={200: _FILE})
async def export_exec_logs(request: web.Request) -> web.StreamResponse:
    """`GET …/execs/{id}/logs/export`: 200 with a file."""
    parameters, _ = _parameters(request, ExportParameters)
    _refuse_following(request, parameters)
    exec_id = request.match_info["exec_id"]
    job, reading = await request.app[SERVICE].logs.read(
        request[CALLER], request.match_info["job_id"], exec_id, parameters.query()
    )
    file = File(f"{job.definition.name}-{exec_id[:8]}", parameters.compression)
    return await stream(request, parameters, reading, file)


@described("Export the log of all runs of a job", tag=LOGS, query=ExportParameters, answers={200: _FILE})
async def export_job_logs(request: web.Request) -> web.StreamResponse:
    """`GET /v1/jobs/{id}/logs/export`: 200 with a file."""
    parameters, _ = _parameters(request, ExportParameters)
    _refuse_following(request, parameters)
    job, reading = await request.app[SERVICE].logs.read_job(
        request[CALLER], request.match_info["job_id"], parameters.query()
    )
    return await stream(request, parameters, reading, File(job.definition.name, parameters.compression))


@described(
    "Export the log of all runs of a namespace",
    tag=LOGS,
    query=NamespaceExportParameters,
    answers={200: _FILE},
    refuses=(404,),
)
async def export_logs(request: web.Request) -> web.StreamResponse:
    """`GET /v1/logs/export`: 200 with a file."""
    parameters, _ = _parameters(request, NamespaceExportParameters)
    _refuse_following(request, parameters)
    name, reading = await request.app[SERVICE].logs.read_namespace(
        request[CALLER], parameters.namespace, parameters.query()
    )
    return await stream(request, parameters, reading, File(name, parameters.compression))


ROUTES: Final = (
    web.get(EXEC + "/logs", get_exec_logs),
    web.get(EXEC + "/logs/export", export_exec_logs),
    web.get(JOB + "/logs", get_job_logs),
    web.get(JOB + "/logs/export", export_job_logs),
    web.get("/v1/logs", get_logs),
    web.get("/v1/logs/export", export_logs),
)
