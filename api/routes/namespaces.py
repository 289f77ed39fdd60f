"""`/v1/namespaces`: the namespaces in use."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import query_of
from api.operations.operation import Answer, described
from api.operations.tags import ACCESS
from api.schemas.access import NamespaceOut
from api.schemas.common import ListOut


@described(
    "List namespaces",
    tag=ACCESS,
    query=PAGE,
    answers={
        200: Answer("One page of the namespaces that the caller can see, by name.", ListOut[NamespaceOut])
    },
)
async def list_namespaces(request: web.Request) -> web.Response:
    """`GET /v1/namespaces?page=&page_size=`: 200 with one page of those that the caller can see, by name."""
    page = query_of(request).page()
    job_counts = await request.app[SERVICE].namespaces.list(request[CALLER])
    shown = list(job_counts.items())[page.offset : page.offset + page.size]
    return envelope(
        request, page, len(job_counts), [NamespaceOut(name=name, job_count=count) for name, count in shown]
    )


ROUTES: Final = (web.get("/v1/namespaces", list_namespaces),)
