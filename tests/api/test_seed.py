"""The documented requests of the API that Timeball answers like, as its users have them in their scripts."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any

from tests.api.conftest import SEED_REPO, Api

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")

CREATE = {
    "name": "test",
    "namespace": "chennanfei",
    "command": "bash",
    "docker_image_repo": SEED_REPO,
    "docker_image_tag": "latest",
    "resource_size": "XXS",
    "is_schedule_active": False,
    "schedule_mode": None,
    "runtime_vars": {"DB_HOST": "localhost"},
}
CHANGE = {
    "name": "test2",
    "command": "/bin bash",
    "docker_image_tag": "trusty",
    "resource_size": "XS",
    "is_schedule_active": False,
    "schedule_mode": None,
    "runtime_vars": {"DB_HOST": "127.0.0.1"},
}
JOB_FIELDS = {
    "id", "created_by", "command", "docker_image_repo", "docker_image_tag", "name", "region_name", "namespace",
    "created_at", "updated_at", "resource_size", "schedule_mode", "is_schedule_active", "runtime_vars",
}  # fmt: skip
EXEC_FIELDS = {
    "id", "job", "docker_image_repo", "status", "created_at", "started_at", "ended_at", "runtime_vars",
    "resource_size", "created_by", "docker_image_tag", "command", "trigger_mode", "duration", "region_name",
}  # fmt: skip


async def create(api: Api) -> dict[str, Any]:
    """The documented job."""
    answer = await api.post("/v1/jobs", CREATE)
    assert answer.status == 201
    return answer.body


async def test_creating_a_job_answers_201_with_what_was_given(api: Api):
    """Every given field comes back as it was, with an id, the creator and two moments besides."""
    answer = await api.post("/v1/jobs", CREATE)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    job = answer.body
    assert set(job) >= JOB_FIELDS
    assert {name: job[name] for name in CREATE} == CREATE
    assert isinstance(job["id"], int)
    assert job["created_by"] == "admin"
    assert MOMENT.fullmatch(job["created_at"])
    assert MOMENT.fullmatch(job["updated_at"])
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"


async def test_a_job_runs_once_at_its_start_in_the_documented_region(api: Api):
    """The documented answer's schedule and region are accepted as they stand."""
    given = {
        **CREATE,
        "region_name": "BEIJING1",
        "is_schedule_active": True,
        "schedule_mode": "R1/2015-12-31T16:00:23.446Z/PT1H",
    }
    answer = await api.post("/v1/jobs", given)
    assert answer.status == 201
    assert {name: answer.body[name] for name in given} == given


async def test_the_list_of_a_namespace_is_an_envelope_of_jobs(api: Api):
    """The list answers count, previous, next and results, and no other namespace's jobs."""
    job = await create(api)
    await api.create("elsewhere", namespace="somebody")
    answer = await api.get("/v1/jobs?namespace=chennanfei")
    assert answer.status == 200
    assert answer.body == {"count": 1, "previous": None, "next": None, "results": [job]}


async def test_a_jobs_detail_is_what_its_creation_answered(api: Api):
    """Reading a job gives the very fields that creating it gave."""
    job = await create(api)
    answer = await api.get(f"/v1/jobs/{job['id']}")
    assert (answer.status, answer.body) == (200, job)


async def test_updating_changes_what_is_named_and_keeps_the_rest(api: Api):
    """The documented change leaves out namespace, repository and region, which stay."""
    job = await create(api)
    answer = await api.put(f"/v1/jobs/{job['id']}", CHANGE)
    assert answer.status == 200
    changed = answer.body
    assert {name: changed[name] for name in CHANGE} == CHANGE
    kept = ("id", "docker_image_repo", "region_name", "created_at", "namespace", "created_by")
    assert {name: changed[name] for name in kept} == {name: job[name] for name in kept}
    assert changed["updated_at"] > job["updated_at"]
    assert await api.job(job["id"]) == changed


async def test_deleting_a_job_answers_204_without_a_body(api: Api):
    """A deleted job is gone, and deleting it again says so."""
    job = await create(api)
    answer = await api.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status, answer.raw) == (204, b"")
    assert (await api.get(f"/v1/jobs/{job['id']}")).status == 404
    assert (await api.delete(f"/v1/jobs/{job['id']}")).status == 404


async def test_triggering_answers_201_with_a_waiting_exec(api: Api):
    """A new exec waits, was triggered by hand, and has the job's id and a snapshot of its definition."""
    job = await create(api)
    job = await api.change(job["id"], **CHANGE)
    answer = await api.post(f"/v1/jobs/{job['id']}/execs")
    assert answer.status == 201
    one = answer.body
    assert set(one) >= EXEC_FIELDS
    assert one["id"] == str(uuid.UUID(one["id"]))
    assert MOMENT.fullmatch(one["created_at"])
    assert {name: one[name] for name in EXEC_FIELDS - {"id", "created_at"}} == {
        "job": job["id"],
        "docker_image_repo": SEED_REPO,
        "status": "W",
        "started_at": None,
        "ended_at": None,
        "runtime_vars": {"DB_HOST": "127.0.0.1"},
        "resource_size": "XS",
        "created_by": "admin",
        "docker_image_tag": "trusty",
        "command": "/bin bash",
        "trigger_mode": "M",
        "duration": None,
        "region_name": "LOCAL",
    }
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}/execs/{one['id']}"


