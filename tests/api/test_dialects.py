"""The three other systems' clients, served as they are: every example of their own documents, and every refusal."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Answer, Api, until

WORKFLOWS = "/api-open/v1/workflows"


@pytest.fixture
async def pipeline(api: Api) -> dict[str, Any]:
    """The job that the examples run."""
    return await api.create("pipe_check_dao", command="greet", namespace="proj_xxx")


def error_of(answer: Answer, status: int) -> str:
    """What an answer in Ordine's shape refuses with."""
    assert answer.status == status, answer.text
    assert set(answer.body) == {"error"}
    return answer.body["error"]


async def ended(api: Api, path: str) -> dict[str, Any]:
    """The run as Ordine shows it, once it has ended."""
    answer = await until(
        lambda: api.get(path), lambda seen: seen.body["status"] not in {"pending", "running"}
    )
    return answer.body


# ---- Ordine ----------------------------------------------------------------------------------------------


async def test_ordine_runs_a_pipeline_and_reads_it_as_its_client_does(api: Api, pipeline: dict[str, Any]):
    """Triggered by name, polled until it is over, with its log on the way."""
    answer = await api.post("/api/pipelines/pipe_check_dao/run", {"inputPath": "./src"})
    assert answer.status == 201
    job_id = answer.body["jobId"]

    one = await ended(api, f"/api/jobs/{job_id}")

    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    assert all(moment.fullmatch(one.pop(name)) for name in ("startedAt", "completedAt", "createdAt"))
    assert one == {
        "id": job_id,
        "pipelineId": str(pipeline["id"]),
        "pipelineName": "pipe_check_dao",
        "projectId": "proj_xxx",
        "status": "completed",
        "result": {"summary": "The container ended with 0.", "exitCode": 0},
        "error": None,
    }
    traces = (await api.get(f"/api/jobs/{job_id}/traces")).body
    assert [(trace["level"], trace["message"]) for trace in traces][-3:] == [
        ("info", "hello"),
        ("info", "world"),
        ("error", "careful"),
    ]
    assert all(set(trace) == {"id", "jobId", "level", "message", "createdAt"} for trace in traces)
    more = await api.get(f"/api/jobs/{job_id}/traces?cursor={traces[-2]['id']}")
    assert [trace["message"] for trace in more.body] == ["careful"]
    native = await api.exec(pipeline["id"], job_id)
    assert native["runtime_vars"] == {"INPUT_PATH": "./src"}


async def test_ordine_lists_by_status_and_project(api: Api, pipeline: dict[str, Any]):
    """A bare array, newest first; either word for success."""
    bad = await api.create("bad", command="false", namespace="other")
    first = (await api.post(f"/api/pipelines/{pipeline['id']}/run")).body["jobId"]
    await ended(api, f"/api/jobs/{first}")
    second = (await api.post(f"/api/pipelines/{bad['id']}/run")).body["jobId"]
    assert (await ended(api, f"/api/jobs/{second}"))["status"] == "failed"

    async def ids(query: str) -> list[str]:
        answer = await api.get(f"/api/jobs{query}")
        assert answer.status == 200, answer.text
        return [one["id"] for one in answer.body]

    assert await ids("") == [second, first]
    assert await ids("?status=running") == []
    assert await ids("?status=failed") == [second]
    assert await ids("?status=completed") == await ids("?status=done") == [first]
    assert await ids("?projectId=proj_xxx") == [first]
    assert await ids("?pipelineId=pipe_check_dao") == [first]
    page = await api.get("/api/jobs?limit=1")
    assert await ids(f"?limit=1&cursor={page.headers['X-Next-Cursor']}") == [first]


