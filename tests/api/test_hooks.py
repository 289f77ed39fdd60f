"""Hooks over HTTP: defining them, being told, reading what became of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from scheduler.access.callers import Role
from tests.api.conftest import Api, until
from tests.api.test_permissions import make_token
from tests.lab.receiver import Receiver, answers

EVENTS = ["job:start", "job:succeed", "job:fail", "job:cancel", "job:miss"]
SECRET = "whsec_" + base64.b64encode(b"a key of twenty-four byt").decode()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 200."""
    one = Receiver()
    await one.start()
    yield one
    await one.stop()


async def make_hook(api: Api, job_id: int, url: str, **fields: Any) -> dict[str, Any]:
    """Define a hook for a job."""
    body = {
        "name": "told",
        "url": url,
        "secret": SECRET,
        "subject_type": "job",
        "subject": job_id,
        "events": EVENTS,
        **fields,
    }
    answer = await api.post("/v1/hooks", body)
    assert answer.status == 201, answer.text
    return answer.body


async def deliveries(api: Api, hook: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    """A hook's deliveries, newest first."""
    answer = await api.get(f"/v1/hooks/{hook['id']}/deliveries{query}")
    assert answer.status == 200, answer.text
    return answer.body["results"]


async def until_told(api: Api, hook: dict[str, Any], event: str) -> dict[str, Any]:
    """The newest delivery of an event, once it has been delivered."""

    async def look() -> dict[str, Any] | None:
        found = [one for one in await deliveries(api, hook) if one["event"] == event]
        return found[0] if found and found[0]["status"] == "delivered" else None

    return await until(look)


# ---- defining ----------------------------------------------------------------------------------------------


async def test_a_hook_is_made_read_changed_and_deleted_as_the_contract_says(api: Api):
    """Statuses, fields, the bare array; the secret is nowhere."""
    job = await api.create()
    hook = await make_hook(api, job["id"], "https://hooks.example.com/x?y=1", events=["job:fail"])
    assert (
        hook.items()
        >= {
            "name": "told",
            "url": "https://hooks.example.com/x?y=1",
            "subject_type": "job",
            "subject": job["id"],
            "events": ["job:fail"],
            "is_active": True,
            "created_by": "admin",
        }.items()
    )
    assert "secret" not in hook
    assert hook["created_at"] == hook["updated_at"]
    path = f"/v1/hooks/{hook['id']}"
    assert (await api.get(path)).body == hook
    for query in ("", f"?subject_type=job&subject={job['id']}", "?subject_type=job", f"?subject={job['id']}"):
        assert (await api.get("/v1/hooks" + query)).body == [hook]
    assert (await api.get("/v1/hooks?subject_type=job&subject=4711")).body == []
    assert (await api.get("/v1/hooks?subject_type=namespace&subject=admin")).body == []

    changed = await api.put(path, {"events": ["job:succeed", "job:fail"]})
    assert changed.status == 200
    assert changed.body["events"] == ["job:succeed", "job:fail"]
    kept = {"url", "name", "subject", "has_secret", "is_active", "created_at"}
    assert {name: changed.body[name] for name in kept} == {name: hook[name] for name in kept}
    for answer in (changed, await api.get(path), await api.get("/v1/hooks")):
        assert SECRET not in answer.text

    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).status == 404
    assert (await api.get("/v1/hooks")).body == []


async def test_a_subject_may_be_written_as_text_and_is_answered_as_a_number(api: Api):
    """Scripts put ids into quotes."""
    job = await api.create()
    assert (await make_hook(api, job["id"], "http://a.example", subject=str(job["id"])))["subject"] == job[
        "id"
    ]


