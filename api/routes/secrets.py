"""`/v1/secrets`: values that jobs refer to and nobody can read."""

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
from api.schemas.secrets import KeyRotate, KeyRotationOut, SecretOut, SecretPut
from scheduler.access.callers import Role
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.secret import NAME_REMEDY, is_name

SECRET: Final = "/v1/secrets/{secret_name}"  # noqa: S105 - a path


@described(
    "Set a secret",
    tag=SECRETS,
    role=Role.EDITOR,
    query=(OWN_NAMESPACE,),
    body=Body(SecretPut, {"a password": {"value": "correct horse"}}),
    answers={
        200: Answer("The secret has a new value.", SecretOut),
        201: Answer("The secret was created.", SecretOut),
    },
)
async def put_secret(request: web.Request) -> web.Response:
    """`PUT /v1/secrets/{secret_name}?namespace=`: 201 when it is new, else 200; without the value."""
    namespace = query_of(request).namespace()
    name = request.match_info["secret_name"]
    if not is_name(name):
        raise InvalidInputError(FieldError("name", name, "is not a valid name of a secret", NAME_REMEDY))
    body = await body_of(request, SecretPut, what="secret", hidden=("value",))
    secret, is_new = await request.app[SERVICE].secrets.put(request[CALLER], namespace, name, body.value)
    return answer(SecretOut.of(secret), status=201 if is_new else 200)


@described(
    "List secrets",
    tag=SECRETS,
    query=(OWN_NAMESPACE, *PAGE),
    answers={200: Answer("One page, by name, without values.", ListOut[SecretOut])},
)
async def list_secrets(request: web.Request) -> web.Response:
    """`GET /v1/secrets?namespace=&page=&page_size=`: 200 with one page, by name, without values."""
    query = query_of(request)
    page = query.page()
    count, secrets = await request.app[SERVICE].secrets.list(request[CALLER], query.namespace(), page=page)
    return envelope(request, page, count, [SecretOut.of(secret) for secret in secrets])


@described(
    "Read a secret's metadata",
    tag=SECRETS,
    query=(OWN_NAMESPACE,),
    answers={200: Answer("The secret, without its value.", SecretOut)},
)
async def get_secret(request: web.Request) -> web.Response:
    """`GET /v1/secrets/{secret_name}?namespace=`: 200 with its metadata, without its value."""
    namespace = query_of(request).namespace()
    name = request.match_info["secret_name"]
    return answer(SecretOut.of(await request.app[SERVICE].secrets.get(request[CALLER], namespace, name)))


@described(
    "Delete a secret",
    tag=SECRETS,
    role=Role.EDITOR,
    query=(OWN_NAMESPACE,),
    answers={204: Answer("The secret is deleted. Runs of jobs that still refer to it fail.")},
)
async def delete_secret(request: web.Request) -> web.Response:
    """`DELETE /v1/secrets/{secret_name}?namespace=`: 204; runs of jobs that still refer to it fail."""
    namespace = query_of(request).namespace()
    await request.app[SERVICE].secrets.delete(request[CALLER], namespace, request.match_info["secret_name"])
    return web.Response(status=204)


@described(
    "Encrypt all secrets with a new key",
    tag=SECRETS,
    role=Role.ADMIN,
    body=Body(KeyRotate, {"nothing": {}}, is_required=False),
    answers={200: Answer("Everything is encrypted with the new key.", KeyRotationOut)},
    refuses=(409,),
)
async def rotate_key(request: web.Request) -> web.Response:
    """`POST /v1/secret-key/rotate`: 200 when everything is encrypted with a new key; 409 if that is not possible."""
    query_of(request)
    await body_of(request, KeyRotate, what="rotation", optional=True)
    return answer(KeyRotationOut.of(await request.app[SERVICE].keys.rotate(request[CALLER])))


ROUTES: Final = (
    web.post("/v1/secret-key/rotate", rotate_key),
    web.get("/v1/secrets", list_secrets),
    web.put(SECRET, put_secret),
    web.get(SECRET, get_secret),
    web.delete(SECRET, delete_secret),
)