async def test_ordine_takes_an_id_of_the_clients_own(api: Api, pipeline: dict[str, Any]):
    """It stands for the run in every request, and is given once."""
    await api.change(pipeline["id"], command="patient")
    body = {"id": "job_manual_001", "pipelineId": "pipe_check_dao", "status": "pending"}
    answer = await api.post("/api/jobs", body)
    assert (answer.status, answer.body) == (201, {"jobId": "job_manual_001"})
    path = "/api/jobs/job_manual_001"
    await until(lambda: api.get(path), lambda seen: seen.body["status"] == "running")

    assert "job_manual_001" in error_of(await api.post("/api/jobs", body), 409)
    assert (await api.send("PATCH", path, {"status": "running"})).body["status"] == "running"
    assert "is running" in error_of(await api.send("PATCH", path, {"status": "completed"}), 409)
    assert "cancel it first" in error_of(await api.delete(path), 409)
    assert (await api.send("PATCH", path, {"status": "cancelled"})).status == 200
    assert (await ended(api, path))["status"] == "cancelled"
    assert (await api.delete(path)).status == 204
    assert error_of(await api.get(path), 404) == "Job not found"


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize(
    ("request_line", "body", "status", "words"),
    [
        ("GET /api/jobs/job_xxx", None, 404, "Job not found"),
        ("GET /api/jobs/job_xxx/traces", None, 404, "Job not found"),
        ("DELETE /api/jobs/9", None, 404, "Job not found"),
        ("PATCH /api/jobs/job_xxx", {"status": "cancelled"}, 404, "Job not found"),
        ("POST /api/pipelines/nothing/run", None, 404, "Pipeline not found"),
        ("POST /api/jobs", {"pipelineId": "nothing"}, 404, "Pipeline not found"),
        ("GET /api/jobs?status=succeeded", None, 400, "succeeded"),
        ("GET /api/jobs?limit=0", None, 400, "limit"),
        ("GET /api/jobs?cursor=x", None, 400, "cursor"),
        ("GET /api/jobs?sort=x", None, 400, "sort"),
        ("PATCH /api/jobs/job_xxx", {"status": "gone"}, 400, "gone"),
        ("PATCH /api/jobs/job_xxx", {"error": "x"}, 400, "error"),
        ("POST /api/jobs", {"pipelineId": "pipe_check_dao", "status": "running"}, 400, "status"),
        ("POST /api/jobs", {}, 400, "pipelineId"),
        ("PUT /api/jobs/x", {}, 405, "PUT"),
        ("GET /api/nothing", None, 404, "/api/nothing"),
    ],
)
async def test_ordine_refuses_in_its_own_shape(
    api: Api, request_line: str, body: object, status: int, words: str
):
    """One word of error, with the value that was wrong."""
    method, path = request_line.split(" ", 1)
    assert words in error_of(await api.send(method, path, body), status)


async def test_ordine_refuses_who_has_no_token_in_its_own_shape(api: Api):
    """401 as elsewhere."""
    error_of(await api.get("/api/jobs", token=None), 401)


# ---- GES -------------------------------------------------------------------------------------------------

GRAPHS = "/ges/v1.0/proj_xxx/graphs"


