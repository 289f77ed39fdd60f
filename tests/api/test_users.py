"""Users: passwords, logging in, and how their tokens end with them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Answer, Api, check_problem

LOG_IN = "/v1/generate-api-token/"
PASSWORD = "correct horse"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def add(api: Api, username: str = "ann", **more: Any) -> dict[str, Any]:
    """A new user."""
    answer = await api.post("/v1/users", {"username": username, "password": PASSWORD, **more})
    assert answer.status == 201, answer.text
    return answer.body


async def try_log_in(api: Api, username: str = "ann", password: str = PASSWORD) -> Answer:
    """The answer to a name and a password."""
    return await api.post(LOG_IN, {"username": username, "password": password}, token=None)


async def log_in(api: Api, username: str = "ann", password: str = PASSWORD) -> str:
    """The token for a name and a password."""
    answer = await try_log_in(api, username, password)
    assert answer.status == 200, answer.text
    return answer.body["token"]


@pytest.mark.parametrize("path", [LOG_IN, LOG_IN.rstrip("/")])
async def test_a_name_and_a_password_get_a_token(api: Api, path: str):
    """As JSON and as a form, with a slash at the end or without; what the token may do is what the user may."""
    await add(api, "安娜", role="editor", namespace="team", password="pass wörd & more")
    body = {"username": "安娜", "password": "pass wörd & more"}
    by_json = await api.post(path, body, token=None)
    raw = "username=%E5%AE%89%E5%A8%9C&password=pass+w%C3%B6rd+%26+more"
    by_form = await api.post(path, raw=raw, headers=FORM, token=None)
    for answer in (by_json, by_form):
        assert answer.status == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        me = (await api.get("/v1/me", token=answer.body["token"])).body
        assert (me["username"], me["role"], me["namespace"]) == ("安娜", "editor", "team")
        assert me["is_user"]
    job = await api.post("/v1/jobs", {"name": "j", "docker_image_repo": "b"}, token=by_json.body["token"])
    assert (job.body["created_by"], job.body["namespace"]) == ("安娜", "team")


async def test_a_wrong_name_and_a_wrong_password_are_answered_alike(api: Api):
    """Word for word, and so is a user who is disabled."""
    await add(api)
    await add(api, "off", is_active=False)
    answers = [
        await try_log_in(api, name, password)
        for name, password in (("ann", "wrong"), ("nobody", PASSWORD), ("off", PASSWORD), ("", ""))
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    check_problem(answers[0])


@pytest.mark.parametrize(
    ("raw", "headers", "field"),
    [
        (b"", {}, "body"),
        (b"{", {}, "body"),
        (b"[]", {}, "body"),
        (b'{"username": "ann"}', {}, "password"),
        (b'{"username": 1, "password": "hidden1"}', {}, "username"),
        (b'{"username": "a", "password": 123456789}', {}, "password"),
        (b'{"username": "ann", "password": "hidden1", "password": "hidden2"}', {}, "password"),
        (b'{"username": "ann", "password": "hidden1", "otp": 1}', {}, "otp"),
        (b"username=ann", FORM, "password"),
        (b"", FORM, "username"),
        (b"username=ann&password=hidden1&password=hidden2", FORM, "password"),
        (b"username=ann&password=hidden1&x=1", FORM, "x"),
        (b"username=\xff&password=hidden1", FORM, "body"),
        (b"&".join(b"a=1" for _ in range(100)), FORM, "body"),
        (b"username=a%00&password=hidden1", FORM, "username"),
        (b'{"username": "\\ud800", "password": "hidden1"}', {}, "body"),
    ],
)
async def test_a_log_in_that_is_none_is_refused_without_showing_it_back(
    api: Api, raw: bytes, headers: dict[str, str], field: str
):
    """400 names the field; passwords are in no answer."""
    answer = await api.post(LOG_IN, raw=raw, headers=headers, token=None)
    assert answer.status == 400, answer.text
    assert field in answer.errors()
    for secret in ("hidden1", "hidden2", "123456789"):
        assert secret not in answer.text


async def test_after_some_wrong_passwords_even_the_right_one_has_to_wait(api: Api):
    """429 with the seconds, for that user alone; tokens go on working."""
    await add(api)
    await add(api, "bob")
    token = await log_in(api)
    for _ in range(5):
        assert (await try_log_in(api, password="wrong")).status == 401
    for name in ("ann", "ANN"):
        answer = await try_log_in(api, name)
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1
        check_problem(answer)
    assert (await try_log_in(api, "bob")).status == 200
    assert (await api.get("/v1/me", token=token)).status == 200


async def test_an_address_that_tries_many_names_has_to_wait(api: Api):
    """Whoever tries one password with every name is slowed down as well."""
    seen = [(await try_log_in(api, f"user{number}")).status for number in range(25)]
    assert seen[:15] == [401] * 15
    assert seen[-1] == 429


async def test_many_may_log_in_at_once(api: Api):
    """A success is no failure."""
    await add(api)
    for _ in range(12):
        await log_in(api)


async def test_a_disabled_users_tokens_stop_working_and_work_again(api: Api):
    """At once, all of them."""
    await add(api, role="editor")
    token = await log_in(api)
    made = (await api.post("/v1/tokens", {"username": "ann", "role": "viewer"})).body["token"]
    assert (await api.put("/v1/users/ann", {"is_active": False})).status == 200
    for one in (token, made):
        answer = await api.get("/v1/me", token=one)
        assert answer.status == 401
        assert "disabled" in answer.body["detail"]
    assert (await api.put("/v1/users/ann", {"is_active": True})).status == 200
    assert (await api.get("/v1/me", token=token)).status == 200


async def test_a_deleted_users_tokens_are_gone(api: Api):
    """Also for a user of the same name who comes later."""
    await add(api)
    token = await log_in(api)
    assert (await api.delete("/v1/users/ann")).status == 204
    assert (await api.get("/v1/me", token=token)).status == 401
    await add(api)
    assert (await api.get("/v1/me", token=token)).status == 401
    assert (await api.get("/v1/tokens")).body["count"] == 1


async def test_a_users_tokens_never_reach_further_than_the_user(api: Api):
    """Whoever loses a role or is moved to a namespace loses it with every token."""
    await add(api, role="admin")
    token = await log_in(api)
    assert (await api.get("/v1/users", token=token)).status == 200
    assert (await api.put("/v1/users/ann", {"role": "viewer", "namespace": "team"})).status == 200
    me = (await api.get("/v1/me", token=token)).body
    assert (me["role"], me["namespace"]) == ("viewer", "team")
    assert (await api.get("/v1/users", token=token)).status == 403
    for wrong in ({"role": "editor", "namespace": "team"}, {"role": "viewer", "namespace": "other"}, {}):
        answer = await api.post("/v1/tokens", {"username": "ann", **wrong})
        assert answer.status == 400


async def test_users_change_their_own_password_and_nothing_else_of_weight(api: Api):
    """With the present one; tokens from earlier log-ins end, the one in use goes on."""
    await add(api, role="editor")
    token, other = await log_in(api), await log_in(api)
    new = "battery staple"
    for body, status in (
        ({"password": new}, 400),
        ({"password": new, "current_password": "wrong one"}, 400),
        ({"role": "admin"}, 403),
        ({"namespace": None}, 403),
        ({"is_active": True}, 403),
        ({"email": "ann@example.com"}, 200),
        ({"password": new, "current_password": PASSWORD}, 200),
    ):
        answer = await api.put("/v1/users/ann", body, token=token)
        assert answer.status == status, body
        assert new not in answer.text
    assert (await api.get("/v1/me", token=token)).status == 200
    assert (await api.get("/v1/me", token=other)).status == 401
    assert (await try_log_in(api)).status == 401
    await log_in(api, password=new)
    assert (await api.get("/v1/users/ann", token=token)).body["email"] == "ann@example.com"
    for username in ("admin", "bob", "nobody"):
        assert (await api.get(f"/v1/users/{username}", token=token)).status == 403
        assert (await api.put(f"/v1/users/{username}", {"password": new}, token=token)).status == 403


async def test_guessing_the_present_password_has_to_wait(api: Api):
    """Whoever finds a token cannot go on to guess the password with it."""
    await add(api)
    token = await log_in(api)
    body = {"password": "battery staple", "current_password": "wrong one"}
    seen = [(await api.put("/v1/users/ann", body, token=token)).status for _ in range(6)]
    assert seen == [400] * 5 + [429]


async def test_the_last_administrator_can_go_for_the_first_token_stays(api: Api):
    """Whoever can read the data directory is never locked out; the name 'admin' is a user's like any other."""
    await add(api, "admin", role="admin")
    token = await log_in(api, "admin")
    assert (await api.delete("/v1/users/admin", token=token)).status == 204
    assert (await api.get("/v1/me", token=token)).status == 401
    assert (await api.get("/v1/me")).body["role"] == "admin"


