"""The audit: who did what from where, what was refused, and that nothing secret is in it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from api.http.keys import SERVICE
from scheduler.access.throttle import Throttle
from scheduler.domain.account import AuditEntry
from scheduler.keeping.audit_retention import keep_audit
from scheduler.store import audit
from tests.api.conftest import REPO, Api, World, until


async def entries(api: Api, query: str = "", **more: Any) -> list[dict[str, Any]]:
    """The audit, newest first."""
    answer = await api.get(f"/v1/audit{query}", **more)
    assert answer.status == 200, answer.text
    return answer.body["results"]


async def bound(api: Api, role: str, namespace: str) -> str:
    """A token of a namespace."""
    made = await api.post("/v1/tokens", {"role": role, "namespace": namespace})
    return made.body["token"]


async def test_a_change_is_written_down_with_who_and_where(api: Api):
    """User, the token's beginning, address, request and object."""
    job = await api.create("secret name", namespace="team", runtime_vars={"KEY": "hidden"})
    answer = await api.put(
        f"/v1/jobs/{job['id']}", {"timeout_seconds": 5}, headers={"X-Request-Id": "mine-1"}
    )
    assert answer.headers["X-Request-Id"] == "mine-1"
    one = await api.trigger(job["id"])
    newest, change, made = await entries(api)
    assert change == {
        "id": change["id"],
        "time": change["time"],
        "user": "admin",
        "token_prefix": api.token[:8],
        "remote": "127.0.0.1",
        "request_id": "mine-1",
        "method": "PUT",
        "path": f"/v1/jobs/{job['id']}",
        "namespace": "team",
        "action": "job.update",
        "object": f"job {job['id']}",
        "outcome": "done",
    }
    assert (made["action"], made["object"]) == ("job.create", f"job {job['id']}")
    assert newest["action"] == "exec.trigger"
    assert one["id"] in newest["object"]


async def test_what_was_refused_is_written_down_as_well(api: Api):
    """401 without a name, 403 with it; what did not change is not there as done."""
    viewer = await bound(api, "viewer", "team")
    await api.post("/v1/jobs", {"name": "x", "docker_image_repo": REPO}, token="tbl_" + "x" * 43)
    await api.post("/v1/jobs?x=hidden", {"name": "x", "docker_image_repo": REPO}, token=viewer)
    await api.post("/v1/jobs", {"name": "x", "docker_image_repo": REPO, "namespace": "team"}, token=viewer)
    await api.post("/v1/generate-api-token", {"username": "ann", "password": "hidden"}, token=None)
    log_in, forbidden, unauthorized, _ = await entries(api)
    assert (log_in["outcome"], log_in["action"]) == ("unauthorized", "POST /v1/generate-api-token")
    assert (forbidden["outcome"], forbidden["action"]) == ("forbidden", "POST /v1/jobs")
    assert (forbidden["user"], forbidden["namespace"]) == ("admin", "team")
    assert viewer.startswith(forbidden["token_prefix"])
    assert (unauthorized["outcome"], unauthorized["user"]) == ("unauthorized", None)


async def test_nothing_secret_is_in_it(api: Api):
    """No token, no password, no body, no query."""
    made = (await api.post("/v1/tokens", {"name": "n"})).body["token"]
    await api.post("/v1/users", {"username": "ann", "password": "hidden horse"})
    log_in = {"username": "ann", "password": "hidden horse"}
    token = (await api.post("/v1/generate-api-token", log_in, token=None)).body["token"]
    await api.post("/v1/generate-api-token?password=hidden", log_in, token=None)
    await api.get("/v1/jobs?token=hidden", token="tbl_hidden" + "x" * 40)
    await api.create("j", runtime_vars={"A": "hidden"}, command=["hidden"])
    text = (await api.get("/v1/audit")).text
    for secret in (made, token, api.token, "hidden", "argon2"):
        assert secret not in text


async def test_an_administrator_of_a_namespace_reads_what_concerns_it(api: Api):
    """And nothing of others; who is no administrator reads nothing."""
    mine = await bound(api, "admin", "mine")
    await api.create("a", namespace="mine")
    await api.create("b", namespace="theirs")
    seen = await entries(api, token=mine)
    assert [one["action"] for one in seen] == ["job.create", "token.create"]
    assert {one["namespace"] for one in seen} == {"mine"}
    assert await entries(api, "?namespace=theirs", token=mine) == []
    editor = await bound(api, "editor", "mine")
    assert (await api.get("/v1/audit", token=editor)).status == 403


async def test_the_audit_is_asked_by_time_user_action_namespace_and_outcome(api: Api):
    """Page by page, newest first, in the usual envelope."""
    for number in range(5):
        await api.create(f"job {number}", namespace=f"ns{number % 2}")
    everything = await entries(api)
    assert [one["id"] for one in everything] == sorted((one["id"] for one in everything), reverse=True)
    times = [one["time"].replace("+", "%2B") for one in everything]
    assert await entries(api, f"?from={times[3]}&to={times[1]}") == everything[1:4]
    assert len(await entries(api, "?namespace=ns1")) == 2
    assert await entries(api, "?user=nobody") == []
    assert len(await entries(api, "?user=admin&action=job.create&outcome=done")) == 5
    page = (await api.get("/v1/audit?page=2&page_size=2")).body
    assert (page["count"], page["results"]) == (5, everything[2:4])
    assert "page=3" in page["next"]
    for query in ("outcome=fine", "from=yesterday", "namespace=a%20b", "who=me", "page=0"):
        assert (await api.get(f"/v1/audit?{query}")).status == 400


async def test_a_flood_of_refusals_does_not_fill_the_disk(api: Api):
    """What exceeds the measure of an address is only logged; the answers are the same."""
    service = api.client.server.app[SERVICE]
    service.audit._throttle = Throttle(3, 3600)
    for _ in range(9):
        assert (await api.get("/v1/jobs", token=None)).status == 401
    assert len(await entries(api)) == 3
    await api.create("a")
    assert len(await entries(api)) == 4


async def test_entries_whose_time_is_over_are_forgotten(api: Api, world: World):
    """And none besides."""
    old = AuditEntry(at=datetime(2020, 1, 1, tzinfo=UTC), action="job.create", outcome="done")
    await world.parts.database.write(lambda connection: audit.add(connection, old))
    await api.create("a")
    assert len(await entries(api)) == 2
    task = asyncio.create_task(keep_audit(world.parts.database, world.parts.clock, days=365))
    try:
        [left] = await until(lambda: entries(api), lambda seen: len(seen) == 1)
    finally:
        task.cancel()
    assert left["object"].startswith("job ")
