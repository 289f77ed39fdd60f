"""`timeball token` and `timeball user`: the API's clients for administrators and users."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.main import main
from tests.api.conftest import Api, until
from tests.api.test_users import PASSWORD, add, log_in, try_log_in


@pytest.fixture(autouse=True)
async def has_settled(api: Api) -> None:
    """Nothing more is logged to the output that commands share with the daemon here."""
    await until(lambda: api.get("/readyz"), lambda answer: answer.status == 200)


async def run(api: Api, *words: str, given: str = "", token: str = "") -> Result:
    """A command's result, with an administrator's token unless another is given."""
    environment = {"TIMEBALL_URL": str(api.client.make_url("")), "TIMEBALL_TOKEN": token or api.token}
    return await asyncio.to_thread(CliRunner().invoke, main, list(words), input=given, env=environment)


async def run_json(api: Api, *words: str, **more: Any) -> Any:
    """What a command prints as JSON."""
    result = await run(api, *words, "--json", **more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_a_token_is_made_listed_and_revoked(api: Api):
    """Standard output holds the token alone, so that it can be put into a variable."""
    words = (
        "token",
        "create",
        "--name",
        "ci",
        "--role",
        "operator",
        "--namespace",
        "team",
        "--expires-in",
        "30d",
    )
    made = await run(api, *words)
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    me = (await api.get("/v1/me", token=token)).body
    assert (me["role"], me["namespace"]) == ("operator", "team")
    assert "cannot be shown again" in made.stderr
    listed = await run(api, "token", "list")
    assert "ci" in listed.stdout
    assert token not in listed.stdout
    found = await run_json(api, "token", "list", "--namespace", "team")
    assert [one["id"] for one in found["results"]] == [me["token"]]
    revoked = await run(api, "token", "revoke", str(me["token"]))
    assert revoked.exit_code == 0, revoked.output
    assert (await api.get("/v1/me", token=token)).status == 401


async def test_a_user_is_made_shown_changed_and_deleted(api: Api):
    """The password comes from standard input, never from an argument."""
    made = await run(
        api, "user", "create", "ann", "--role", "editor", "--namespace", "team", given=PASSWORD + "\n"
    )
    assert made.exit_code == 0, made.output
    token = await log_in(api)
    assert (await run_json(api, "user", "show", "ann"))["role"] == "editor"
    assert "ann" in (await run(api, "user", "list")).stdout
    assert (await run_json(api, "user", "set", "ann", "--disabled"))["is_active"] is False
    assert (await api.get("/v1/me", token=token)).status == 401
    assert (await run_json(api, "user", "set", "ann", "--active", "--all-namespaces"))["namespace"] is None
    assert (await run_json(api, "user", "passwd", "ann", given="battery staple\n"))["username"] == "ann"
    await log_in(api, password="battery staple")
    assert (await run_json(api, "user", "delete", "ann")) == {"deleted": "ann"}
    gone = await run(api, "user", "show", "ann")
    assert gone.exit_code == 1
    assert "There is no user 'ann'" in gone.stderr


async def test_users_change_their_own_password_with_the_present_one(api: Api):
    """Two lines on standard input: the present one, then the new one."""
    await add(api, role="admin", namespace="team")
    token = await log_in(api)
    wrong = await run(api, "user", "passwd", "ann", given="wrong one\nbattery staple\n", token=token)
    assert (wrong.exit_code, "current_password" in wrong.stderr) == (2, True)
    right = await run(api, "user", "passwd", "ann", given=f"{PASSWORD}\nbattery staple\n", token=token)
    assert right.exit_code == 0, right.output
    assert (await try_log_in(api)).status == 401
    await log_in(api, password="battery staple")


@pytest.mark.parametrize(
    "words",
    [
        ("user", "create", "ann", "--password", "x"),
        ("user", "create", "ann"),
        ("user", "set", "ann"),
        ("user", "set", "ann", "--namespace", "a", "--all-namespaces"),
        ("token", "create", "--expires-in", "soon"),
        ("token", "create", "--role", "root"),
        ("token", "revoke", "x"),
    ],
)
async def test_wrong_usage_ends_with_2(api: Api, words: tuple[str, ...]):
    """And does nothing; an empty standard input is no password."""
    assert (await run(api, *words)).exit_code == 2
    assert (await api.get("/v1/users")).body["count"] == 0
    assert (await api.get("/v1/tokens")).body["count"] == 1


async def test_what_the_daemon_refuses_ends_with_1(api: Api):
    """With its own words."""
    viewer = (await api.post("/v1/tokens", {"role": "viewer"})).body["token"]
    refused = await run(api, "token", "create", token=viewer)
    assert refused.exit_code == 1
    assert "requires the role admin" in refused.stderr


async def test_a_secret_is_set_from_standard_input_listed_and_deleted(api: Api):
    """Its value is in no output; the line break that ends the input is none of it."""
    await until(lambda: api.get("/readyz"), lambda answer: answer.status == 200)
    assert "secret" in (await run(api, "--help")).output
    made = await run(api, "secret", "set", "db", "--namespace", "team", given="hunter2-hunter2\n")
    assert made.exit_code == 0, made.output
    assert "hunter2" not in made.output
    (one,) = (await run_json(api, "secret", "list", "--namespace", "team"))["results"]
    assert (one["name"], one["used_by"]) == ("db", 0)
    assert "db" in (await run(api, "secret", "list", "--namespace", "team")).output
    assert await run_json(api, "secret", "delete", "db", "--namespace", "team") == {"deleted": "db"}
    gone = await run(api, "secret", "delete", "db", "--namespace", "team")
    assert gone.exit_code == 1
    assert "no secret named 'db'" in gone.output
