"""Kills daemons at random moments while schedules fall due, and checks afterwards what became of every due time."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from docker.api.client import APIClient

from tests.lab.timeball import Timeball, until

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job under test, how often it is due, and before when all that was due had been decided when it ended."""

    job: int
    start: datetime
    step: timedelta
    decided: datetime | None = None


@pytest.fixture
def dice() -> random.Random:
    """Random numbers that a failure can be repeated with."""
    seed = os.environ.get("TIMEBALL_TEST_SEED") or str(random.SystemRandom().randrange(10**6))
    print(f"TIMEBALL_TEST_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(seed)  # noqa: S311 - chooses moments, guards nothing


async def make_schedules(
    timeball: Timeball, command: Sequence[str], steps: Sequence[int], **fields: Any
) -> list[Schedule]:
    """One job for each step in seconds, under misfire policies in turn; every due time is to run.

    Args:
        timeball: the daemon.
        command: what each run does.
        steps: the seconds between two due times, for each job.
        fields: more fields of each job; a tuple has its values for the jobs in turn.
    """
    policies = itertools.cycle(("latest", "all", "skip"))
    turns = {name: itertools.cycle(value) for name, value in fields.items() if isinstance(value, tuple)}
    made = []
    for step in steps:
        job = await timeball.create(
            command,
            misfire_policy=next(policies),
            misfire_grace_seconds=2,
            is_schedule_active=True,
            schedule_mode=f"R//PT{step}S",
            **fields | {name: next(values) for name, values in turns.items()},
        )
        start = (await timeball.get(f"/v1/jobs/{job}"))["schedule_mode"].split("/")[1]
        made.append(Schedule(job, datetime.fromisoformat(start), step * SECOND))
    return made


async def kill_and_start(
    timeball: Timeball, *, kills: int, seconds: float, dice: random.Random
) -> list[tuple[datetime, datetime]]:
    """Kill the daemon so many times at random moments within so many seconds, and also while it starts.

    Answers for each time when it was killed and when it was started again.
    """
    moments = sorted(dice.uniform(0, seconds) for _ in range(kills))
    began = time.monotonic()
    outages: list[tuple[datetime, datetime]] = []
    for moment in moments:
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        gone = datetime.now(UTC)
        await timeball.kill()
        if dice.random() < 0.3:
            early = timeball.spawn()
            outages.append((gone, datetime.now(UTC)))
            await asyncio.sleep(dice.uniform(0.2, 1.2))
            gone = datetime.now(UTC)
            early.kill()
            early.wait()
            assert early.stdout is not None
            early.stdout.close()
        await timeball.start(until_ready=False)
        outages.append((gone, datetime.now(UTC)))
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    return outages


async def switch_off(timeball: Timeball, schedules: list[Schedule]) -> list[Schedule]:
    """Wait until nothing is overdue, and let nothing more fall due; answers until when each was up to date."""
    return [
        replace(schedule, decided=await timeball.switch_off_when_up_to_date(schedule.job))
        for schedule in schedules
    ]


async def check_ledger(
    timeball: Timeball, schedule: Schedule, *, may_skip: bool = False, seconds: float = 180
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every due time stands in the ledger once, and has one run if it ran; answers the runs and the entries.

    Args:
        timeball: the daemon.
        schedule: what was due.
        may_skip: whether the job lets no run begin while an earlier one is in progress.
        seconds: how long the last runs may take.
    """
    runs = await timeball.until_idle(schedule.job, seconds=seconds)
    entries = await timeball.ledger(schedule.job)
    due = [datetime.fromisoformat(entry["due_at"]) for entry in entries]
    assert due == [schedule.start + k * schedule.step for k in range(len(due))]
    assert due
    ran = {entry["exec"]: entry["due_at"] for entry in entries if entry["outcome"] == "ran"}
    assert {run["id"]: run["scheduled_for"] for run in runs} == ran
    assert len(runs) == len(ran)
    assert schedule.decided is not None
    for entry, due_at in zip(entries, due, strict=True):
        # In the instant in which it was switched off, one more may have fallen due.
        known = {"ran", "missed"} if due_at < schedule.decided else {"ran", "expired"}
        assert entry["outcome"] in known or (may_skip and entry["outcome"] == "skipped"), entry
    return runs, entries


async def none_left(timeball: Timeball, client: APIClient) -> None:
    """Return when the engine has none of its containers any more."""

    async def are_gone() -> bool:
        return not timeball.containers(client)

    await until(are_gone)