async def test_a_user_is_listed_without_password(api: Api):
    """By name; a name is given once."""
    for name in ("bob", "ann"):
        await add(api, name, email=f"{name}@example.com")
    answer = await api.get("/v1/users")
    assert [user["username"] for user in answer.body["results"]] == ["ann", "bob"]
    assert "argon2" not in answer.text
    assert "password" not in answer.text
    assert (await api.post("/v1/users", {"username": "ann", "password": PASSWORD})).status == 409
    named = await api.post("/v1/users", {"name": "cyd", "password": PASSWORD})
    assert (named.status, named.body["username"]) == (201, "cyd")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "../../etc"}, "username"),
        ({"username": "a\r\nb"}, "username"),
        ({"username": "x" * 101}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 1_001}, "password"),
        ({"password": 12345678}, "password"),
        ({"password": None}, "password"),
        ({"role": "owner"}, "role"),
        ({"namespace": ""}, "namespace"),
        ({"email": "ann"}, "email"),
        ({"email": "a@b\r\nBcc: c@d"}, "email"),
        ({"email": "a@b, c@d"}, "email"),
        ({"is_active": "yes"}, "is_active"),
        ({"created_by": "me"}, "created_by"),
    ],
)
async def test_a_user_that_cannot_be_is_refused_by_its_field(api: Api, change: dict[str, Any], field: str):
    """400, and none is made; passwords are not shown back."""
    answer = await api.post("/v1/users", {"username": "ann", "password": PASSWORD, **change})
    assert answer.status == 400, answer.text
    assert field in answer.errors()
    assert PASSWORD not in answer.text
    assert "12345678" not in answer.text
    assert (await api.get("/v1/users")).body["count"] == 0
