"""Who starts next, as callers see it: priorities, limits, and what each waiting run says it waits for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from scheduler.domain.drafting import draft_exec
from scheduler.domain.execution import Exec, TriggerMode
from scheduler.domain.job import STANDARD_SIZES
from scheduler.engine.types import Capacity
from scheduler.running.waiting import HELD
from scheduler.store import execs, jobs
from tests.api.conftest import Api, World, until

#: Waiting runs of one job, behind a limit.
BACKLOG = 20_000
PIECE = 1_000


@pytest.fixture
async def small(world: World) -> World:
    """A world whose default region has one processor."""
    world.engine._capacity = Capacity(cpus=1, memory_bytes=1 << 30)
    world.engine.break_streams()
    region = world.parts.regions["LOCAL"]

    async def cpus() -> float:
        return region.capacity.cpus if region.up.is_set() else 0

    await until(cpus, lambda found: found == 1)
    return world


async def waits(api: Api, job: dict[str, Any], one: dict[str, Any], phrase: str) -> None:
    """Return when a run says that it waits for that."""

    async def seen() -> str | None:
        found = await api.exec(job["id"], one["id"])
        return found["waiting_for"]

    await until(seen, lambda found: found == phrase)


async def stop(api: Api, job: dict[str, Any], one: dict[str, Any]) -> None:
    """Stop a run and return when it has ended."""
    await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/stop")
    await api.until_ended(job["id"], one["id"])


async def test_a_higher_priority_starts_first_and_what_is_behind_it_says_so(small: World) -> None:
    """The job's priority counts, or the trigger's own; the run shows it."""
    api = small.api
    blocker = await api.create("blocker", command="patient", resource_size="M")
    blocking = await api.trigger(blocker["id"])
    await api.until_status(blocker["id"], blocking["id"], "R")
    job = await api.create("job", command="patient", resource_size="M", priority=5)
    usual = await api.trigger(job["id"])
    urgent = await api.trigger(job["id"], {"priority": 50})
    assert (job["priority"], usual["priority"], urgent["priority"]) == (5, 5, 50)
    lacking = "waits for 1 CPU (0.00 of 1 free)"
    await waits(api, job, urgent, lacking)
    await waits(api, job, usual, f"{lacking}, behind 1 run of higher priority")

    await stop(api, blocker, blocking)
    await api.until_status(job["id"], urgent["id"], "R")
    assert (await api.exec(job["id"], usual["id"]))["status"] == "W"
    await stop(api, job, urgent)
    await api.until_status(job["id"], usual["id"], "R")


async def test_a_priority_beyond_its_range_is_refused(api: Api) -> None:
    """By field, value and remedy, at the trigger as well."""
    job = await api.create(command="true")
    answer = await api.post(f"/v1/jobs/{job['id']}/execs", {"priority": 101})
    assert (answer.status, answer.errors()["priority"]["value"]) == (400, 101)


async def test_a_job_has_no_more_runs_going_than_it_allows(api: Api) -> None:
    """The others say why they wait; raising the limit lets them start at once."""
    job = await api.create(command="patient", max_running=2)
    assert job["max_running"] == 2
    runs = [await api.trigger(job["id"]) for _ in range(4)]
    for one in runs[:2]:
        await api.until_status(job["id"], one["id"], "R")
    for one in runs[2:]:
        await waits(api, job, one, "waits for a run of this job to end: max_running is 2")

    await stop(api, job, runs[0])
    await api.until_status(job["id"], runs[2]["id"], "R")
    assert (await api.exec(job["id"], runs[3]["id"]))["status"] == "W"
    assert (await api.change(job["id"], max_running=None))["max_running"] is None
    await api.until_status(job["id"], runs[3]["id"], "R")


async def test_a_namespace_has_no_more_runs_going_than_the_settings_allow(api: Api) -> None:
    """Of all its jobs together; other namespaces go on."""
    made = [await api.create(f"job {n}", namespace="small", command="patient") for n in range(3)]
    runs = [await api.trigger(job["id"]) for job in made]
    for job, one in zip(made[:2], runs, strict=False):
        await api.until_status(job["id"], one["id"], "R")
    await waits(api, made[2], runs[2], "waits for namespace small to have fewer than 2 runs")
    other = await api.create("other", namespace="large", command="true")
    assert (await api.run(other["id"]))["status"] == "S"

    await stop(api, made[0], runs[0])
    await api.until_status(made[2]["id"], runs[2]["id"], "R")


async def test_of_two_namespaces_none_starves_the_other(small: World) -> None:
    """However many runs of one wait already, one of the other is next but one."""
    api = small.api
    crowd = await api.create("crowd", namespace="crowd", command="patient", resource_size="M")
    waiting = [await api.trigger(crowd["id"]) for _ in range(10)]
    await api.until_status(crowd["id"], waiting[0]["id"], "R")
    guest = await api.create("guest", namespace="guest", command="patient", resource_size="M")
    one = await api.trigger(guest["id"])

    await stop(api, crowd, waiting[0])
    await api.until_status(guest["id"], one["id"], "R")


async def test_a_huge_backlog_behind_a_limit_holds_up_nobody(world: World) -> None:
    """Another job's run starts at once, and little of the backlog is held in memory."""
    api = world.api
    job = await api.create("crowd", command="patient", max_running=1)

    def draft(connection: Connection) -> Exec:
        stored = jobs.get(connection, job["id"])
        assert stored is not None
        now = world.parts.clock.now()
        mode = TriggerMode.MANUAL
        return draft_exec(stored, STANDARD_SIZES, trigger_mode=mode, created_by="admin", now=now)

    one = await world.parts.database.read(draft)
    for start in range(0, BACKLOG, PIECE):
        some = [replace(one, id=f"{n:08x}-0000-4000-8000-000000000000") for n in range(start, start + PIECE)]
        await world.parts.database.write(partial(execs.insert, new=some))
    first = await api.trigger(job["id"])
    held = world.parts.dispatcher._waiting["LOCAL"]
    await until(lambda: api.get(f"/v1/jobs/{job['id']}"), lambda seen: seen.body["last_exec"] is not None)
    other = await api.create("other", command="true")

    assert (await api.run(other["id"]))["status"] == "S"

    async def started() -> int:
        return world.parts.regions["LOCAL"].holding

    await until(started, lambda count: count == 1)
    assert len(held) <= HELD
    await waits(api, job, first, "waits for a run of this job to end: max_running is 1")
