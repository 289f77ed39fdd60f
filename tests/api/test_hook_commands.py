"""`timeball hook`: the API's client for those who want to be told."""

from __future__ import annotations

import re

import pytest

from tests.api.conftest import Api, until
from tests.api.test_access_commands import has_settled, run, run_json

__all__ = ["has_settled"]
#: Nobody listens there.
NOWHERE = "http://127.0.0.1:1025/"


async def make(api: Api, *more: str, given: str = "") -> int:
    """A hook that the command has made, of a job called `nightly`."""
    words = ("hook", "create", "told", "--url", NOWHERE, "--job", "nightly", *more)
    return int((await run_json(api, *words, given=given))["id"])


async def test_a_hook_is_made_listed_changed_and_removed(api: Api):
    """By the name of its job; its secret comes from standard input and is in no output."""
    job = (await api.create("nightly", command="true"))["id"]
    number = await make(api, "--event", "job:fail", "--event", "job:miss", "--secret", given="hunter2\n")
    stored = (await api.get(f"/v1/hooks/{number}")).body
    assert (stored["subject_type"], stored["subject"], stored["has_secret"]) == ("job", job, True)
    assert stored["events"] == ["job:fail", "job:miss"]
    listed = await run(api, "hook", "list", "--job", "nightly")
    assert re.search(rf"{number} +told +job {job} +job:fail job:miss +yes +yes", listed.stdout), listed.stdout
    assert "hunter2" not in listed.output + (await run(api, "hook", "show", str(number))).output
    assert (await run(api, "hook", "list", "--namespace", "admin", "-q")).stdout == ""
    said = await run(api, "hook", "update", str(number), "--namespace", "admin", "--inactive", "--no-secret")
    assert f"Updated webhook {number} 'told'" in said.stdout
    stored = (await api.get(f"/v1/hooks/{number}")).body
    assert (stored["subject"], stored["is_active"], stored["has_secret"]) == ("admin", False, False)
    assert (await run(api, "hook", "list", "--namespace", "admin", "-q")).stdout == f"{number}\n"
    assert await run_json(api, "hook", "delete", str(number)) == {"deleted": number}
    gone = await run(api, "hook", "show", str(number))
    assert (gone.exit_code, f"'{number}'" in gone.stderr) == (1, True)


async def test_a_hook_of_nothing_said_is_told_of_how_runs_end(api: Api):
    """Success and failure, unsigned."""
    await api.create("nightly", command="true")
    stored = (await api.get(f"/v1/hooks/{await make(api)}")).body
    assert (stored["events"], stored["has_secret"]) == (["job:succeed", "job:fail"], False)


async def test_a_hook_is_tested_and_its_deliveries_are_seen_and_sent_again(api: Api):
    """A test that does not arrive is a failure of the command, with the reason."""
    await api.create("nightly", command="true")
    number = str(await make(api))
    tested = await run(api, "hook", "test", number)
    assert tested.exit_code == 1
    assert re.search(r"Delivery msg_\w+ is failed: .*refused", tested.stdout, re.IGNORECASE), tested.stdout
    one = (await run(api, "hook", "deliveries", number, "-q")).stdout.strip()
    assert one in tested.stdout
    assert "hook:test" in (await run(api, "hook", "deliveries", number, "--status", "failed")).stdout
    assert (await run_json(api, "hook", "deliveries", number, "--status", "delivered"))["count"] == 0
    again = await run(api, "hook", "redeliver", number, one)
    assert (again.exit_code, one in again.stdout) == (0, True)
    await until(
        lambda: api.get(f"/v1/hooks/{number}/deliveries/{one}"),
        lambda answer: len(answer.body["attempts"]) == 2,
    )


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("create", "x"), 2, "--url is missing"),
        (("create", "x", "--url", NOWHERE), 2, "--job or --namespace is missing"),
        (("create", "x", "--url", NOWHERE, "--job", "nightyl"), 2, "Did you mean 'nightly'?"),
        (("create", "x", "--url", NOWHERE, "--job", "nightly", "--event", "job:fial"), 2, "'job:fail'?"),
        (("create", "x", "--url", "ftp://x", "--job", "nightly"), 2, "url"),
        (("create", "x", "--url", NOWHERE, "--job", "nightly", "--secret"), 2, "missing on standard input"),
        (("create", "x", "--secret", "hunter2"), 2, "hunter2"),
        (("update", "1"), 2, "Nothing to change. Run 'timeball hook update --help'"),
        (("delete", "77"), 1, "'77'"),
        (("redeliver", "77", "msg_1"), 1, "77"),
        (("lst",), 2, "Did you mean 'list'?"),
    ],
)
async def test_what_cannot_be_done_is_said(api: Api, words: tuple[str, ...], status: int, said: str):
    """In one line, with what to do instead; and nothing is made of it."""
    await api.create("nightly", command="true")
    result = await run(api, "hook", *words)
    assert (result.exit_code, said in result.stderr) == (status, True), result.output
    assert (await api.get("/v1/hooks")).body == []
