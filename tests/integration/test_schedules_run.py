"""Schedules on a real engine: what falls due runs in time, as often as it should and never again."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.moments import in_time, written
from tests.lab.timeball import PATIENCE, Timeball, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SECOND = timedelta(seconds=1)


async def test_three_runs_two_seconds_apart_run_when_due_and_there_is_no_fourth(timeball: Timeball) -> None:
    """R3/<soon>/PT2S gives three runs of trigger mode S, each for its due time, as the ledger says."""
    start, job = await in_time(
        lambda start: timeball.create(
            "echo on time", is_schedule_active=True, schedule_mode=f"R3/{written(start)}/PT2S"
        ),
        seconds=2,
    )
    due = [start + k * 2 * SECOND for k in range(3)]

    runs = await timeball.until_all_ended(job, count=3)

    assert [datetime.fromisoformat(run["scheduled_for"]) for run in runs] == due
    assert [(run["trigger_mode"], run["status"]) for run in runs] == [("S", "S")] * 3
    for run, due_at in zip(runs, due, strict=True):
        assert timedelta(0) <= datetime.fromisoformat(run["started_at"]) - due_at < PATIENCE * SECOND
        assert await timeball.lines(job, run["id"]) == ["on time"]
    found = await until(lambda: timeball.get(f"/v1/jobs/{job}"), lambda one: one["next_run_at"] is None)
    assert found["schedule_state"] == "finished"
    ledger = await timeball.ledger(job)
    assert [datetime.fromisoformat(entry["due_at"]) for entry in ledger] == due
    assert [(entry["outcome"], entry["exec"]) for entry in ledger] == [("ran", run["id"]) for run in runs]
    # A finished schedule is never due again: there is no later moment to wait for.
    assert len(await timeball.execs(job)) == 3


async def test_a_schedule_that_is_switched_off_and_on_again_takes_effect_at_once(timeball: Timeball) -> None:
    """Off, nothing more runs; on again, the due times in between never happened."""
    start = datetime.now(UTC).replace(microsecond=0) + SECOND
    job = await timeball.create(
        "true", is_schedule_active=True, schedule_mode=f"R/{start:%Y-%m-%dT%H:%M:%SZ}/PT1S"
    )
    await until(lambda: timeball.ledger(job))
    assert (await timeball.send("PUT", f"/v1/jobs/{job}", {"is_schedule_active": False}))[0] == 200
    before = await timeball.ledger(job)
    late = datetime.now(UTC) + 2 * SECOND
    while datetime.now(UTC) < late:
        assert await timeball.ledger(job) == before

    assert (await timeball.send("PUT", f"/v1/jobs/{job}", {"is_schedule_active": True}))[0] == 200
    await until(lambda: timeball.ledger(job), lambda seen: len(seen) >= len(before) + 2)
    assert (await timeball.send("PUT", f"/v1/jobs/{job}", {"is_schedule_active": False}))[0] == 200

    after = [datetime.fromisoformat(entry["due_at"]) for entry in await timeball.ledger(job)]
    steps = [later - earlier for earlier, later in itertools.pairwise(after)]
    assert steps.count(SECOND) == len(steps) - 1
    assert max(steps) >= 2 * SECOND