async def test_a_hook_without_a_name_url_subject_or_events_is_refused_by_field(api: Api):
    """All that is missing is named at once."""
    errors = (await api.post("/v1/hooks", {})).errors()
    assert set(errors) == {"name", "url", "subject_type", "subject", "events"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("colour", "red"),
        ("id", 7),
        ("created_by", "eve"),
        ("subject_type", "service"),
        ("subject", True),
        ("subject", "no/thing"),
        ("subject", "abc"),
        ("events", []),
        ("events", ["job:explode"]),
        ("events", ["job:fail", "job:fail"]),
        ("events", "job:fail"),
        ("secret", ""),
        ("secret", "whsec_!!!"),
        ("secret", "a\nb"),
        ("secret", 7),
        ("name", ""),
        ("url", "ftp://example.com/"),
        ("url", "example.com/hook"),
        ("url", "http://user:pass@example.com/"),
        ("url", "http://"),
        ("url", "http://example.com:22/"),
        ("url", "http://example.com/a b"),
        ("url", "http://" + "a" * 2000 + ".example"),
    ],
)
async def test_what_no_hook_can_have_is_refused_with_field_and_remedy(api: Api, field: str, value: Any):
    """Unknown and read-only fields, events, schemes."""
    job = await api.create()
    good = {"name": "n", "url": "http://a.example", "subject_type": "job", "subject": job["id"]}
    good["events"] = ["job:fail"]
    answer = await api.post("/v1/hooks", {**good, field: value})
    assert answer.status == 400, answer.text
    assert any(name.split(".")[0] == field for name in answer.errors()), answer.text
    if field == "secret":  # it may be a real one, misspelt
        assert answer.errors()["secret"]["value"] is None
    hook = (await api.post("/v1/hooks", good)).body
    changed = await api.put(f"/v1/hooks/{hook['id']}", {field: value})
    assert changed.status == 400, changed.text
    assert (await api.get(f"/v1/hooks/{hook['id']}")).body == hook


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://172.16.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:a00:1::]/",
        "http://2130706434/",
        "http://0x7f000002/",
        "http://0177.0.0.2/",
        "http://127.2/",
        "http://127.0.0.2./",
        "http://１２７.0.0.2/",
        "http://127。0。0。2/",
    ],
)
async def test_a_url_that_names_an_inner_address_is_refused_however_it_is_spelt(api: Api, url: str):
    """Loopback, private, link-local, metadata, multicast, mapped; decimal, octal, hexadecimal, wide digits."""
    job = await api.create()
    answer = await api.post(
        "/v1/hooks",
        {"name": "n", "url": url, "subject_type": "job", "subject": job["id"], "events": ["job:fail"]},
    )
    assert answer.status == 400, answer.text
    assert set(answer.errors()) == {"url"}


async def test_hooks_belong_to_the_namespace_of_their_job(api: Api):
    """Viewers read, operators test, editors define; for others there is none."""
    job = await api.create("mine", namespace="mine")
    hook = await make_hook(api, job["id"], "http://a.example")
    new = {"name": "n", "url": "http://a.example", "subject_type": "job", "subject": job["id"]}
    new["events"] = ["job:fail"]
    stranger = await make_token(api, Role.EDITOR, "theirs")
    assert (await api.get(f"/v1/hooks/{hook['id']}", token=stranger)).status == 404
    assert (await api.put(f"/v1/hooks/{hook['id']}", {"name": "x"}, token=stranger)).status == 404
    assert (await api.delete(f"/v1/hooks/{hook['id']}", token=stranger)).status == 404
    assert (await api.post("/v1/hooks", new, token=stranger)).status == 404
    assert (await api.get("/v1/hooks", token=stranger)).body == []
    assert (await api.get(f"/v1/hooks?subject_type=job&subject={job['id']}", token=stranger)).body == []
    assert (
        await api.post("/v1/hooks", new, token=await make_token(api, Role.OPERATOR, "mine"))
    ).status == 403
    assert (await api.post("/v1/hooks", new, token=await make_token(api, Role.EDITOR, "mine"))).status == 201
    assert len((await api.get("/v1/hooks", token=await make_token(api, Role.VIEWER, "mine"))).body) == 2
    space = {**new, "subject_type": "namespace", "subject": "mine"}
    assert (await api.post("/v1/hooks", space, token=stranger)).status == 404
    assert (
        await api.post("/v1/hooks", space, token=await make_token(api, Role.EDITOR, "mine"))
    ).status == 201


async def test_what_is_done_with_hooks_is_in_the_audit(api: Api, receiver: Receiver):
    """Without URLs and secrets."""
    job = await api.create(namespace="mine")
    hook = await make_hook(api, job["id"], receiver.url)
    path = f"/v1/hooks/{hook['id']}"
    await api.put(path, {"name": "other"})
    tested = (await api.post(path + "/test")).body
    await api.post(f"{path}/deliveries/{tested['id']}/redeliver")
    await api.delete(path)
    found = await api.get("/v1/audit?namespace=mine")
    done = [(one["action"], one["object"]) for one in found.body["results"]][::-1]
    thing = f"hook {hook['id']}"
    assert done == [
        ("job.create", f"job {job['id']}"),
        ("hook.create", thing),
        ("hook.update", thing),
        ("hook.test", thing),
        ("delivery.redeliver", f"delivery {tested['id']} of {thing}"),
        ("hook.delete", thing),
    ]
    assert receiver.url not in found.text
    assert SECRET not in found.text


