"""All runs at a glance: lists across jobs, figures, and stopping or deleting many at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from tests.api.conftest import Api, check_problem, until


async def names(api: Api, query: str) -> list[str]:
    """The jobs' names of the runs that a list finds."""
    answer = await api.get(f"/v1/execs?{query}")
    assert answer.status == 200, answer.text
    assert answer.body["count"] == len(answer.body["results"])
    return [one["job_name"] for one in answer.body["results"]]


@pytest.fixture
async def jobs(api: Api) -> dict[str, dict[str, Any]]:
    """Three jobs with a run each: one succeeds, one fails, one goes on."""
    made = {
        "good": await api.create("good", command="true", namespace="a", labels={"tier": "db", "env": "x=y"}),
        "bad": await api.create("bad", command="false", namespace="b"),
        "long": await api.create("long", command="patient", namespace="a", labels={"tier": "web"}),
    }
    for name in ("good", "bad"):
        made[name]["run"] = await api.run(made[name]["id"])
    one = await api.trigger(made["long"]["id"])
    made["long"]["run"] = await api.until_status(made["long"]["id"], one["id"], "R")
    return made


async def test_runs_of_all_jobs_are_listed_newest_first(api: Api, jobs: dict[str, Any]):
    """Each with its namespace and its job's name, besides what a job's own list says."""
    answer = await api.get("/v1/execs")
    assert [one["job_name"] for one in answer.body["results"]] == ["long", "bad", "good"]
    assert {key: answer.body[key] for key in ("count", "count_is_estimate", "previous", "next")} == {
        "count": 3,
        "count_is_estimate": False,
        "previous": None,
        "next": None,
    }
    own = (await api.get(f"/v1/jobs/{jobs['good']['id']}/execs")).body["results"][0]
    listed = answer.body["results"][-1]
    assert listed == {**own, "namespace": "a", "job_name": "good"}
    assert listed["labels"] == {"tier": "db", "env": "x=y"}


async def test_each_filter_lets_through_what_it_names(api: Api, jobs: dict[str, Any]):
    """Alone and together; several statuses with commas or one by one."""
    bad = jobs["bad"]
    assert await names(api, "namespace=a") == ["long", "good"]
    assert await names(api, f"job={bad['id']}") == ["bad"]
    assert await names(api, "name=good") == ["good"]
    assert await names(api, "status=S,F") == ["bad", "good"]
    assert await names(api, "status=S&status=R&namespace=a") == ["long", "good"]
    assert await names(api, "status=W") == []
    assert await names(api, "trigger_mode=M&order=asc") == ["good", "bad", "long"]
    assert await names(api, "trigger_mode=S,R") == []
    assert await names(api, "label=tier=db") == ["good"]
    assert await names(api, "label=tier=db&label=env=x%3Dy") == ["good"]
    assert await names(api, "label=tier=db&label=env=z") == []
    created = bad["run"]["created_at"].replace("+", "%2B")
    assert await names(api, f"created_from={created}") == ["long", "bad"]
    assert await names(api, f"created_to={created}") == ["bad", "good"]
    started = bad["run"]["started_at"].replace("+00:00", "Z")
    assert await names(api, f"started_from={started}&started_to={started}") == ["bad"]
    assert await names(api, f"started_to={started}&order=started_at") == ["good", "bad"]
    assert await names(api, "created_from=1&created_to=2000000000.5") == ["long", "bad", "good"]
    assert await names(api, "namespace=&status=&job=") == ["long", "bad", "good"]


