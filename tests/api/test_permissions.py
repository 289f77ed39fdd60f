"""Every route, every role, the own and another namespace: exactly those succeed whom the table lets."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pytest

from scheduler.access import Role
from scheduler.store import identity
from scheduler.store.identity import StoredToken
from tests.api.conftest import Answer, Api, World, check_problem
from tests.api.permissions import FOREIGN, MARK, OWN, TABLE, Entry, Scene, make_scene

READING = ("GET",)


async def make_token(world: World, role: Role, namespace: str | None) -> str:
    """A token of that role, bound to the namespace or to none."""
    token = f"tbl_{secrets.token_hex(16)}"
    digest = hashlib.sha256(token.encode()).hexdigest()
    whom = StoredToken(f"{role.name.lower()} of {namespace}", namespace, role.name.lower())
    now = world.daemon._clock.now()
    await world.daemon._db.write(lambda c: identity.add_token(c, digest, token[:8], whom, now=now))
    return token


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


@pytest.mark.parametrize("route", TABLE)
async def test_exactly_those_succeed_whom_the_table_lets(world: World, route: str):
    """Every role, bound and not, in its own namespace and in another; what is refused tells nothing of it."""
    api, entry = world.api, TABLE[route]
    reading = route.startswith(READING)
    scenes = {name: await make_scene(api, name) for name in (OWN, FOREIGN)}
    for role in Role:
        for bound in (OWN, None):
            token = await make_token(world, role, bound)
            for namespace in (OWN, FOREIGN):
                scene = scenes[namespace] if reading else await make_scene(api, namespace)
                answer = await send(api, route, scene, token)
                wanted = expected(entry, role, bound=bound is not None, foreign=namespace == FOREIGN)
                who = f"{route} by {role.name} of {bound or 'all'}, in {namespace}: {answer.text[:500]}"
                assert answer.status == wanted, who
                if answer.status >= 400:
                    check_problem(answer)
                if bound is not None:
                    assert MARK not in answer.text, who
                    assert MARK not in str(answer.headers), who


@pytest.mark.parametrize("route", [route for route, entry in TABLE.items() if entry.role is not None])
async def test_without_a_valid_token_no_route_does_anything(world: World, route: str):
    """None, a made-up one, and a mangled one: 401 wherever a token is asked for."""
    scene = await make_scene(world.api, OWN)
    for token in (None, "tbl_" + "x" * 43, world.api.token[:-1]):
        assert (await send(world.api, route, scene, token)).status == 401


@pytest.mark.parametrize("route", [route for route, entry in TABLE.items() if "{" in route and entry.role])
async def test_what_lies_elsewhere_is_answered_just_as_what_does_not_exist(world: World, route: str):
    """Status, headers and words are the same, whatever the role: nothing can be guessed from an id."""
    own, foreign = [await make_scene(world.api, name) for name in (OWN, FOREIGN)]
    for role in Role:
        token = await make_token(world, role, OWN)
        there = await send(world.api, route, foreign, token)
        absent = await send(world.api, route, own, token, {**foreign.absent})
        assert there.status == absent.status
        assert set(there.headers) == set(absent.headers)
        assert plain(there, foreign.values) == plain(absent, foreign.absent)


def plain(answer: Answer, values: Any) -> str:
    """An answer's text without the ids that the request named."""
    text = answer.text
    for name, value in values.items():
        text = text.replace(str(value), name)
    return text