async def test_ges_lists_the_jobs_of_a_graph(api: Api):
    """As its document shows them, by the graph's name, its id, or `-` for all."""
    movie = await api.create(
        "movie", command="false", namespace="proj_xxx", runtime_vars={"source": "0000", "target": "38"}
    )
    failed = await api.run(movie["id"])
    other = await api.create("other", command="true", namespace="proj_xxx")
    good = await api.run(other["id"])
    elsewhere = await api.create("elsewhere", command="true")
    await api.run(elsewhere["id"])

    answer = await api.get(f"{GRAPHS}/movie/jobs/status?limit=2&offset=0")

    assert answer.status == 200
    assert answer.body["jobCount"] == 1
    [one] = answer.body["jobs"]
    assert json.loads(one.pop("rawRequest"))["runtime_vars"] == {"source": "0000", "target": "38"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", one.pop("startTime"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", one.pop("endTime"))
    assert one == {
        "jobId": failed["id"],
        "taskType": "Container",
        "canStop": False,
        "progress": "100",
        "status": "failed",
        "failReason": failed["error"],
    }
    everything = (await api.get(f"{GRAPHS}/-/jobs/status")).body
    assert [one["jobId"] for one in everything["jobs"]] == [good["id"], failed["id"]]
    assert "failReason" not in everything["jobs"][0]
    by_id = (await api.get(f"{GRAPHS}/{other['id']}/jobs/status")).body
    assert [one["status"] for one in by_id["jobs"]] == ["success"]
    second = (await api.get(f"{GRAPHS}/-/jobs/status?limit=1&offset=1")).body
    assert ([one["jobId"] for one in second["jobs"]], second["jobCount"]) == ([failed["id"]], 2)
    assert (await api.get(f"{GRAPHS}/-/jobs/status?offset=7")).body == {"jobs": [], "jobCount": 2}
    picked = (await api.get(f"{GRAPHS}/movie/jobs/status?job_id={failed['id']}")).body
    assert [one["jobId"] for one in picked["jobs"]] == [failed["id"]]
    alone = (await api.get(f"{GRAPHS}/movie/jobs/{failed['id']}/status")).body
    assert alone == picked["jobs"][0]


async def test_ges_lists_more_than_it_reads_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch):
    """From any offset on, nothing twice and nothing passed over."""
    monkeypatch.setattr("api.dialects.ges.BATCH", 3)
    job = await api.create("movie", command="true", namespace="proj_xxx")
    made = [(await api.run(job["id"]))["id"] for _ in range(8)][::-1]
    for offset in range(9):
        for limit in (1, 3, 4, 100):
            body = (await api.get(f"{GRAPHS}/movie/jobs/status?limit={limit}&offset={offset}")).body
            assert [one["jobId"] for one in body["jobs"]] == made[offset : offset + limit]
            assert body["jobCount"] == 8


async def test_ges_stops_a_job(api: Api):
    """It then counts as failed, for there is no word for what was stopped."""
    job = await api.create("movie", command="patient", namespace="proj_xxx")
    one = await api.trigger(job["id"])
    await api.until_status(job["id"], one["id"], "R")
    path = f"{GRAPHS}/movie/jobs/{one['id']}"
    running = (await api.get(f"{path}/status")).body
    assert (running["status"], running["canStop"], running["progress"]) == ("running", True, "0")
    assert running["endTime"] == ""

    answer = await api.delete(path)
    assert (answer.status, answer.body) == (200, {"result": "success", "jobId": one["id"]})
    await api.until_ended(job["id"], one["id"])
    stopped = (await api.get(f"{path}/status")).body
    assert stopped["status"] == "failed"
    assert stopped["failReason"]


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        (f"{GRAPHS}/movidde/jobs/status", 400, "GES.8000", "graph : movidde not exist"),
        (f"{GRAPHS}/movie/jobs/status?limit=100001", 400, "GES.8005", "limit"),
        (f"{GRAPHS}/movie/jobs/status?limit=0", 400, "GES.8005", "limit"),
        (f"{GRAPHS}/movie/jobs/status?limit=two", 400, "GES.8005", "two"),
        (f"{GRAPHS}/movie/jobs/status?offset=-1", 400, "GES.8005", "offset"),
        (f"{GRAPHS}/movie/jobs/status?status=x", 400, "GES.8005", "status"),
        (f"{GRAPHS}/movie/jobs/status?job_id=b236a002", 400, "GES.8301", "b236a002"),
        (f"{GRAPHS}/movie/jobs/00000000-0000-0000-0000-000000000007/status", 400, "GES.8301", "0007"),
        ("/ges/v1.0/a%20b/graphs/-/jobs/status", 400, "GES.8005", "project_id"),
        ("/ges/v1.0/proj_xxx/graphs", 400, "GES.8301", "does not exist"),
    ],
)
async def test_ges_refuses_in_its_own_shape(api: Api, path: str, status: int, code: str, words: str):
    """A message, a code, and 'failed'."""
    await api.create("movie", command="true", namespace="proj_xxx")
    answer = await api.get(path)
    assert answer.status == status, answer.text
    assert set(answer.body) == {"errorMessage", "errorCode", "result"}
    assert (answer.body["errorCode"], answer.body["result"]) == (code, "failed")
    assert words in answer.body["errorMessage"]


