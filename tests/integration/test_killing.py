"""The killing test: whatever moment the daemon dies in, every due time counts once and every line comes once.

The moments are random, from a seed that a failure names: run it again with TIMEBALL_TEST_SEED.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from docker.api.client import APIClient

from tests.integration.conftest import MakeTimeball
from tests.lab.engine import connect
from tests.lab.private_engine import PrivateEngine
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

LINES = 20
#: Prints numbered lines on both streams for some two seconds.
NUMBERS = script(
    f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.1; done; printf end"
)
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


async def _schedules(timeball: Timeball, steps: list[int]) -> list[Schedule]:
    """One job for each step in seconds, under policies in turn; every due time is to run."""
    policies = itertools.cycle(("latest", "all", "skip"))
    made = []
    for step in steps:
        job = await timeball.create(
            NUMBERS,
            misfire_policy=next(policies),
            misfire_grace_seconds=2,
            is_schedule_active=True,
            schedule_mode=f"R//PT{step}S",
        )
        start = (await timeball.get(f"/v1/jobs/{job}"))["schedule_mode"].split("/")[1]
        made.append(Schedule(job, datetime.fromisoformat(start), step * SECOND))
    return made


async def _kill_and_start(timeball: Timeball, *, kills: int, seconds: float, dice: random.Random) -> None:
    """Kill the daemon so many times at random moments within so many seconds, also while it starts."""
    moments = sorted(dice.uniform(0, seconds) for _ in range(kills))
    began = time.monotonic()
    for moment in moments:
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        await timeball.kill()
        if dice.random() < 0.3:
            early = timeball.spawn()
            await asyncio.sleep(dice.uniform(0.2, 1.2))
            early.kill()
            early.wait()
            assert early.stdout is not None
            early.stdout.close()
        await timeball.start(until_ready=False)


async def _switch_off(timeball: Timeball, schedules: list[Schedule]) -> list[Schedule]:
    """Wait until nothing is overdue, and let nothing more fall due; answers until when each was up to date."""
    return [
        replace(schedule, decided=await timeball.switch_off_when_up_to_date(schedule.job))
        for schedule in schedules
    ]


async def _check_ledger(timeball: Timeball, schedule: Schedule) -> list[dict[str, Any]]:
    """Every due time stands in the ledger once, and has one run if it ran; answers the runs."""
    runs = await timeball.until_idle(schedule.job, seconds=180)
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
        assert entry["outcome"] in known, entry
    return runs


async def _none_left(timeball: Timeball, client: APIClient) -> None:
    async def none_left() -> bool:
        return not timeball.containers(client)

    await until(none_left)


@pytest.mark.promise("started-once")
async def test_a_daemon_killed_at_random_moments_loses_and_repeats_nothing(
    own_timeball: Timeball, engine_client: APIClient, dice: random.Random
) -> None:
    """Eight schedules, ten kills within forty seconds: every run ends well, and its output is complete."""
    timeball = own_timeball
    schedules = await _schedules(timeball, [4, 5, 5, 6, 6, 7, 7, 8])
    await _kill_and_start(timeball, kills=10, seconds=40, dice=dice)
    await until(timeball.is_ready)
    schedules = await _switch_off(timeball, schedules)

    outcomes: Counter[str] = Counter()
    for schedule in schedules:
        for run in await _check_ledger(timeball, schedule):
            outcomes[run["status"]] += 1
            assert run["status"] == "S", run
            out, err = [await timeball.lines(schedule.job, run["id"], name) for name in ("stdout", "stderr")]
            assert out == [f"out {i}" for i in range(1, LINES + 1)] + ["end"]
            assert err == [f"err {i}" for i in range(1, LINES + 1)]
    assert outcomes["S"] > 20
    await _none_left(timeball, engine_client)


@pytest.mark.slow
async def test_daemon_and_engine_killed_for_minutes_lose_and_repeat_nothing(
    private_engine: PrivateEngine, make_timeball: MakeTimeball, dice: random.Random
) -> None:
    """Twenty schedules, forty kills of the daemon within five minutes, and two of the engine."""
    timeball = await make_timeball(engine=private_engine.url)
    schedules = await _schedules(timeball, [dice.randint(5, 15) for _ in range(20)])
    outages: list[tuple[datetime, datetime]] = []
    for _ in range(2):
        await _kill_and_start(timeball, kills=14, seconds=95, dice=dice)
        killed_at = datetime.now(UTC)
        await asyncio.to_thread(private_engine.kill)
        await asyncio.to_thread(private_engine.start)
        outages.append((killed_at, datetime.now(UTC)))
    await _kill_and_start(timeball, kills=14, seconds=95, dice=dice)
    await until(timeball.is_ready)
    schedules = await _switch_off(timeball, schedules)

    outcomes: Counter[str] = Counter()
    for schedule in schedules:
        for run in await _check_ledger(timeball, schedule):
            outcomes[run["status"]] += 1
            out, err = [await timeball.lines(schedule.job, run["id"], name) for name in ("stdout", "stderr")]
            if _was_cut_short(run, outages):
                # The engine ends what ran without it, and loses what was printed then: what is there is right.
                # 137 is its SIGKILL; 255 what it says where it was killed amid noting an end.
                assert run["status"] == "S" or (run["status"], run["exit_code"]) in (
                    ("F", 137),
                    ("F", 255),
                ), run
            else:
                assert run["status"] == "S", run
                assert (len(out), len(err)) == (LINES + 1, LINES)
            _check_numbers(out, "out")
            _check_numbers(err, "err")
    assert outcomes["S"] > 300
    with connect(private_engine.url) as client:
        await _none_left(timeball, client)


def _was_cut_short(run: dict[str, Any], outages: list[tuple[datetime, datetime]]) -> bool:
    """Whether the engine died while the run went on."""
    begin, end = datetime.fromisoformat(run["started_at"]), datetime.fromisoformat(run["ended_at"])
    return any(begin <= back and gone - SECOND <= end for gone, back in outages)


def _check_numbers(lines: list[str], word: str) -> None:
    """Nothing is missing in between, and nothing comes twice."""
    numbered = lines[:-1] if lines[-1:] == ["end"] else lines
    assert numbered == [f"{word} {i}" for i in range(1, len(numbered) + 1)]