async def test_the_list_of_execs_has_the_newest_first_and_jobs_by_their_ids(api: Api):
    """Ended execs have a status, moments and a duration in hours, minutes and seconds."""
    job = await create(api)
    await api.change(job["id"], **CHANGE)
    first = await api.run(job["id"])
    second = await api.run(job["id"])
    answer = await api.get(f"/v1/jobs/{job['id']}/execs")
    assert answer.status == 200
    body = answer.body
    assert {**body, "results": None} == {"count": 2, "previous": None, "next": None, "results": None}
    assert [one["id"] for one in body["results"]] == [second["id"], first["id"]]
    newest = body["results"][0]
    assert set(newest) >= EXEC_FIELDS
    assert (newest["job"], newest["status"]) == (job["id"], "F")
    assert MOMENT.fullmatch(newest["started_at"])
    assert MOMENT.fullmatch(newest["ended_at"])
    started, ended = (datetime.fromisoformat(newest[name]) for name in ("started_at", "ended_at"))
    minutes, seconds = divmod(int((ended - started).total_seconds()), 60)
    assert newest["duration"] == {"hours": 0, "minutes": minutes, "seconds": seconds}
    assert newest["created_at"] <= newest["started_at"] <= newest["ended_at"]


async def test_an_execs_detail_holds_the_whole_job_with_its_variables_as_a_json_string(api: Api):
    """In the detail `job` is the job itself, whose runtime_vars is a JSON string there and only there."""
    job = await create(api)
    job = await api.change(job["id"], **CHANGE)
    ended = await api.run(job["id"])
    answer = await api.get(f"/v1/jobs/{job['id']}/execs/{ended['id']}")
    assert answer.status == 200
    inside = answer.body["job"]
    assert set(inside) >= JOB_FIELDS | {"email_enabled"}
    assert inside["runtime_vars"] == '{"DB_HOST": "127.0.0.1"}'
    shown = (JOB_FIELDS | {"email_enabled"}) - {"runtime_vars"}
    assert {name: inside[name] for name in shown} == {name: job[name] for name in shown}
    assert answer.body["runtime_vars"] == {"DB_HOST": "127.0.0.1"}
    assert {name: answer.body[name] for name in ("status", "docker_image_tag", "created_by")} == {
        "status": "F",
        "docker_image_tag": "trusty",
        "created_by": "admin",
    }


async def test_logs_with_empty_times_are_a_bare_array_with_the_services_own_lines(api: Api):
    """`?start_time=&end_time=` gives all lines, oldest first, each with its message and whole seconds."""
    job = await create(api)
    ended = await api.run(job["id"])
    answer = await api.get(f"/v1/jobs/{job['id']}/execs/{ended['id']}/logs?start_time=&end_time=")
    assert answer.status == 200
    lines = answer.body
    assert [line["message"] for line in lines] == [
        f"Start pulling image: {SEED_REPO}:latest",
        "Start running!",
        "bash was here",
    ]
    assert all(type(line["time"]) is int for line in lines)
    assert lines == sorted(lines, key=lambda line: line["time"])


async def test_logs_of_a_time_range_are_those_lines_alone(api: Api):
    """Both ends are inclusive: the seconds of the first and last line give all lines, the one before gives none."""
    job = await create(api)
    ended = await api.run(job["id"])
    lines = await api.logs(job["id"], ended["id"])
    first, last = lines[0]["time"], lines[-1]["time"]
    assert await api.logs(job["id"], ended["id"], f"?start_time={first}&end_time={last}") == lines
    assert await api.logs(job["id"], ended["id"], f"?start_time={last + 1}&end_time=") == []
    assert await api.logs(job["id"], ended["id"], f"?start_time=&end_time={first - 1}") == []


async def test_deleting_an_exec_answers_204_and_takes_its_log_along(api: Api):
    """A deleted exec is gone from detail, list and logs."""
    job = await create(api)
    ended = await api.run(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{ended['id']}"
    answer = await api.delete(path)
    assert (answer.status, answer.raw) == (204, b"")
    assert (await api.get(path)).status == 404
    assert (await api.get(path + "/logs")).status == 404
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 0


async def test_names_may_be_chinese_and_come_back_readable(api: Api):
    """A Chinese name, namespace and command go through every answer, written out in UTF-8."""
    body = {**CREATE, "name": "每日 报表　任务", "namespace": "研发部", "runtime_vars": {"GREETING": "你好"}}
    answer = await api.post("/v1/jobs", body)
    assert answer.status == 201
    assert "每日 报表　任务" in answer.text
    assert answer.body["namespace"] == "研发部"
    found = await api.get("/v1/jobs?namespace=研发部")
    assert [job["name"] for job in found.body["results"]] == ["每日 报表　任务"]
    ended = await api.run(answer.body["id"])
    assert json.loads(ended["job"]["runtime_vars"]) == {"GREETING": "你好"}