async def test_ges_takes_the_token_in_its_own_header(api: Api):
    """And tolerates what else its clients send."""
    path = f"{GRAPHS}/-/jobs/status"
    answer = await api.get(path, token=None, headers={"X-Auth-Token": api.token, "X-Sdk-Date": "now"})
    assert answer.status == 200
    answer = await api.get(path, token=None, headers={"X-Auth-Token": "MIIw"})
    assert (answer.status, answer.body["result"]) == (401, "failed")


# ---- Explorer workflow -----------------------------------------------------------------------------------


def items(answer: Answer) -> list[dict[str, Any]]:
    """The items of a list."""
    assert answer.status == 200, answer.text
    assert (answer.body["code"], answer.body["message"]) == (0, "Success")
    return answer.body["data"]["items"]


async def test_explorer_lists_jobs_by_its_filter(api: Api):
    """With the example's own URL: encoded JSON, ten to a page, the oldest first."""
    workflow = await api.create("workflow_q745a", command="true")
    runs = [await api.run(workflow["id"]) for _ in range(2)]
    await api.run((await api.create("bad", command="false"))["id"])

    answer = await api.get(
        "/api-open/v1/jobs?filter=%7B%20%22status%22%3A%202%2C%20%20%22orderByCreateTime%22%3A%20%22asc%22%7D"
        "&pageSize=10&page=1",
        token=None,
        headers={"Content-Type": "application/json", "Cookie": f"explorer_token={api.token}"},
    )

    found = items(answer)
    assert {name: answer.body["data"][name] for name in ("total", "Page", "PageSize")} == {
        "total": 2,
        "Page": 1,
        "PageSize": 10,
    }
    assert [one["id"] for one in found] == [1, 2]
    for one, run in zip(found, runs, strict=True):
        assert set(one) == {
            "id",
            "name",
            "workflowId",
            "workflowName",
            "status",
            "runBeginTime",
            "runEndTime",
            "createTime",
        }
        assert (one["workflowId"], one["workflowName"]) == (str(workflow["id"]), "workflow_q745a")
        second = run["created_at"][:19].translate({ord(c): None for c in "-:T"})
        assert one["name"] == f"workflow_q745a_{second}"
        assert one["createTime"] <= one["runBeginTime"] + 1 <= one["runEndTime"] + 1

    async def ids(**wanted: Any) -> list[int]:
        text = quote(json.dumps(wanted))
        return [one["id"] for one in items(await api.get(f"/api-open/v1/jobs?filter={text}"))]

    assert await ids() == [3, 2, 1]
    assert await ids(status=3) == [3]
    assert await ids(name="workflow_q745a") == [2, 1]
    assert 1 in await ids(name=found[0]["name"])
    assert await ids(name="workflow_q745a_20200101000000") == []
    assert await ids(fromCreateTime=found[1]["createTime"]) == [3, 2]
    assert await ids(toCreateTime=found[0]["createTime"], orderByCreateTime="asc") == [1]
    assert [one["id"] for one in items(await api.get("/api-open/v1/jobs?pageSize=2&page=2"))] == [1]
    assert items(await api.get("/api-open/v1/jobs?page=99")) == []