async def test_a_job_has_a_limit_of_hooks(api: Api):
    """Nothing is unbounded."""
    job = await api.create()
    for _ in range(50):
        await make_hook(api, job["id"], "http://a.example")
    body = {"name": "n", "url": "http://a.example", "subject_type": "job", "subject": job["id"]}
    answer = await api.post("/v1/hooks", {**body, "events": ["job:fail"]})
    assert answer.status == 409
    assert "50 webhooks" in answer.text


# ---- being told --------------------------------------------------------------------------------------------


async def test_a_run_is_told_of_with_both_signatures_and_the_exec_as_the_api_shows_it(
    api: Api, receiver: Receiver
):
    """Headers and body as the contract says; the standard's own package verifies them."""
    job = await api.create(command="greet", runtime_vars={"GREETING": "你好"})
    hook = await make_hook(api, job["id"], receiver.url)
    run = await api.run(job["id"])
    told = await until_told(api, hook, "job:succeed")

    (got,) = receiver.of("job:succeed")
    shown = (await api.get(f"/v1/jobs/{job['id']}/execs")).body["results"][0]
    assert shown["id"] == run["id"]
    assert got.body["data"] == shown
    assert got.body["hook"] == {"id": hook["id"], "subject_type": "job", "subject": job["id"]}
    assert got.body["job"] == {"id": job["id"], "name": job["name"], "namespace": job["namespace"]}
    assert got.body["sender"] == {"username": "admin"}
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["webhook-id"] == told["id"]
    assert Webhook(SECRET).verify(got.raw, dict(got.headers)) == got.body
    time = got.headers["X-Alauda-Event-Time"]
    digest = hmac.new(SECRET.encode(), time.encode(), hashlib.sha1).hexdigest()
    assert got.headers["X-Alauda-Signature"] == f"sha1={digest}"
    assert told["event_time"] == time == run["ended_at"]
    assert told["attempts"][0]["status_code"] == 200
    (start,) = receiver.of("job:start")
    assert start.body["data"]["status"] == "R"
    assert start.body["data"]["id"] == run["id"]
    detail = (await api.get(f"/v1/hooks/{hook['id']}/deliveries/{told['id']}")).body
    assert detail["body"] == got.body


@pytest.mark.parametrize("secret", ["any old text", "c29tZSBrZXkgdGhhdCBpcyBiYXNlNjQ="])
async def test_a_secret_that_is_plain_text_is_the_key_itself(api: Api, receiver: Receiver, secret: str):
    """And where it could be base64, the standard's libraries find their signature as well."""
    job = await api.create(command="true")
    hook = await make_hook(api, job["id"], receiver.url, secret=secret)
    await api.run(job["id"])
    await until_told(api, hook, "job:succeed")
    (got,) = receiver.of("job:succeed")
    Webhook(base64.b64encode(secret.encode()).decode()).verify(got.raw, dict(got.headers))
    if secret.endswith("="):
        Webhook(secret).verify(got.raw, dict(got.headers))


async def test_without_a_secret_nothing_is_signed(api: Api, receiver: Receiver):
    """The message's id and time come all the same."""
    job = await api.create(command="true")
    hook = await make_hook(api, job["id"], receiver.url)
    assert (await api.put(f"/v1/hooks/{hook['id']}", {"secret": None})).body["has_secret"] is False
    await api.run(job["id"])
    await until_told(api, hook, "job:succeed")
    got = receiver.of("job:succeed")[0]
    assert {"webhook-id", "webhook-timestamp"} <= set(map(str.lower, got.headers))
    assert not {"webhook-signature", "x-alauda-signature"} & set(map(str.lower, got.headers))


