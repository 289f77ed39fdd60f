"""`/v1/registries`: credentials that pulls use and nobody can read."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.bodies import body_of
from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import query_of
from api.operations.operation import Answer, Body, described
from api.operations.parameters import OWN_NAMESPACE
from api.operations.tags import SECRETS
from api.schemas.common import ListOut
from api.schemas.registries import RegistryOut, RegistryPut
from scheduler.access.callers import Role
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.registry import HOST_REMEDY, registry_host

REGISTRY: Final = "/v1/registries/{registry_host}"


@described(
    "Set a credential for a registry",
    tag=SECRETS,
    role=Role.EDITOR,
    query=(OWN_NAMESPACE,),
    body=Body(RegistryPut, {"a robot": {"username": "robot", "password": "correct horse"}}),
    answers={
        200: Answer("The credential was changed.", RegistryOut),
        201: Answer("The credential was created.", RegistryOut),
    },
)
async def put_registry(request: web.Request) -> web.Response:
    """`PUT /v1/registries/{registry_host}?namespace=`: 201 when it is new, else 200; without the password."""
    namespace = query_of(request).namespace()
    given = request.match_info["registry_host"]
    host = registry_host(given)
    if host is None:
        raise InvalidInputError(FieldError("host", given, "is not a valid host of a registry", HOST_REMEDY))
    body = await body_of(request, RegistryPut, what="credential", hidden=("password",))
    registry, is_new = await request.app[SERVICE].registries.put(request[CALLER], namespace, body.login(host))
    return answer(RegistryOut.of(registry), status=201 if is_new else 200)


@described(
    "List credentials for registries",
    tag=SECRETS,
    query=(OWN_NAMESPACE, *PAGE),
    answers={200: Answer("One page, by host, without passwords.", ListOut[RegistryOut])},
)
async def list_registries(request: web.Request) -> web.Response:
    """`GET /v1/registries?namespace=&page=&page_size=`: 200 with one page, by host, without passwords."""
    query = query_of(request)
    page = query.page()
    count, registries = await request.app[SERVICE].registries.list(
        request[CALLER], query.namespace(), page=page
    )
    return envelope(request, page, count, [RegistryOut.of(registry) for registry in registries])


@described(
    "Read a credential's metadata",
    tag=SECRETS,
    query=(OWN_NAMESPACE,),
    answers={200: Answer("The credential, without its password.", RegistryOut)},
)
async def get_registry(request: web.Request) -> web.Response:
    """`GET /v1/registries/{registry_host}?namespace=`: 200 with its metadata, without the password."""
    namespace = query_of(request).namespace()
    registry = await request.app[SERVICE].registries.get(request[CALLER], namespace, _host(request))
    return answer(RegistryOut.of(registry))


@described(
    "Delete a credential",
    tag=SECRETS,
    role=Role.EDITOR,
    query=(OWN_NAMESPACE,),
    answers={204: Answer("The credential is deleted. Pulls continue without it.")},
)
async def delete_registry(request: web.Request) -> web.Response:
    """`DELETE /v1/registries/{registry_host}?namespace=`: 204; pulls continue without it."""
    namespace = query_of(request).namespace()
    await request.app[SERVICE].registries.delete(request[CALLER], namespace, _host(request))
    return web.Response(status=204)


def _host(request: web.Request) -> str:
    given = request.match_info["registry_host"]
    return registry_host(given) or given


ROUTES: Final = (
    web.get("/v1/registries", list_registries),
    web.put(REGISTRY, put_registry),
    web.get(REGISTRY, get_registry),
    web.delete(REGISTRY, delete_registry),
)
