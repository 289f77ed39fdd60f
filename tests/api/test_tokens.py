"""Tokens: handed out by administrators, within their own reach, and taken back at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.conftest import Api, World, check_problem, until


async def make(api: Api, *, by: str = "", **body: Any) -> dict[str, Any]:
    """A new token."""
    answer = await api.post("/v1/tokens", body, token=by)
    assert answer.status == 201, answer.text
    return answer.body


async def test_a_token_is_shown_once(api: Api, tmp_path: Any):
    """At its making; afterwards only what it is recognised by, and in the database not even that it could be."""
    made = await make(api, name="ci of 任务", role="operator", namespace="team")
    token = made.pop("token")
    assert token.startswith(made["prefix"])
    assert made["prefix"].startswith("tbl_")
    listed = (await api.get("/v1/tokens?namespace=team")).body["results"]
    assert listed == [(await api.get(f"/v1/tokens/{made['id']}")).body] == [made]
    assert (made["role"], made["namespace"], made["username"]) == ("operator", "team", "admin")
    assert (made["kind"], made["created_by"]) == ("made", "admin")
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("timeball.db*"))
    assert token.encode() not in stored
    assert token.removeprefix("tbl_")[8:].encode() not in stored
    assert made["prefix"].encode() in stored


async def test_whoever_asks_is_told_who_they_are(api: Api):
    """Name, reach and token of whoever sends the request."""
    made = await make(api, role="operator", namespace="team")
    me = await api.get("/v1/me", token=made["token"])
    assert me.body == {
        "username": "admin",
        "namespace": "team",
        "role": "operator",
        "is_user": False,
        "token": made["id"],
    }
    assert (await api.get("/v1/me")).body["role"] == "admin"


async def test_a_revoked_token_stops_working_at_once(api: Api):
    """Also one that was in use a moment ago."""
    made = await make(api)
    assert (await api.get("/v1/jobs", token=made["token"])).status == 200
    assert (await api.delete(f"/v1/tokens/{made['id']}")).status == 204
    assert (await api.get("/v1/jobs", token=made["token"])).status == 401
    assert (await api.delete(f"/v1/tokens/{made['id']}")).status == 404


async def test_a_token_can_end_itself(api: Api):
    """Whatever its role: whoever is done logs out."""
    made = await make(api, role="viewer")
    other = await make(api, role="viewer")
    assert (await api.delete(f"/v1/tokens/{other['id']}", token=made["token"])).status == 403
    assert (await api.get(f"/v1/tokens/{made['id']}", token=made["token"])).status == 200
    assert (await api.delete(f"/v1/tokens/{made['id']}", token=made["token"])).status == 204
    assert (await api.get("/v1/me", token=made["token"])).status == 401


async def test_a_token_ends_when_it_was_to(api: Api, world: World, monkeypatch: pytest.MonkeyPatch):
    """A moment before it works, also from memory; at the moment it does not."""
    made = await make(api, expires_in_seconds=3600)
    assert (await api.get("/v1/me", token=made["token"])).status == 200
    end = datetime.fromisoformat(made["expires_at"])
    for moment, status in (
        (end - timedelta(microseconds=1), 200),
        (end, 401),
        (end + timedelta(days=1), 401),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(type(world.parts.clock), "now", lambda _self, at=moment: at)
            answer = await api.get("/v1/me", token=made["token"])
        assert answer.status == status
    assert "expired at" in answer.body["detail"]


async def test_when_a_token_was_last_used_can_be_read(api: Api):
    """Written down in passing, so a moment later."""
    made = await make(api)
    assert made["last_used_at"] is None
    await api.get("/v1/me", token=made["token"])
    seen = await until(
        lambda: api.get(f"/v1/tokens/{made['id']}"), lambda answer: answer.body["last_used_at"] is not None
    )
    used = datetime.fromisoformat(seen.body["last_used_at"])
    assert timedelta() <= datetime.now(UTC) - used < timedelta(minutes=1)
    await api.get("/v1/me", token=made["token"])
    again = await api.get(f"/v1/tokens/{made['id']}")
    assert again.body["last_used_at"] == seen.body["last_used_at"]


async def test_an_administrator_of_a_namespace_hands_out_what_it_has_itself(api: Api):
    """Tokens of that namespace, and no others; it sees no others either."""
    mine = (await make(api, role="admin", namespace="mine"))["token"]
    theirs = await make(api, role="admin", namespace="theirs")
    made = await make(api, by=mine, role="admin")
    assert made["namespace"] == "mine"
    for wrong in ({"namespace": None}, {"namespace": "theirs"}, {"username": "bob"}):
        answer = await api.post("/v1/tokens", wrong, token=mine)
        assert answer.status == 403
        check_problem(answer)
    listed = (await api.get("/v1/tokens", token=mine)).body
    assert {token["namespace"] for token in listed["results"]} == {"mine"}
    assert listed["count"] == 2
    assert (await api.get("/v1/tokens?namespace=theirs", token=mine)).body["count"] == 0
    assert (await api.delete(f"/v1/tokens/{theirs['id']}", token=mine)).status == 404
    admins_own = (await api.get("/v1/me")).body["token"]
    assert (await api.get(f"/v1/tokens/{admins_own}", token=mine)).status == 404
    assert (await api.delete(f"/v1/tokens/{admins_own}", token=mine)).status == 404


@pytest.mark.parametrize("role", ["viewer", "operator", "editor"])
async def test_nobody_else_hands_out_tokens(api: Api, role: str):
    """Not even one that may do less."""
    token = (await make(api, role=role))["token"]
    assert (await api.post("/v1/tokens", {"role": "viewer"}, token=token)).status == 403
    assert (await api.get("/v1/tokens", token=token)).status == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "root"}, "role"),
        ({"role": None}, "role"),
        ({"namespace": "a b"}, "namespace"),
        ({"namespace": "../x"}, "namespace"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 10**12}, "expires_in_seconds"),
        ({"name": "a\r\nSet-Cookie: x"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"username": "nobody"}, "username"),
        ({"token": "tbl_mine"}, "token"),
        ({"rolle": "viewer"}, "rolle"),
    ],
)
async def test_a_token_that_cannot_be_is_refused_by_its_field(api: Api, body: dict[str, Any], field: str):
    """400, and none is made."""
    answer = await api.post("/v1/tokens", body)
    assert answer.status == 400
    assert field in answer.errors()
    assert (await api.get("/v1/tokens")).body["count"] == 1


@pytest.mark.parametrize(
    "token_id", ["0", "-1", "01", "x", "%00", "9" * 19, "9" * 400, "1%2F..%2Fjobs", "%F0%9F", "1.0"]
)
async def test_what_is_no_id_is_the_id_of_no_token(api: Api, token_id: str):
    """404, whatever it is."""
    for method in ("GET", "DELETE"):
        answer = await api.send(method, f"/v1/tokens/{token_id}")
        assert answer.status == 404
        check_problem(answer)


async def test_one_wrong_token_after_the_other_has_to_wait_and_a_good_one_never(api: Api):
    """429 with the seconds; the same wrong one again is no guess; who has a valid one notices nothing."""
    for _ in range(100):
        assert (await api.get("/v1/me", token="tbl_" + "r" * 43)).status == 401
    seen = [(await api.get("/v1/me", token=f"tbl_{number:043}")).status for number in range(40)]
    assert seen[:20] == [401] * 20
    assert seen[-1] == 429
    answer = await api.get("/v1/me", token=f"tbl_{99:043}")
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    check_problem(answer)
    assert (await api.get("/v1/me")).status == 200
    assert (await api.get("/v1/me", token=(await make(api))["token"])).status == 200


async def test_a_name_alone_makes_nobody_a_user(api: Api):
    """A token of a namespace that acts as 'admin' gets no hold of a user who is called so."""
    mine = (await make(api, role="admin", namespace="mine"))["token"]
    user = {"username": "admin", "password": "correct horse", "role": "admin"}
    assert (await api.post("/v1/users", user)).status == 201
    made = await make(api, by=mine, username="admin", role="admin")
    assert made["namespace"] == "mine"
    assert (await api.get("/v1/users/admin", token=made["token"])).status == 403
    assert (await api.delete("/v1/users/admin")).status == 204
    assert (await api.get("/v1/me", token=made["token"])).status == 200
