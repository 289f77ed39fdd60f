"""When jobs run: previews, the schedule of a job, and the ledger with the outcome of every due time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import collect, query_of, with_plus
from api.operations.operation import Answer, Parameter, described
from api.operations.parameters import moment, number, one_or_several
from api.operations.tags import SCHEDULES
from api.routes.paths import JOB
from api.schemas.common import ListOut
from api.schemas.schedules import JobScheduleOut, OccurrenceOut, PreviewAnswer
from scheduler.domain.errors import FieldError, InvalidInputError, ScheduleError
from scheduler.domain.execution import Outcome
from scheduler.timing.preview import MOST_OCCURRENCES, Language
from scheduler.timing.schedule import Schedule, TimezoneError, check_timezone, parse_schedule

DEFAULT_COUNT: Final = 5
_AFTER: Final = moment("after", "Only due times after this time. Default: now.")
_COUNT: Final = number("count", "Number of due times.", default=DEFAULT_COUNT, largest=MOST_OCCURRENCES)
_LANGUAGE: Final = Parameter(
    "Accept-Language",
    {"type": "string"},
    "`zh` for a description in Chinese. Default: English.",
    "zh",
    where="header",
)


@described(
    "Preview a schedule",
    tag=SCHEDULES,
    query=(
        Parameter(
            "schedule",
            {"type": "string", "format": "schedule"},
            "An ISO 8601 repeating interval, or a cron expression with five fields.",
            "R5/2026-01-31T00:00:00Z/P1M",
            is_required=True,
        ),
        Parameter(
            "timezone",
            {"type": "string", "format": "timezone"},
            "The IANA time zone of the schedule. Default: UTC.",
            "Europe/Berlin",
        ),
        _AFTER,
        _COUNT,
    ),
    headers=(_LANGUAGE,),
    answers={
        200: Answer(
            "The next due times, and the schedule in words.",
            PreviewAnswer,
            headers={"Vary": "`Accept-Language`."},
        )
    },
)
async def preview_schedule(request: web.Request) -> web.Response:
    """`GET /v1/schedules/preview?schedule=&timezone=&after=&count=`: 200 with the next due times."""
    query = query_of(request)
    errors: list[FieldError] = []
    zone = collect(errors, lambda: _zone_of(query))
    # If the zone does not exist, the rest is read in UTC, so that its errors are reported as well.
    schedule = collect(errors, lambda: _schedule_of(query, zone))
    after = collect(errors, lambda: query.moment("after", zone))
    count = collect(errors, lambda: query.number("count"))
    if errors or schedule is None or count is None:
        raise InvalidInputError(*errors)
    after = after or request.app[SERVICE].now()
    # Finding a thousand rare due times takes a while; other requests must not wait for that.
    preview = await asyncio.to_thread(PreviewAnswer.of, schedule, after, count, _language_of(request))
    return answer(preview, headers={"Vary": "Accept-Language"})


@described(
    "Read the schedule of a job",
    tag=SCHEDULES,
    query=(_AFTER, _COUNT),
    headers=(_LANGUAGE,),
    answers={
        200: Answer(
            "The state of the schedule, and the next due times.",
            JobScheduleOut,
            headers={"Vary": "`Accept-Language`."},
        )
    },
)
async def get_job_schedule(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/schedule?after=&count=`: 200 with the state of its schedule and the next due times."""
    query = query_of(request)
    view = await request.app[SERVICE].jobs.get(request[CALLER], request.match_info["job_id"])
    zone = view.job.definition.schedule_timezone
    errors: list[FieldError] = []
    after = collect(errors, lambda: query.moment("after", zone))
    count = collect(errors, lambda: query.number("count"))
    if errors or count is None:
        raise InvalidInputError(*errors)
    after = after or request.app[SERVICE].now()
    schedule = await asyncio.to_thread(JobScheduleOut.of_job, view.job, after, count, _language_of(request))
    return answer(schedule, headers={"Vary": "Accept-Language"})


@described(
    "List the ledger of a job",
    tag=SCHEDULES,
    query=(
        moment("from", "Only due times at or after this time."),
        moment("to", "Only due times at or before this time.", "2099-12-31T23:59:59Z"),
        Parameter(
            "outcome",
            one_or_several(Outcome),
            "Only due times with this outcome. Separate several with commas.",
        ),
        *PAGE,
    ),
    answers={200: Answer("One page, the latest due time first.", ListOut[OccurrenceOut])},
)
async def list_occurrences(request: web.Request) -> web.Response:
    """`GET /v1/jobs/{job_id}/occurrences?from=&to=&outcome=&page=&page_size=`: 200, the latest due time first.

    A `from` or `to` without an offset is in UTC, regardless of the time zone of the schedule.
    """
    query = query_of(request)
    start, end = query.moment("from"), query.moment("to")
    if start is not None and end is not None and start > end:
        raise InvalidInputError(
            FieldError("from", query["from"], f"is later than to={query['to']}", "swap the two")
        )
    page = query.page()
    count, entries = await request.app[SERVICE].occurrences.list(
        request[CALLER],
        request.match_info["job_id"],
        start=start,
        end=end,
        outcomes=list(query.words("outcome", Outcome)) or None,
        page=page,
    )
    return envelope(request, page, count, [OccurrenceOut.of_entry(entry) for entry in entries])


def _zone_of(query: Mapping[str, str]) -> str | None:
    zone = query.get("timezone")
    try:
        if zone is not None:
            check_timezone(zone)
    except TimezoneError as error:
        raise InvalidInputError(error.as_field_error("timezone")) from error
    return zone


def _schedule_of(query: Mapping[str, str], zone: str | None) -> Schedule:
    given = query.get("schedule")
    if given is None:
        raise InvalidInputError(
            FieldError("schedule", None, "is required", "use a schedule such as R5/2026-01-31T09:00:00Z/P1M")
        )
    try:
        return parse_schedule(with_plus(given) if given[0] in "Rr" else given, zone)
    except ScheduleError as error:
        raise InvalidInputError(replace(error.as_field_error("schedule", "schedule"), value=given)) from error


def _language_of(request: web.Request) -> Language:
    """Chinese if the client prefers it to English, else English."""
    best: tuple[float, Language] = (0.0, "en")
    for position, part in enumerate(request.headers.get("Accept-Language", "").split(",")):
        tag, _, weight = part.replace(" ", "").partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        primary = tag.lower().split("-")[0]
        quality -= position * 1e-6  # of equals, the first one wins
        if primary in {"en", "zh"} and quality > best[0]:
            best = (quality, "zh" if primary == "zh" else "en")
    return best[1]


ROUTES: Final = (
    web.get("/v1/schedules/preview", preview_schedule),
    web.get(JOB + "/schedule", get_job_schedule),
    web.get(JOB + "/occurrences", list_occurrences),
)
