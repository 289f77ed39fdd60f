"""`/v1/audit`: the audit log."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import query_of
from api.operations.operation import Answer, Parameter, described
from api.operations.parameters import NAMESPACE, moment, words
from api.operations.tags import ACCESS
from api.schemas.access import AuditOut
from api.schemas.common import ListOut
from scheduler.access.callers import Role
from scheduler.domain.account import AuditQuery
from scheduler.domain.errors import FieldError, InvalidInputError

OUTCOMES: Final = ("done", "unauthorized", "forbidden", "throttled")


@described(
    "List audit entries",
    tag=ACCESS,
    role=Role.ADMIN,
    query=(
        moment("from", "Only entries at or after this time."),
        moment("to", "Only entries at or before this time."),
        Parameter("user", {"type": "string"}, "Only entries of this user.", "ann"),
        Parameter("action", {"type": "string"}, "Only this action, such as `job.create`.", "job.create"),
        NAMESPACE,
        Parameter("outcome", words(OUTCOMES), "Only entries with this result."),
        *PAGE,
    ),
    answers={200: Answer("One page, the latest first.", ListOut[AuditOut])},
)
async def list_entries(request: web.Request) -> web.Response:
    """`GET /v1/audit?from=&to=&user=&action=&namespace=&outcome=&page=&page_size=`: 200, the latest first."""
    query = query_of(request)
    page, outcome = query.page(), query.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise InvalidInputError(
            FieldError("outcome", outcome, "is not an allowed value", f"use one of {', '.join(OUTCOMES)}")
        )
    audit_query = AuditQuery(
        start=query.moment("from"),
        end=query.moment("to"),
        username=query.get("user"),
        action=query.get("action"),
        namespace=query.namespace(),
        outcome=outcome,
    )
    count, entries = await request.app[SERVICE].audit.list(request[CALLER], audit_query, page=page)
    return envelope(request, page, count, [AuditOut.of_entry(entry) for entry in entries])


ROUTES: Final = (web.get("/v1/audit", list_entries),)
