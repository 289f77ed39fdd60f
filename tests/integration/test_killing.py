"""The killing test: whatever moment the daemon dies in, every due time counts once and every line comes once.

The moments are random, from a seed that a failure names: run it again with TIMEBALL_TEST_SEED.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from docker.api.client import APIClient

from tests.integration.conftest import MakeTimeball
from tests.lab.engine import connect
from tests.lab.killing import SECOND, check_ledger, kill_and_start, make_schedules, none_left, switch_off
from tests.lab.private_engine import PrivateEngine
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

LINES = 20
#: Prints numbered lines on both streams for some two seconds.
NUMBERS = script(
    f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.1; done; printf end"
)


@pytest.mark.promise("started-once")
async def test_a_daemon_killed_at_random_moments_loses_and_repeats_nothing(
    own_timeball: Timeball, engine_client: APIClient, dice: random.Random
) -> None:
    """Eight schedules, ten kills within forty seconds: every run ends well, and its output is complete."""
    timeball = own_timeball
    schedules = await make_schedules(timeball, NUMBERS, [4, 5, 5, 6, 6, 7, 7, 8])
    await kill_and_start(timeball, kills=10, seconds=40, dice=dice)
    await until(timeball.is_ready)
    schedules = await switch_off(timeball, schedules)

    outcomes: Counter[str] = Counter()
    for schedule in schedules:
        runs, _ = await check_ledger(timeball, schedule)
        for run in runs:
            outcomes[run["status"]] += 1
            assert run["status"] == "S", run
            out, err = [await timeball.lines(schedule.job, run["id"], name) for name in ("stdout", "stderr")]
            assert out == [f"out {i}" for i in range(1, LINES + 1)] + ["end"]
            assert err == [f"err {i}" for i in range(1, LINES + 1)]
    assert outcomes["S"] > 20
    await none_left(timeball, engine_client)


@pytest.mark.slow
async def test_daemon_and_engine_killed_for_minutes_lose_and_repeat_nothing(
    private_engine: PrivateEngine, make_timeball: MakeTimeball, dice: random.Random
) -> None:
    """Twenty schedules, forty kills of the daemon within five minutes, and two of the engine."""
    timeball = await make_timeball(engine=private_engine.url)
    schedules = await make_schedules(timeball, NUMBERS, [dice.randint(5, 15) for _ in range(20)])
    outages: list[tuple[datetime, datetime]] = []
    for _ in range(2):
        await kill_and_start(timeball, kills=14, seconds=95, dice=dice)
        killed_at = datetime.now(UTC)
        await asyncio.to_thread(private_engine.kill)
        await asyncio.to_thread(private_engine.start)
        outages.append((killed_at, datetime.now(UTC)))
    await kill_and_start(timeball, kills=14, seconds=95, dice=dice)
    await until(timeball.is_ready)
    schedules = await switch_off(timeball, schedules)

    outcomes: Counter[str] = Counter()
    for schedule in schedules:
        runs, _ = await check_ledger(timeball, schedule)
        for run in runs:
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
        await none_left(timeball, client)


def _was_cut_short(run: dict[str, Any], outages: list[tuple[datetime, datetime]]) -> bool:
    """Whether the engine died while the run went on."""
    begin, end = datetime.fromisoformat(run["started_at"]), datetime.fromisoformat(run["ended_at"])
    return any(begin <= back and gone - SECOND <= end for gone, back in outages)


def _check_numbers(lines: list[str], word: str) -> None:
    """Nothing is missing in between, and nothing comes twice."""
    numbered = lines[:-1] if lines[-1:] == ["end"] else lines
    assert numbered == [f"{word} {i}" for i in range(1, len(numbered) + 1)]