async def test_only_what_a_hook_asks_for_is_sent(api: Api, receiver: Receiver):
    """And nothing while it is switched off."""
    job = await api.create(command="false")
    hook = await make_hook(api, job["id"], receiver.url, events=["job:fail"])
    run = await api.run(job["id"])
    await until_told(api, hook, "job:fail")
    assert [one.event for one in receiver.received] == ["job:fail"]
    assert receiver.received[0].body["data"]["fail_reason"] == "exit_code"
    assert receiver.received[0].body["data"]["id"] == run["id"]
    await api.put(f"/v1/hooks/{hook['id']}", {"is_active": False})
    await api.run(job["id"])
    assert len(await deliveries(api, hook)) == 1


async def test_each_attempt_that_fails_is_told_of_and_says_whether_another_follows(
    api: Api, receiver: Receiver
):
    """An attempt is a run of its own."""
    job = await api.create(command="false", max_retries=1, retry_backoff_seconds=0)
    hook = await make_hook(api, job["id"], receiver.url, events=["job:fail"])
    first = await api.run(job["id"])
    await until(lambda: deliveries(api, hook, "?status=delivered"), lambda found: len(found) == 2)
    one, two = sorted((got.body for got in receiver.received), key=lambda body: body["data"]["attempt"])
    assert one["data"]["id"] == first["id"]
    assert one["retry"]["exec"] == two["data"]["id"]
    assert one["retry"]["attempt"] == two["data"]["attempt"] == 2
    assert two["retry"] is None


async def test_a_run_stopped_while_it_waits_or_runs_is_told_of_as_cancelled(api: Api, receiver: Receiver):
    """Both ways to the status C."""
    job = await api.create(command="patient", concurrency_policy="queue")
    hook = await make_hook(api, job["id"], receiver.url, events=["job:cancel"])
    going = await api.trigger(job["id"])
    await api.until_status(job["id"], going["id"], "R")
    waiting = await api.trigger(job["id"])
    for one in (waiting, going):
        await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")
        await api.until_status(job["id"], one["id"], "C")
    await until(lambda: deliveries(api, hook, "?status=delivered"), lambda found: len(found) == 2)
    assert [got.body["data"]["id"] for got in receiver.received] == [waiting["id"], going["id"]]


async def test_a_hook_of_a_namespace_is_told_of_all_its_jobs(api: Api, receiver: Receiver):
    """And of no other's."""
    ours = await api.create("ours", namespace="mine", command="true")
    other = await api.create("other", namespace="theirs", command="true")
    hook = await make_hook(
        api, 0, receiver.url, subject_type="namespace", subject="mine", events=["job:succeed"]
    )
    assert hook["subject"] == "mine"
    await api.run(other["id"])
    run = await api.run(ours["id"])
    await until_told(api, hook, "job:succeed")
    assert [got.body["data"]["id"] for got in receiver.received] == [run["id"]]


async def test_due_times_that_did_not_run_are_told_of_once_for_all(api: Api, receiver: Receiver):
    """A run that goes on under 'forbid' lets the next due times be skipped."""
    job = await api.create(command="hang", concurrency_policy="forbid")
    hook = await make_hook(api, job["id"], receiver.url, events=["job:miss"])
    going = await api.trigger(job["id"])
    await api.until_status(job["id"], going["id"], "R")
    await api.change(job["id"], schedule_mode="R1//PT1S", is_schedule_active=True)
    await until_told(api, hook, "job:miss")
    data = receiver.of("job:miss")[0].body["data"]
    entry = (await api.get(f"/v1/jobs/{job['id']}/occurrences")).body["results"][0]
    assert data == {**entry, "job": job["id"], "count": 1, "last_due_at": entry["due_at"]}
    assert data["outcome"] == "skipped"


async def test_a_deleted_job_takes_its_hooks_along(api: Api, receiver: Receiver):
    """And their deliveries."""
    job = await api.create(command="true")
    hook = await make_hook(api, job["id"], receiver.url)
    await api.run(job["id"])
    await until_told(api, hook, "job:succeed")
    assert (await api.delete(f"/v1/jobs/{job['id']}")).status == 204
    assert (await api.get(f"/v1/hooks/{hook['id']}")).status == 404
    assert (await api.get(f"/v1/hooks/{hook['id']}/deliveries")).status == 404


# ---- what became of it -------------------------------------------------------------------------------------


