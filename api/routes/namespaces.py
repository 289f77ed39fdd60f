"""`/v1/namespaces`: the namespaces that are in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope, page_of, query_of
from api.operations.operation import Answer, described
from api.operations.tags import ACCESS
from api.schemas.access import NamespaceOut
from api.schemas.common import ListOut
from api.schemas.fields import NAMESPACE_REMEDY, is_namespace
from scheduler.domain.errors import FieldError, InvalidInputError


def namespace_of(query: Mapping[str, str]) -> str | None:
    """The namespace that a query names, or None.

    Raises:
        InvalidInputError: no namespace could have that name.
    """
    namespace = query.get("namespace")
    if namespace is not None and not is_namespace(namespace):
        raise InvalidInputError(
            FieldError("namespace", namespace, "is not a namespace's name", NAMESPACE_REMEDY)
        )
    return namespace


@described(
    "List namespaces",
    tag=ACCESS,
    query=PAGE,
    answers={200: Answer("One page of those that the caller may see, by name.", ListOut[NamespaceOut])},
)
async def list_namespaces(request: web.Request) -> web.Response:
    """`GET /v1/namespaces?page=&page_size=`: 200 with one page of those that the caller may see, by name."""
    page = page_of(query_of(request))
    found = await request.app[SERVICE].namespaces.list(request[CALLER])
    shown = list(found.items())[page.offset : page.offset + page.size]
    return envelope(
        request, page, len(found), [NamespaceOut(name=name, job_count=count) for name, count in shown]
    )


ROUTES: Final = (web.get("/v1/namespaces", list_namespaces),)
