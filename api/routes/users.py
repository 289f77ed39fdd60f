"""`/v1/users`: users, who can log in with a password."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.bodies import body_of
from api.http.keys import CALLER, SERVICE
from api.http.paging import PAGE, envelope
from api.http.query import query_of
from api.operations import examples
from api.operations.operation import Answer, Body, described
from api.operations.tags import ACCESS
from api.schemas.access import USER_READ_ONLY, UserChange, UserCreate, UserOut
from api.schemas.common import ListOut
from scheduler.access.callers import Role

USER: Final = "/v1/users/{username}"
#: Fields whose values are never shown, not even to the sender.
HIDDEN: Final = ("password", "current_password")


@described(
    "Create a user",
    tag=ACCESS,
    role=Role.ADMIN,
    body=Body(UserCreate, {"an editor": examples.USER_CREATE}),
    answers={201: Answer("The user.", UserOut, headers={"Location": "The URL of the user."})},
    refuses=(409,),
)
async def create_user(request: web.Request) -> web.Response:
    """`POST /v1/users`: 201 with the user."""
    query_of(request)
    body = await body_of(request, UserCreate, what="user", read_only=USER_READ_ONLY, hidden=HIDDEN)
    user = await request.app[SERVICE].users.create(request[CALLER], body.given())
    return answer(UserOut.of(user), status=201, headers={"Location": f"/v1/users/{user.username}"})


@described(
    "List users",
    tag=ACCESS,
    role=Role.ADMIN,
    query=PAGE,
    answers={200: Answer("One page, by name.", ListOut[UserOut])},
)
async def list_users(request: web.Request) -> web.Response:
    """`GET /v1/users?page=&page_size=`: 200 with one page, by name."""
    page = query_of(request).page()
    count, users = await request.app[SERVICE].users.list(request[CALLER], page=page)
    return envelope(request, page, count, [UserOut.of(user) for user in users])


@described("Read a user", tag=ACCESS, role=Role.ADMIN, answers={200: Answer("The user.", UserOut)})
async def get_user(request: web.Request) -> web.Response:
    """`GET /v1/users/{username}`: 200 with the user."""
    query_of(request)
    return answer(
        UserOut.of(await request.app[SERVICE].users.get(request[CALLER], request.match_info["username"]))
    )


@described(
    "Change a user",
    tag=ACCESS,
    role=Role.ADMIN,
    body=Body(UserChange, {"another role": {"role": "operator"}}),
    answers={200: Answer("The user.", UserOut)},
    description="Fields that are left out stay as they are. Users with any role can change their own password.",
)
async def change_user(request: web.Request) -> web.Response:
    """`PUT` and `PATCH /v1/users/{username}`: changes the fields in the body; 200 with the user."""
    query_of(request)
    body = await body_of(
        request, UserChange, what="user", read_only=("username", *USER_READ_ONLY), hidden=HIDDEN
    )
    user = await request.app[SERVICE].users.update(
        request[CALLER], request.match_info["username"], body.given()
    )
    return answer(UserOut.of(user))


@described(
    "Delete a user",
    tag=ACCESS,
    role=Role.ADMIN,
    answers={204: Answer("The user and their tokens are deleted. What the user created stays.")},
)
async def delete_user(request: web.Request) -> web.Response:
    """`DELETE /v1/users/{username}`: 204; the user's tokens are deleted as well, what the user created stays."""
    query_of(request)
    await request.app[SERVICE].users.delete(request[CALLER], request.match_info["username"])
    return web.Response(status=204)


ROUTES: Final = (
    web.post("/v1/users", create_user),
    web.get("/v1/users", list_users),
    web.get(USER, get_user),
    web.put(USER, change_user),
    web.patch(USER, change_user),
    web.delete(USER, delete_user),
)
