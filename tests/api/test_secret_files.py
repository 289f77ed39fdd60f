"""Secrets as files: defined by name, found by the run, and seen nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, World
from tests.lab.fake_programs import FakeProcess

VALUE = "correct-horse-battery-staple"
FILES = {"/run/secrets/db": {"secret": "db"}}


async def _prints_its_file(process: FakeProcess) -> int:
    process.out(process.files["/run/secrets/db"].content + b"\n")
    return 0


async def test_a_run_finds_the_value_in_a_file_and_everybody_else_the_name(world: World):
    """The job and the run show the reference; what the run prints of it is masked; it counts as a use."""
    api = world.api
    world.engine.programs["print-file",] = _prints_its_file
    await api.put("/v1/secrets/db", {"value": VALUE})
    job = await api.create(command="print-file", secret_files=FILES, user="1000")
    assert job["secret_files"] == FILES
    assert (await api.get("/v1/secrets/db")).body["used_by"] == 1
    one = await api.run(job["id"])
    assert one["status"] == "S", one
    assert one["secret_files"] == FILES
    assert one["job"]["secret_files"] == FILES
    [line] = [line for line in await api.logs(job["id"], one["id"]) if line["stream"] == "stdout"]
    assert line["message"] == "*" * len(VALUE)
    for path in ("/v1/jobs", "/v1/execs", "/v1/audit"):
        assert VALUE not in (await api.get(path)).text


async def test_uses_are_counted_as_jobs_change_and_go(api: Api):
    """Once a job, however often it names the secret; not by a job of another namespace, nor by one that is gone."""
    await api.put("/v1/secrets/db", {"value": VALUE})

    async def used_by() -> int:
        return (await api.get("/v1/secrets")).body["results"][0]["used_by"]

    job = await api.create("both", secret_files=FILES, runtime_vars={"A": {"secret": "db"}})
    assert await used_by() == 1
    await api.create("elsewhere", secret_files=FILES, namespace="other")
    other = await api.create("other", secret_files=FILES)
    assert await used_by() == 2
    await api.change(other["id"], namespace="other")
    assert await used_by() == 1
    await api.change(job["id"], secret_files={})
    assert await used_by() == 1
    await api.change(job["id"], runtime_vars={})
    assert await used_by() == 0
    await api.change(job["id"], secret_files=FILES)
    assert await used_by() == 1
    assert (await api.delete(f"/v1/jobs/{job['id']}")).status == 204
    assert await used_by() == 0


@pytest.mark.parametrize(
    ("files", "field"),
    [
        ({"run/secrets/db": {"secret": "db"}}, "secret_files.run/secrets/db"),
        ({"/run/../secrets/db": {"secret": "db"}}, "secret_files./run/../secrets/db"),
        ({"/run/secrets/": {"secret": "db"}}, "secret_files./run/secrets/"),
        ({"/proc/x/y": {"secret": "db"}}, "secret_files./proc/x/y"),
        ({"/sys/x/y": {"secret": "db"}}, "secret_files./sys/x/y"),
        ({"/run/secrets/a\nb": {"secret": "db"}}, "secret_files./run/secrets/a\nb"),
        ({"/etc/passwd": {"secret": "db"}}, "secret_files./etc/passwd"),
        ({"/run/secrets/db": "db"}, "secret_files./run/secrets/db"),
        ({"/run/secrets/db": {"secret": "a b"}}, "secret_files./run/secrets/db"),
        ({"/run/secrets/db": {"secret": "db", "mode": 1}}, "secret_files./run/secrets/db"),
        ({f"/run/secrets/{n}": {"secret": "db"} for n in range(33)}, "secret_files"),
        (["/run/secrets/db"], "secret_files"),
    ],
)
async def test_a_file_that_cannot_be_is_refused(api: Api, files: Any, field: str):
    """By the field, when the job is defined."""
    answer = await api.post("/v1/jobs", {"name": "x", "docker_image_repo": "busybox", "secret_files": files})
    assert answer.status == 400, answer.text
    assert field in answer.errors()


async def test_a_trigger_cannot_name_files(api: Api):
    """Whoever may only trigger a job has of secrets what its editor gave it."""
    job = await api.create(command="true")
    answer = await api.post(f"/v1/jobs/{job['id']}/execs", {"secret_files": FILES})
    assert answer.status == 400
    assert "secret_files" in answer.errors()
