"""`/v1/tokens`, `/v1/generate-api-token` and `/v1/me`: tokens, logging in, and the caller."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.bodies import body_of, form_or_json_of
from api.http.keys import CALLER, ORIGIN, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Body, Parameter, described
from api.operations.parameters import NAMESPACE
from api.operations.tags import ACCESS
from api.schemas.access import (
    TOKEN_READ_ONLY,
    LogIn,
    LogInOut,
    MeOut,
    NewTokenOut,
    TokenCreate,
    TokenOut,
)
from api.schemas.common import ListOut
from scheduler.access.callers import Role

TOKEN: Final = "/v1/tokens/{token_id}"  # noqa: S105 - a path
LOG_IN: Final = "/v1/generate-api-token"


@described(
    "Create a token",
    tag=ACCESS,
    role=Role.ADMIN,
    body=Body(TokenCreate, {"for a pipeline": examples.TOKEN_CREATE}),
    answers={
        201: Answer(
            "The token. It is only shown once.",
            NewTokenOut,
            headers={"Location": "The URL of the token."},
        )
    },
)
async def create_token(request: web.Request) -> web.Response:
    """`POST /v1/tokens`: 201 with the token, which is only shown once."""
    query_of(request)
    service = request.app[SERVICE]
    body = await body_of(request, TokenCreate, what="token", read_only=TOKEN_READ_ONLY)
    stored, token = await service.tokens.create(request[CALLER], body.given(service.now()))
    return answer(
        NewTokenOut.of(stored, token=token), status=201, headers={"Location": f"/v1/tokens/{stored.id}"}
    )


@described(
    "List tokens",
    tag=ACCESS,
    role=Role.ADMIN,
    query=(
        NAMESPACE,
        Parameter("username", {"type": "string"}, "Only tokens of this user.", "ann"),
        *PAGE,
    ),
    answers={200: Answer("One page, the oldest first.", ListOut[TokenOut])},
)
async def list_tokens(request: web.Request) -> web.Response:
    """`GET /v1/tokens?namespace=&username=&page=&page_size=`: 200 with one page, the oldest first."""
    query = query_of(request)
    page = query.page()
    count, tokens = await request.app[SERVICE].tokens.list(
        request[CALLER], namespace=query.namespace(), username=query.get("username"), page=page
    )
    return envelope(request, page, count, [TokenOut.of(token) for token in tokens])


@described(
    "Read a token",
    tag=ACCESS,
    role=Role.ADMIN,
    answers={200: Answer("The token, without the token itself.", TokenOut)},
)
async def get_token(request: web.Request) -> web.Response:
    """`GET /v1/tokens/{token_id}`: 200 with what is stored about the token."""
    query_of(request)
    return answer(
        TokenOut.of(await request.app[SERVICE].tokens.get(request[CALLER], request.match_info["token_id"]))
    )


@described(
    "Revoke a token", tag=ACCESS, role=Role.ADMIN, answers={204: Answer("The token is no longer valid.")}
)
async def revoke_token(request: web.Request) -> web.Response:
    """`DELETE /v1/tokens/{token_id}`: 204; it is invalid immediately."""
    query_of(request)
    await request.app[SERVICE].tokens.revoke(request[CALLER], request.match_info["token_id"])
    return web.Response(status=204)


@described(
    "Log in",
    tag=ACCESS,
    role=None,
    body=Body(LogIn, {"a user": examples.LOG_IN}, is_form=True),
    answers={200: Answer("A token for the user.", LogInOut)},
    refuses=(401, 429),
)
async def log_in(request: web.Request) -> web.Response:
    """`POST /v1/generate-api-token/`, with or without its slash: 200 with a token for the user."""
    query_of(request)
    body = await form_or_json_of(request, LogIn, what="login")
    token, expires_at = await request.app[SERVICE].tokens.log_in(
        request[ORIGIN], body.username, body.password
    )
    return answer(LogInOut(token=token, expires_at=expires_at))


@described("Read the caller", tag=ACCESS, answers={200: Answer("The caller and their rights.", MeOut)})
async def get_me(request: web.Request) -> web.Response:
    """`GET /v1/me`: 200 with the caller and their rights."""
    query_of(request)
    return answer(MeOut.of_caller(request[CALLER]))


ROUTES: Final = (
    web.post("/v1/tokens", create_token),
    web.get("/v1/tokens", list_tokens),
    web.get(TOKEN, get_token),
    web.delete(TOKEN, revoke_token),
    web.post(LOG_IN, log_in),
    web.post(LOG_IN + "/", log_in),
    web.get("/v1/me", get_me),
)
