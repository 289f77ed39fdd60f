"""Due times that pass while the daemon is down: each has one row in the ledger, and runs as its policy promises."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.conftest import MakeTimeball
from tests.lab.moments import in_time, written
from tests.lab.timeball import ENDED, Timeball

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SECOND = timedelta(seconds=1)
POLICIES = ("latest", "skip", "all")


async def _until_time(moment: datetime) -> None:
    """Let real time pass: what falls due is told by the clock alone."""
    await asyncio.sleep(max(0.0, (moment - datetime.now(UTC)).total_seconds()))


def _due(entries: list[dict[str, Any]], outcome: str | None = None) -> list[datetime]:
    return [
        datetime.fromisoformat(entry["due_at"])
        for entry in entries
        if outcome is None or entry["outcome"] == outcome
    ]


def _is_unbroken(due: list[datetime]) -> bool:
    """Whether each due time of a schedule of one second is there, once."""
    return all(later - earlier == SECOND for earlier, later in itertools.pairwise(due))


async def test_after_an_outage_exactly_the_promised_runs_are_made(own_timeball: Timeball) -> None:
    """Killed over some due times: latest runs the newest, skip none, all every one; the rest is missed."""
    timeball = own_timeball

    async def make(start: datetime) -> dict[str, int]:
        return {
            policy: await timeball.create(
                "true",
                misfire_policy=policy,
                misfire_grace_seconds=0,
                is_schedule_active=True,
                schedule_mode=f"R/{written(start)}/PT1S",
            )
            for policy in POLICIES
        }

    async def delete(made: dict[str, int]) -> None:
        for job in made.values():
            await timeball.delete(f"/v1/jobs/{job}")

    start, jobs = await in_time(make, seconds=2, undo=delete)
    for job in jobs.values():
        await timeball.until_decided(job)
    await timeball.kill()
    await _until_time(datetime.now(UTC) + 4 * SECOND)
    await timeball.start()
    decided = {policy: await timeball.switch_off_when_up_to_date(job) for policy, job in jobs.items()}

    ledgers = {
        policy: [entry for entry in await timeball.ledger(job) if _due([entry])[0] < decided[policy]]
        for policy, job in jobs.items()
    }
    outage = _due(ledgers["skip"], "missed")
    assert len(outage) >= 3
    assert _due(ledgers["latest"], "missed") == outage[:-1]
    assert _due(ledgers["all"], "missed") == []
    for policy, entries in ledgers.items():
        due = _due(entries)
        assert due[0] == start
        assert _is_unbroken(due), due
        assert set(outage) < set(due)
        for entry in entries:
            assert entry["outcome"] in ("ran", "missed")
            assert (entry["reason"] is None) is (entry["outcome"] == "ran")
            assert (entry["exec"] is None) is (entry["outcome"] == "missed")
            if entry["outcome"] == "missed":
                assert f"misfire_policy '{policy}'" in entry["reason"]
        runs = await timeball.until_idle(jobs[policy])
        assert {run["status"] for run in runs} == {"S"}
        every = {run["id"]: datetime.fromisoformat(run["scheduled_for"]) for run in runs}
        ran = {run: due_at for run, due_at in every.items() if due_at < decided[policy]}
        assert sorted(ran.values()) == _due(entries, "ran")
        assert {entry["exec"] for entry in entries if entry["outcome"] == "ran"} == set(ran)


async def test_a_run_that_is_less_late_than_its_grace_is_simply_run(own_timeball: Timeball) -> None:
    """Under skip as well: the daemon was away only for a moment."""
    timeball = own_timeball

    async def make_and_kill(start: datetime) -> int:
        job = await timeball.create(
            "true",
            misfire_policy="skip",
            misfire_grace_seconds=3600,
            is_schedule_active=True,
            schedule_mode=f"R2/{written(start)}/PT1S",
        )
        await timeball.kill()
        return job

    async def come_back(_: int) -> None:
        await timeball.start()

    start, job = await in_time(make_and_kill, seconds=2, undo=come_back)
    await _until_time(start + 2 * SECOND)
    await timeball.start()

    runs = await timeball.until_all_ended(job, count=2)
    assert {run["status"] for run in runs} == {"S"}
    assert _due(await timeball.ledger(job), "ran") == [start, start + SECOND]


async def test_an_outage_over_ten_thousand_due_times_is_recorded_in_full(make_timeball: MakeTimeball) -> None:
    """One row for each; latest makes one run of them, skip none, and all is paced."""
    timeball = await make_timeball()
    jobs = {
        policy: await timeball.create(
            "true",
            misfire_policy=policy,
            misfire_grace_seconds=0,
            is_schedule_active=True,
            schedule_mode="R/2020-01-01T00:00:00Z/PT1S",
        )
        for policy in POLICIES
    }
    await timeball.terminate()
    since = datetime.now(UTC).replace(microsecond=0) - 10_000 * SECOND
    micros = int(since.timestamp()) * 1_000_000
    with timeball.database() as connection:
        connection.execute("DELETE FROM execs")
        connection.execute("DELETE FROM occurrences")
        connection.execute("UPDATE jobs SET active_since = ?, next_due_at = ?", (micros, micros))
    await timeball.start()
    for policy in ("latest", "skip"):
        await timeball.until_up_to_date(jobs[policy])
    going = await timeball.execs(jobs["all"])
    for job in jobs.values():
        await timeball.switch_off(job)

    outage: dict[str, list[datetime]] = {}
    for policy in ("latest", "skip"):
        entries = await timeball.ledger(jobs[policy])
        due = _due(entries)
        assert due[0] == since
        assert len(due) >= 10_000
        assert _is_unbroken(due)
        outage[policy] = _due(entries, "missed")
        assert all(entry["reason"] for entry in entries if entry["outcome"] == "missed")
    assert len(outage["skip"]) >= 10_000
    assert outage["latest"] == outage["skip"][:-1]
    assert 0 < Counter(run["status"] in ENDED for run in going)[False] <= 20
    caught_up = _due(await timeball.ledger(jobs["all"]), "ran")
    assert caught_up[0] == since
    assert _is_unbroken(caught_up)
    await timeball.delete(f"/v1/jobs/{jobs['all']}")
