"""Runs that fall due while an earlier one goes on, under each policy, with the daemon killed in between."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from docker.api.client import APIClient

from tests.lab.timeball import Timeball, script, tell, until_told

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SECOND = timedelta(seconds=1)
#: Takes two and a half seconds, and ends at once when it is asked to.
TAKES_LONG = script("trap 'exit 1' TERM; i=0; while [ $i -lt 50 ]; do i=$((i+1)); sleep 0.05; done")


async def _five_due_times(timeball: Timeball, policy: str) -> int:
    """A job whose schedule is due five times, a second apart, from now on."""
    return await timeball.create(
        until_told() if policy == "replace" else TAKES_LONG,
        concurrency_policy=policy,
        misfire_grace_seconds=60,
        is_schedule_active=True,
        schedule_mode="R5//PT1S",
    )


async def _when_over(timeball: Timeball, job: int) -> list[dict[str, Any]]:
    """The job's runs once all five due times are decided and every run has ended; checks the ledger."""
    await timeball.until_decided(job, count=5)
    runs = await timeball.until_idle(job)
    runs.sort(key=lambda run: run["scheduled_for"])
    ran = [entry["exec"] for entry in await timeball.ledger(job) if entry["outcome"] == "ran"]
    assert ran == [run["id"] for run in runs]
    return runs


def _spans(runs: list[dict[str, Any]]) -> list[tuple[datetime, datetime]]:
    """When each run that started began and ended."""
    return [
        (datetime.fromisoformat(run["started_at"]), datetime.fromisoformat(run["ended_at"]))
        for run in runs
        if run["started_at"] is not None
    ]


def _most_at_once(spans: list[tuple[datetime, datetime]]) -> int:
    return max(sum(begin <= one[0] < end for begin, end in spans) for one in spans)


async def _tell_the_last(timeball: Timeball, job: int, client: APIClient) -> None:
    """Let the run of the fifth due time go on to its end."""
    entries = await timeball.until_decided(job, count=5)
    await timeball.until_printed(job, entries[-1]["exec"], "ready")
    tell(client, entries[-1]["exec"])


async def test_each_concurrency_policy_keeps_its_word_over_a_kill(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """Side by side on one daemon, which is killed in the middle of the second second."""
    timeball = own_timeball
    jobs = {
        policy: await _five_due_times(timeball, policy) for policy in ("allow", "forbid", "queue", "replace")
    }
    for job in jobs.values():
        await timeball.until_decided(job, count=2)
    await timeball.kill()
    await timeball.start()

    runs = await _when_over(timeball, jobs["allow"])
    assert [run["status"] for run in runs] == ["S"] * 5
    assert any(later["created_at"] < one["ended_at"] for one, later in itertools.pairwise(runs))

    runs = await _when_over(timeball, jobs["forbid"])
    assert {run["status"] for run in runs} == {"S"}
    assert 1 <= len(runs) < 5
    assert _most_at_once(_spans(runs)) == 1
    skipped = [entry for entry in await timeball.ledger(jobs["forbid"]) if entry["outcome"] == "skipped"]
    assert len(skipped) == 5 - len(runs)
    assert all("concurrency_policy 'forbid'" in entry["reason"] for entry in skipped)

    runs = await _when_over(timeball, jobs["queue"])
    assert [run["status"] for run in runs] == ["S"] * 5
    assert _most_at_once(_spans(runs)) == 1
    assert _spans(runs) == sorted(_spans(runs))

    await _tell_the_last(timeball, jobs["replace"], engine_client)
    runs = await _when_over(timeball, jobs["replace"])
    assert [run["status"] for run in runs] == ["C"] * 4 + ["S"]
    assert _most_at_once(_spans(runs)) == 1


async def test_what_forbids_is_over_when_its_run_is_whatever_happened_to_the_daemon(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """A run that goes on over a restart still forbids another; once it has ended, nothing does."""
    timeball = own_timeball
    job = await timeball.create(until_told(), concurrency_policy="forbid")
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    await timeball.kill()
    await timeball.start()

    status, raw = await timeball.send("POST", f"/v1/jobs/{job}/execs")
    assert (status, run.encode() in raw) == (409, True)
    forced = (await timeball.post(f"/v1/jobs/{job}/execs?force=true"))["id"]
    for one in (run, forced):
        await timeball.until_printed(job, one, "ready")
        tell(engine_client, one)
        assert (await timeball.until_ended(job, one))["status"] == "S"
    again = await timeball.trigger(job)
    await timeball.until_printed(job, again, "ready")
    tell(engine_client, again)
    assert (await timeball.until_ended(job, again))["status"] == "S"


async def test_a_run_that_waits_is_replaced_without_ever_starting(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """There is no room for it; the newer one takes its place in the queue, and nothing stays open."""
    timeball = own_timeball
    blocker = await timeball.create("sleep 60", resource_size="L", stop_grace_seconds=0)
    blocking = await timeball.trigger(blocker)
    await timeball.until_status(blocker, blocking, "R")
    job = await _five_due_times(timeball, "replace")
    await timeball.until_decided(job, count=5)
    await timeball.post(f"/v1/jobs/{blocker}/execs/{blocking}/stop")
    await _tell_the_last(timeball, job, engine_client)

    runs = await _when_over(timeball, job)
    assert [(run["status"], run["started_at"] is None) for run in runs] == [("C", True)] * 4 + [("S", False)]
