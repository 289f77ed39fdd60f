"""A size is a reservation: what does not fit waits, says for what, and runs when there is room."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from docker.api.client import APIClient

from tests.lab.timeball import Timeball, script, tell, until, until_told

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


async def test_sixty_runs_at_once_all_end_well_and_never_exceed_the_machine(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """As many run at the same time as there is room for; the others wait and say for what."""
    timeball = own_timeball
    most = int(engine_client.info()["NCPU"] / 0.15 + 1e-6)
    # Long enough that runs overlap on an engine that starts them slowly.
    job = await timeball.create(script("echo run $N; sleep 2"), resource_size="XXS")
    runs = await asyncio.gather(*(timeball.trigger(job, runtime_vars={"N": str(n)}) for n in range(60)))

    async def reasons() -> list[str]:
        return [run["waiting_for"] for run in await timeball.execs(job) if run["status"] == "W"]

    waiting = await until(reasons, lambda seen: any("0.15 CPU" in reason for reason in seen))
    assert all(reason.startswith("waits ") for reason in waiting)

    ended = await timeball.until_all_ended(job, count=60, seconds=120)

    assert Counter(run["status"] for run in ended) == {"S": 60}
    for number, run in enumerate(runs):
        assert await timeball.lines(job, run) == [f"run {number}"]
    # Both times are the engine's own.
    changes = sorted(
        (run[name], step) for run in ended for name, step in (("started_at", 1), ("ended_at", -1))
    )
    at_once = list(itertools.accumulate(step for _, step in changes))
    assert 1 < max(at_once) <= most


async def test_what_waits_for_room_says_so_and_starts_in_the_order_it_came(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """One run that takes the whole machine holds up the next, which is readable and then starts."""
    timeball = own_timeball
    job = await timeball.create(until_told(), resource_size="L")
    runs = [await timeball.trigger(job) for _ in range(3)]
    await timeball.until_printed(job, runs[0], "ready")
    second = await timeball.exec(job, runs[1])
    assert second["status"] == "W"
    assert second["waiting_for"].startswith("waits for 2 CPU (0.00 of ")

    for run in runs:
        await timeball.until_printed(job, run, "ready")
        tell(engine_client, run)
    ended = {run["id"]: run for run in await timeball.until_all_ended(job, count=3)}
    spans = [(ended[run]["started_at"], ended[run]["ended_at"]) for run in runs]
    assert spans == sorted(spans)