async def test_explorer_runs_and_cancels_a_workflow(api: Api):
    """The id is a number from the first answer on; the token may be a header as well."""
    workflow = await api.create("patient workflow", command="patient")
    path = f"{WORKFLOWS}/{workflow['id']}/jobs"
    answer = await api.post(path, token=None, headers={"explorer_token": api.token})
    assert answer.status == 200
    number = answer.body["data"]["id"]
    assert answer.body["data"]["status"] in (0, 1)
    one = f"/api-open/v1/jobs/{number}"
    await until(lambda: api.get(one), lambda seen: seen.body["data"]["status"] == 1)
    running = (await api.get(one)).body["data"]
    assert running["runEndTime"] is None

    assert (await api.put(f"{one}/cancel")).status == 200

    await until(lambda: api.get(one), lambda seen: seen.body["data"]["status"] == 4)
    assert [found["id"] for found in items(await api.get(path))] == [number]
    again = await api.put(f"{one}/cancel")
    assert (again.status, again.body["code"]) == (409, 40904000)


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("/api-open/v1/jobs?filter=%7Bstatus", 400, 40004001, "filter"),
        ("/api-open/v1/jobs?filter=2", 400, 40004001, "body"),
        ("/api-open/v1/jobs?filter=%7B%22status%22%3A5%7D", 400, 40004001, "status"),
        ("/api-open/v1/jobs?filter=%7B%22status%22%3A%22running%22%7D", 400, 40004001, "running"),
        ("/api-open/v1/jobs?filter=%7B%22state%22%3A2%7D", 400, 40004001, "state"),
        ("/api-open/v1/jobs?filter=%7B%22orderByCreateTime%22%3A%22up%22%7D", 400, 40004001, "up"),
        (
            "/api-open/v1/jobs?filter=%7B%22fromCreateTime%22%3A2%2C%22toCreateTime%22%3A1%7D",
            400,
            40004001,
            "from",
        ),
        ("/api-open/v1/jobs?pageSize=0", 400, 40004001, "pageSize"),
        ("/api-open/v1/jobs?page=x", 400, 40004001, "page"),
        ("/api-open/v1/jobs/105", 404, 40404000, "105"),
        ("/api-open/v1/jobs/job_x", 404, 40404000, "job_x"),
        ("/api-open/v1/workflows/4216617528/jobs", 404, 40404000, "4216617528"),
        ("/api-open/v1/nothing", 404, 40404000, "nothing"),
    ],
)
async def test_explorer_refuses_in_its_own_shape(api: Api, path: str, status: int, code: int, words: str):
    """A code that begins with the HTTP status, and a message that names the value."""
    answer = await api.get(path)
    assert answer.status == status, answer.text
    assert set(answer.body) == {"code", "message"}
    assert answer.body["code"] == code
    assert words in answer.body["message"]


async def test_explorer_refuses_a_token_that_is_none(api: Api):
    """In its own shape."""
    answer = await api.get("/api-open/v1/jobs", token=None, headers={"Cookie": "explorer_token=eyJhbxxx"})
    assert (answer.status, answer.body["code"]) == (401, 40104000)


async def test_the_dialects_see_no_more_than_the_token_may(api: Api, pipeline: dict[str, Any]):
    """Numbers and names of another namespace lead to nothing."""
    assert pipeline
    made = await api.post("/v1/tokens", {"namespace": "elsewhere", "role": "admin", "name": "t"})
    token = made.body["token"]
    job = (await api.post("/api/pipelines/pipe_check_dao/run")).body["jobId"]
    await asyncio.sleep(0)
    assert (await api.get(f"/api/jobs/{job}", token=token)).status == 404
    assert (await api.get("/api/jobs", token=token)).body == []
    assert (await api.get("/api-open/v1/jobs/1", token=token)).status == 404
    assert (await api.get("/api-open/v1/jobs", token=token)).body["data"]["total"] == 0
    assert (await api.get(f"{GRAPHS}/pipe_check_dao/jobs/status", token=token)).status == 400
    assert (await api.post("/api/pipelines/pipe_check_dao/run", token=token)).status == 404
