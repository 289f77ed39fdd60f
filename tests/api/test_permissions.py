"""Every route, every role, the own and another namespace: exactly those succeed whom the table lets."""

from __future__ import annotations

import re
from typing import Any

from api.dialects import dialect_of
from scheduler.access.callers import Role
from tests.api.conftest import Answer, Api, World, check_problem, until
from tests.api.permissions import FOREIGN, MARK, OWN, TABLE, Entry, Scene, make_scene


async def make_token(api: Api, role: Role, namespace: str | None, **more: Any) -> str:
    """A token of that role, bound to the namespace or to none."""
    answer = await api.post(
        "/v1/tokens", {"name": "t", "role": role.name.lower(), "namespace": namespace, **more}
    )
    assert answer.status == 201, answer.text
    return answer.body["token"]


async def send(
    api: Api, route: str, scene: Scene, token: str | None, values: dict[str, Any] | None = None
) -> Answer:
    """The request that the route's entry describes, in a scene."""
    method, _, path = route.partition(" ")
    entry = TABLE[route]
    path = path.format(**(values or scene.values)) + entry.query.format(namespace=scene.namespace)
    return await api.send(method, path, entry.body(scene) if entry.body else None, token=token)


def expected(entry: Entry, role: Role, *, bound: bool, foreign: bool) -> int:
    """The status that the table asks for."""
    if entry.unbound and bound:
        return 403
    if foreign and bound and entry.role is not None and entry.foreign is not None:
        return entry.foreign
    return entry.status if entry.role is None or role >= entry.role else 403


def routes_of(api: Api) -> set[str]:
    """Each route of the application, as the table names it."""
    app = api.client.server.app
    return {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }


async def test_every_route_stands_in_the_table(api: Api):
    """A route without a line there is one whose door nobody has looked at."""
    missing, gone = routes_of(api) - set(TABLE), set(TABLE) - routes_of(api)
    assert not missing, (
        "these routes have no line in TABLE of tests/api/permissions.py; add one such as "
        + "; ".join(f'"{route}": Entry(VIEWER)' for route in sorted(missing))
    )
    assert not gone, f"TABLE of tests/api/permissions.py has lines for routes that are gone: {sorted(gone)}"


async def test_exactly_those_succeed_whom_the_table_lets(world: World):
    """Every role, bound and not, in its own namespace and in another; what is refused tells nothing of it."""
    api = world.api
    tokens = {(role, bound): await make_token(api, role, bound) for role in Role for bound in (OWN, None)}
    # One of everything elsewhere, for lists to leave out.
    await make_scene(api, FOREIGN, "".join(TABLE))
    for route, entry in TABLE.items():
        reading = route.startswith("GET")
        scenes = {name: await make_scene(api, name, route) for name in (OWN, FOREIGN)}
        for (role, bound), token in tokens.items():
            for namespace in (OWN, FOREIGN):
                scene = scenes[namespace]
                answer = await send(api, route, scene, token)
                wanted = expected(entry, role, bound=bound is not None, foreign=namespace == FOREIGN)
                who = f"{route} by {role.name} of {bound or 'all'}, in {namespace}: {answer.text[:500]}"
                assert answer.status == wanted, who
                if bound is not None:
                    assert MARK not in answer.text, who
                    assert MARK not in str(answer.headers), who
                if answer.status >= 400:
                    if dialect_of(route.split()[1]) is None:
                        check_problem(answer)
                elif not reading:
                    await check_audit(api, answer, route)
                    scenes[namespace] = await make_scene(api, namespace, route)


async def check_audit(api: Api, answer: Answer, route: str) -> None:
    """Assert that what was changed is written down, with the request that did it."""
    found = (await api.get("/v1/audit?page_size=5&outcome=done")).body["results"]
    request_ids = [one["request_id"] for one in found]
    assert answer.headers["X-Request-Id"] in request_ids, (
        f"{route} recorded nothing: call audit.record in the transaction of its change; last: {found}"
    )


async def test_without_a_valid_token_no_route_does_anything(world: World):
    """None, a made-up one, a mangled one, an expired one and a revoked one: 401 wherever one is needed."""
    api = world.api
    expired = await make_token(api, Role.ADMIN, None, expires_in_seconds=1)
    revoked = await make_token(api, Role.ADMIN, None)
    token_id = (await api.get("/v1/me", token=revoked)).body["token"]
    assert (await api.delete(f"/v1/tokens/{token_id}")).status == 204
    await until(lambda: api.get("/v1/me", token=expired), lambda answer: answer.status == 401)
    for route, entry in TABLE.items():
        scene = await make_scene(api, OWN, route)
        for token in (None, "tbl_" + "x" * 43, api.token[:-1], expired, revoked):
            answer = await send(api, route, scene, token)
            assert answer.status == (entry.status if entry.role is None else 401), (route, token)


async def test_what_lies_elsewhere_is_answered_just_as_what_does_not_exist(world: World):
    """Status, headers and words are the same, whatever the role: nothing can be guessed from an id."""
    api = world.api
    tokens = [await make_token(api, role, OWN) for role in Role]
    for route, entry in TABLE.items():
        if (
            "{" not in route or entry.role is None or entry.foreign == 403
        ):  # 403: the query names the namespace
            continue
        own, foreign = [await make_scene(api, name, route) for name in (OWN, FOREIGN)]
        for token in tokens:
            there = await send(api, route, foreign, token)
            absent = await send(api, route, own, token, {**foreign.absent})
            assert there.status == absent.status, route
            assert set(there.headers) == set(absent.headers), route
            assert plain(there, foreign.values) == plain(absent, foreign.absent), route


def plain(answer: Answer, values: Any) -> str:
    """An answer's text without the ids that the request named."""
    text = answer.text
    for value in values.values():  # two things may have the same number for an id
        text = re.sub(rf"\b{re.escape(str(value))}\b", "id", text)
    return text
