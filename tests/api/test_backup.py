"""Backups over HTTP, and what is kept after a deletion."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from api.client import ApiError, Client, UnreachableError, UsageError, find_token
from api.http.keys import SERVICE
from scheduler.keeping.restore import examine_backup
from tests.api.conftest import Api, World, check_problem, until


async def test_a_backup_is_a_whole_database(api: Api, tmp_path: Path):
    """With all that is stored by then, without a token in clear, and nothing stays behind in the data directory."""
    job = await api.create(command="greet")
    run = await api.run(job["id"])

    answer = await api.get("/v1/backup")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.sqlite3"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="timeball-')
    assert int(answer.headers["Content-Length"]) == len(answer.raw)
    assert api.token.encode() not in answer.raw
    file = tmp_path / "fetched.db"
    file.write_bytes(answer.raw)
    facts = examine_backup(file)
    assert (facts.jobs, facts.execs, facts.open_execs) == (1, 1, 0)
    with closing(sqlite3.connect(file)) as found:
        assert found.execute("SELECT id, status FROM execs").fetchall() == [(run["id"], "S")]
        assert found.execute("SELECT count(*) FROM log_chunks").fetchone()[0] > 0
    assert not [name for name in os.listdir(tmp_path) if name.startswith("backup-")]  # noqa: PTH208 - blocks as briefly


async def test_a_backup_takes_no_parameters_and_no_head(api: Api):
    """A HEAD would take a copy for nothing."""
    assert (await api.get("/v1/backup?x=1")).status == 400
    assert (await api.send("HEAD", "/v1/backup")).status == 405


async def test_while_one_copy_is_taken_another_has_to_wait(world: World):
    """503 with the seconds after which to try again."""
    async with world.api.client.server.app[SERVICE].backup._taking:
        answer = await world.api.get("/v1/backup")

    assert answer.status == 503
    check_problem(answer)
    assert answer.headers["Retry-After"] == "10"


async def test_a_backup_without_room_on_the_disk_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch):
    """With how much it needs; the daemon's own disk is not filled up."""
    monkeypatch.setattr("scheduler.usecases.backup.ROOM", 1 << 60)

    answer = await api.get("/v1/backup")

    assert answer.status == 503
    assert "free up disk space" in answer.body["detail"]
    assert (await api.get("/v1/jobs")).status == 200


async def test_a_daemon_says_which_it_is(api: Api, tmp_path: Path):
    """By its directory's id; and what jobs are that do not say it."""
    body = (await api.get("/v1/about")).body

    assert body["instance"] == (tmp_path / "instance").read_text().strip()
    assert body["database"] == "sqlite"
    assert body["version"]
    assert abs(body["clock_jumped_seconds"]) < 60
    assert (body["default_size"], body["default_region"]) == ("XXS", "LOCAL")


async def test_what_an_engine_is_is_for_administrators_alone(api: Api, world: World):
    """Everybody else sees whether it answers."""
    await until(lambda: api.get("/readyz"), lambda answer: answer.status == 200)
    viewer = (await api.post("/v1/tokens", {"role": "viewer", "namespace": "team"})).body

    engines = {one["region"]: one for one in (await api.get("/v1/about")).body["engines"]}
    seen = (await api.get("/v1/about", token=viewer["token"])).body["engines"]

    kind = world.engines["LOCAL"].kind
    assert engines.keys() == {"LOCAL", "BEIJING1"}
    assert engines["LOCAL"]["product"] == "Docker Engine"
    assert engines["LOCAL"]["version"] == kind.version
    assert engines["LOCAL"]["image_store"] == kind.image_store
    assert (engines["LOCAL"]["missing_limits"], engines["LOCAL"]["warnings"]) == ([], [])
    assert engines["LOCAL"]["refuses_runs"] is False
    assert all(one["is_up"] and one["version"] is one["warnings"] is None for one in seen)


async def test_a_deleted_job_is_gone_at_once_and_nothing_of_it_is_left_soon(world: World):
    """Its name is free with the answer; rows and logs go after it."""
    api = world.api
    job = await api.create(command="greet")
    for _ in range(3):
        await api.run(job["id"])

    assert (await api.delete(f"/v1/jobs/{job['id']}")).status == 204

    assert (await api.get(f"/v1/jobs/{job['id']}")).status == 404
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).status == 404
    assert (await api.get("/v1/jobs")).body["count"] == 0
    again = await api.create()
    assert again["id"] != job["id"]

    async def left() -> int:
        return await world.parts.database.read(
            lambda c: sum(
                c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # noqa: S608
                for table in ("execs", "log_chunks", "discarded_logs")
            )
        )

    await until(left, lambda count: count == 0)


async def test_the_client_sends_its_token_and_explains_refusals(api: Api):
    """As every command does; it blocks, so the test runs it on a thread."""
    client = Client(str(api.client.make_url("")), api.token)

    made = await asyncio.to_thread(
        client.request, "POST", "/v1/jobs", body={"name": "名", "docker_image_repo": "busybox"}
    )
    found = await asyncio.to_thread(client.request, "GET", "/v1/jobs", query={"namespace": "admin"})
    with pytest.raises(ApiError, match="no job with the id '99'") as refused:
        await asyncio.to_thread(client.request, "GET", "/v1/jobs/99")

    assert made.status == 201
    assert found.json()["results"][0]["name"] == "名"
    assert (refused.value.status, refused.value.exit_status) == (404, 1)
    assert refused.value.problem["title"] == "Not Found"


def test_a_daemon_that_is_not_there_is_said_to_be_unreachable():
    """With status 3 for the command, and what to do."""
    with pytest.raises(UnreachableError, match="timeball serve") as raised:
        Client("http://127.0.0.1:9", "t").request("GET", "/v1/jobs")
    assert raised.value.exit_status == 3


@pytest.mark.parametrize("url", ["", "localhost:8601", "ftp://x", "http://", "http://x:port", "http://[::1"])
def test_what_is_no_address_is_refused_as_wrong_usage(url: str):
    """With the value and an example."""
    with pytest.raises(UsageError, match="is not a valid address"):
        Client(url, "t")


def test_a_token_is_taken_from_the_environment_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And where there is neither, both are named."""
    monkeypatch.delenv("TIMEBALL_TOKEN", raising=False)
    with pytest.raises(UsageError, match=r"TIMEBALL_TOKEN is not set, and .*admin.token"):
        find_token(tmp_path)
    (tmp_path / "admin.token").write_text("tbl_file\n")
    assert find_token(tmp_path) == "tbl_file"
    monkeypatch.setenv("TIMEBALL_TOKEN", "tbl_environment")
    assert find_token(tmp_path) == "tbl_environment"