async def test_a_test_is_sent_at_once_and_answers_what_happened(api: Api, receiver: Receiver):
    """Delivered, refused by the receiver, not to be reached: 200 each time, and the answer says it."""
    job = await api.create()
    hook = await make_hook(api, job["id"], receiver.url, events=["job:fail"])
    path = f"/v1/hooks/{hook['id']}/test"
    good = await api.post(path)
    assert good.status == 200
    assert (good.body["status"], good.body["event"]) == ("delivered", "hook:test")
    (got,) = receiver.received
    assert Webhook(SECRET).verify(got.raw, dict(got.headers))["sender"] == {"username": "admin"}

    receiver.behave = answers(500)
    bad = (await api.post(path)).body
    assert (bad["status"], bad["attempts"][0]["status_code"]) == ("failed", 500)
    assert "500" in bad["reason"]
    await receiver.stop()
    down = (await api.post(path)).body
    assert (down["status"], down["attempts"][0]["status_code"]) == ("failed", None)
    assert "cannot connect" in down["attempts"][0]["error"]
    assert [one["status"] for one in await deliveries(api, hook)] == ["failed", "failed", "delivered"]


async def test_a_receiver_that_was_down_is_told_when_it_is_up_again(api: Api, receiver: Receiver):
    """By the back-off, under the same id; each attempt can be read."""
    job = await api.create(command="true")
    await receiver.stop()
    hook = await make_hook(api, job["id"], receiver.url, events=["job:succeed"])
    await api.run(job["id"])
    (waiting,) = await until(
        lambda: deliveries(api, hook, "?status=pending"), lambda found: found and found[0]["attempts"]
    )
    assert "cannot connect" in waiting["attempts"][0]["error"]
    assert waiting["next_attempt_at"] > waiting["attempts"][0]["at"]
    await receiver.start()
    told = await until_told(api, hook, "job:succeed")
    assert told["attempts"][-1]["status_code"] == 200
    assert receiver.received[0].headers["webhook-id"] == waiting["id"]


async def test_a_delivery_is_made_again_by_hand_under_the_same_id(api: Api, receiver: Receiver):
    """Same body, same id; a newer time of sending."""
    job = await api.create(command="true")
    hook = await make_hook(api, job["id"], receiver.url, events=["job:succeed"])
    await api.run(job["id"])
    told = await until_told(api, hook, "job:succeed")
    path = f"/v1/hooks/{hook['id']}/deliveries/{told['id']}"
    answer = await api.post(path + "/redeliver")
    assert (answer.status, answer.body["status"]) == (202, "pending")
    again = await until(lambda: until_told(api, hook, "job:succeed"), lambda one: len(one["attempts"]) == 2)
    assert again["id"] == told["id"]
    one, two = receiver.received
    assert one.raw == two.raw
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    Webhook(SECRET).verify(two.raw, dict(two.headers))
    assert (await api.post(path[:-1] + "x/redeliver")).status == 404


async def test_a_redirect_to_an_inner_address_is_not_followed(api: Api, receiver: Receiver):
    """The attempt says why."""
    job = await api.create()
    receiver.behave = answers(307, Location=f"http://127.0.0.2:{receiver.port}/inner")
    hook = await make_hook(api, job["id"], receiver.url)
    tested = (await api.post(f"/v1/hooks/{hook['id']}/test")).body
    assert tested["status"] == "failed"
    assert "127.0.0.2" in tested["reason"]
    assert "not allowed" in tested["reason"]
    assert [got.path for got in receiver.received] == ["/hook"]


async def test_mail_that_cannot_be_sent_says_why(api: Api):
    """The daemon under test has no mail server."""
    job = await api.create(command="false", email_enabled=True)
    await api.run(job["id"])

    async def look() -> list[dict[str, Any]]:
        return (await api.get(f"/v1/jobs/{job['id']}/mails?status=failed")).body["results"]

    (mail,) = await until(look)
    assert mail["event"] == "job:fail"
    assert "mail.host" in mail["reason"]


async def test_lists_of_deliveries_refuse_what_they_do_not_know(api: Api):
    """As every list does."""
    job = await api.create()
    hook = await make_hook(api, job["id"], "http://a.example")
    path = f"/v1/hooks/{hook['id']}/deliveries"
    assert set((await api.get(path + "?status=lost")).errors()) == {"status"}
    assert set((await api.get("/v1/hooks?subject_type=service")).errors()) == {"subject_type"}
    assert (await api.get(path)).body == {"count": 0, "previous": None, "next": None, "results": []}