async def test_a_list_goes_on_by_page_and_by_cursor(api: Api):
    """Neither passes over a run nor repeats one, also when a new one comes in between."""
    job = await api.create(command="true")
    made = [(await api.run(job["id"]))["id"] for _ in range(5)]
    path, seen = "/v1/execs?page_size=2", []
    while path is not None:
        answer = await api.get(path)
        seen += [one["id"] for one in answer.body["results"]]
        path = answer.body["next"] and URL(answer.body["next"]).path_qs
    assert seen == made[::-1]

    answer = await api.get("/v1/execs?page_size=2")
    seen = [one["id"] for one in answer.body["results"]]
    await api.run(job["id"])
    while (cursor := answer.body["next_cursor"]) is not None:
        answer = await api.get(f"/v1/execs?page_size=2&cursor={cursor}")
        assert answer.body["previous"] is None
        seen += [one["id"] for one in answer.body["results"]]
        if answer.body["next"] is not None:
            assert (await api.get(URL(answer.body["next"]).path_qs)).status == 200
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("nmae=x", "nmae"),
        ("status=running", "status"),
        ("status=X", "status"),
        ("trigger_mode=m", "trigger_mode"),
        ("job=0", "job"),
        ("job=good", "job"),
        ("job=99999999999999999999", "job"),
        ("namespace=a%20b", "namespace"),
        ("created_from=yesterday", "created_from"),
        ("created_from=1451350945000", "created_from"),
        ("created_from=2026-01-02T00:00:00Z&created_to=2026-01-01T00:00:00Z", "created_from"),
        ("started_from=2&started_to=1", "started_from"),
        ("started_from=1&order=created_at", "order"),
        ("order=newest", "order"),
        ("label=tier", "label"),
        ("label==db", "label"),
        ("label=a=1&label=a=2", "label"),
        ("&".join(f"label=l{n}=1" for n in range(11)), "label"),
        ("page=0", "page"),
        ("page_size=1001", "page_size"),
        ("cursor=%21", "cursor"),
        ("cursor=Y2Q6MTow", "cursor"),
        ("page=1&cursor=x", "cursor"),
        ("name=a&name=b", "name"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_its_name(api: Api, query: str, field: str):
    """Every parameter: which one, what it was, and what to write."""
    answer = await api.get(f"/v1/execs?{query}")
    assert answer.status == 400
    assert field in answer.errors()


async def test_a_cursor_of_another_order_is_refused(api: Api):
    """It would pass over runs without a word."""
    job = await api.create(command="true")
    for _ in range(2):
        await api.run(job["id"])
    cursor = (await api.get("/v1/execs?page_size=1")).body["next_cursor"]
    answer = await api.get(f"/v1/execs?page_size=1&order=asc&cursor={cursor}")
    assert "another order" in answer.errors()["cursor"]["message"]


async def test_a_page_beyond_the_end_does_not_exist(api: Api):
    """The first page always does."""
    assert (await api.get("/v1/execs?page=1")).status == 200
    answer = await api.get("/v1/execs?page=2")
    assert answer.status == 404
    check_problem(answer)


async def test_figures_tell_counts_rate_and_durations(api: Api, jobs: dict[str, Any]):
    """In all and for each job, over the last day unless told otherwise."""
    await api.run(jobs["good"]["id"])
    body = (await api.get("/v1/stats")).body
    assert body["total"] == 4
    assert datetime.fromisoformat(body["to"]) - datetime.fromisoformat(body["from"]) == timedelta(days=1)
    assert body["counts"] == {"W": 0, "R": 1, "S": 2, "F": 1, "C": 0}
    assert body["success_rate"] == 0.666667
    assert [(one["name"], one["total"], one["success_rate"]) for one in body["jobs"]] == [
        ("good", 2, 1.0),
        ("bad", 1, 0.0),
        ("long", 1, None),
    ]
    durations = body["jobs"][0]["durations"]
    assert set(durations) == {"count", "p50", "p90", "p99", "mean", "max"}
    assert durations["count"] == 2
    assert body["jobs"][2]["durations"] is None
    assert (await api.get("/v1/stats?namespace=b")).body["total"] == 1
    assert (await api.get(f"/v1/stats?job={jobs['good']['id']}")).body["counts"]["S"] == 2
    assert (await api.get("/v1/stats?to=2020-01-01T00:00:00Z")).body["total"] == 0
    assert len((await api.get("/v1/stats?limit=1")).body["jobs"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [("from=2&to=1", "from"), ("job=x", "job"), ("limit=0", "limit"), ("status=S", "status")],
)
async def test_figures_refuse_what_they_do_not_know(api: Api, query: str, field: str):
    """As lists do."""
    answer = await api.get(f"/v1/stats?{query}")
    assert answer.status == 400
    assert field in answer.errors()


async def test_many_runs_are_stopped_by_the_same_filters(api: Api, jobs: dict[str, Any]):
    """A dry run says which; the real one stops these and no other."""
    other = await api.create("other", command="patient", namespace="b")
    spared = await api.trigger(other["id"])
    await api.until_status(other["id"], spared["id"], "R")
    path = "/v1/execs/stop?namespace=a"
    expected = {"matched": 1, "has_more": False, "execs": [jobs["long"]["run"]["id"]]}

    answer = await api.post(f"{path}&dry_run=true")
    assert (answer.status, answer.body) == (200, {"dry_run": True, **expected})
    assert (await api.exec(jobs["long"]["id"], jobs["long"]["run"]["id"]))["status"] == "R"
    answer = await api.post(path)
    assert (answer.status, answer.body) == (202, {"dry_run": False, **expected})

    assert (await api.until_ended(jobs["long"]["id"], jobs["long"]["run"]["id"]))["status"] == "C"
    assert (await api.exec(other["id"], spared["id"]))["status"] == "R"
    assert (await api.post("/v1/execs/stop?status=S")).body["matched"] == 0


async def test_many_ended_runs_are_deleted_by_the_same_filters(api: Api, jobs: dict[str, Any]):
    """Those that go on are left alone, whatever the filter says."""
    answer = await api.delete("/v1/execs?all=true&dry_run=true")
    assert answer.body["execs"] == [jobs["good"]["run"]["id"], jobs["bad"]["run"]["id"]]
    assert (await api.delete("/v1/execs?status=R")).body["matched"] == 0
    assert (await api.delete("/v1/execs?name=bad")).body["matched"] == 1
    await until(lambda: api.get("/v1/execs"), lambda seen: seen.body["count"] == 2)
    assert await names(api, "") == ["long", "good"]


@pytest.mark.parametrize("path", ["/v1/execs/stop", "/v1/execs/stop?dry_run=true"])
async def test_nothing_is_stopped_or_deleted_without_saying_what(api: Api, path: str):
    """Forgetting the filter must not end everything."""
    for answer in (await api.post(path), await api.delete(path.replace("/stop", ""))):
        assert answer.status == 400
        assert "all=true" in answer.errors()["query"]["remedy"]


async def test_jobs_are_listed_by_name_label_and_state(api: Api, jobs: dict[str, Any]):
    """And what is no state or no label is refused."""
    await api.create("on", is_schedule_active=True, schedule_mode="R/2999-01-01T00:00:00Z/P1D")

    async def found(query: str) -> list[str]:
        return [job["name"] for job in (await api.get(f"/v1/jobs?{query}")).body["results"]]

    assert await found("label=tier=db") == ["good"]
    assert await found("name=bad") == ["bad"]
    assert await found("schedule_state=active") == ["on"]
    assert await found("schedule_state=none&namespace=a") == ["good", "long"]
    for query, field in (("schedule_state=on", "schedule_state"), ("label=x", "label"), ("nmae=x", "nmae")):
        answer = await api.get(f"/v1/jobs?{query}")
        assert answer.status == 400
        assert field in answer.errors()
    assert jobs
