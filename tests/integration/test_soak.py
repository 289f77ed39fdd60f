"""The soak: two due times a second for an hour, while the daemon is killed every twenty seconds.

What ran is known from what each command leaves on the disk of the engine's machine. The length is set by
``TIMEBALL_SOAK_SECONDS``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import MakeTimeball
from tests.lab.engine import connect
from tests.lab.killing import check_ledger, kill_and_start, make_schedules, none_left, switch_off
from tests.lab.private_engine import PrivateEngine
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

SECONDS = float(os.environ.get("TIMEBALL_SOAK_SECONDS", "3600"))
KILL_EVERY = 20
#: Twenty jobs, each due every ten seconds.
STEPS = (10,) * 20
#: On a machine that cannot keep up, most of what is due too soon is recorded as skipped, and only some of it waits.
POLICIES = ("allow", "forbid", "forbid", "forbid")
LINES = 10
#: Prints numbered lines on both streams for about a second, and leaves a line when it begins and when it ends.
COMMAND = script(
    "echo begun $HOSTNAME >>/evidence/runs; i=0; "
    f"while [ $i -lt {LINES} ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.1; done; "
    "echo $HOSTNAME; echo ended $HOSTNAME >>/evidence/runs"
)
#: Within this time, whatever is still waiting when nothing more falls due has run.
LAST_SECONDS = 900
#: How many more files the daemon may have open at the end than when it had done nothing: each of its threads for
#: calls to the engine (QUICK_CALLS, START_CALLS, REMOVE_CALLS) may keep a connection, and so may readers of the
#: database.
KEPT_FILES = 8 + 16 + 8 + 8


class Memory:
    """The memory of the daemon, read every second while it runs."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    async def watch(self, timeball: Timeball) -> None:
        """Read it until cancelled."""
        while True:
            with suppress(OSError, AssertionError, IndexError):  # it is being killed or started
                status = Path(f"/proc/{timeball.pid}/status").read_text(encoding="utf-8")  # noqa: ASYNC240 - no disk
                self._seen.append((time.monotonic(), int(status.split("VmRSS:")[1].split()[0])))
            await asyncio.sleep(1)

    def most(self, begin: float, end: float) -> float:
        """The most that it had between two moments, in MiB; 0 if it was never seen."""
        return max((kib for at, kib in self._seen if begin <= at <= end), default=0) / 1024


def _open_files(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return found


def _evidence(file: Path) -> dict[str, Counter[str]]:
    """How often each container has begun and ended, by the id that is its host name."""
    counts: dict[str, Counter[str]] = {"begun": Counter(), "ended": Counter()}
    for line in file.read_text().splitlines():
        word, container = line.split()
        counts[word][container] += 1
    return counts


async def _check_output(timeball: Timeball, job: int, run: dict[str, Any]) -> str:
    """Every line is kept once and in order; answers the id of the container."""
    out, err = [await timeball.lines(job, run["id"], name) for name in ("stdout", "stderr")]
    assert out[:-1] == [f"out {i}" for i in range(1, LINES + 1)], (run, out)
    assert err == [f"err {i}" for i in range(1, LINES + 1)], (run, err)
    return out[-1]


def _recorded_ends(log_file: Path) -> dict[str, datetime]:
    """When the daemon noted in its own log that it had recorded the end of a run, for each run."""
    notes = [json.loads(line) for line in log_file.read_text().splitlines() if '"run.ended"' in line]
    return {note["exec"]: datetime.fromisoformat(note["timestamp"]) for note in notes}


def _check_skipped(
    entries: Sequence[dict[str, Any]], runs: Sequence[dict[str, Any]], ends: Mapping[str, datetime]
) -> None:
    """Whatever was skipped fell due when the end of an earlier run was not recorded yet."""
    for entry in entries:
        if entry["outcome"] == "skipped":
            at = datetime.fromisoformat(entry["decided_at"])
            earlier = [run["id"] for run in runs if datetime.fromisoformat(run["created_at"]) <= at]
            # A daemon that is killed right after it has recorded an end does not note it.
            assert any(ends.get(run, at) >= at for run in earlier), (entry, earlier)


async def test_two_runs_a_second_with_a_kill_every_twenty_seconds_lose_nothing_and_leave_nothing(
    private_engine: PrivateEngine, make_timeball: MakeTimeball, tmp_path: Path, dice: random.Random
) -> None:
    """Each due time has one outcome, each run is carried out once and kept in full, and nothing remains of it."""
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    config = f"[policy]\nallowed_mounts = ['{evidence}:rw']\n"
    timeball = await make_timeball(engine=private_engine.url, config=config)
    files_before = _open_files(timeball.pid)
    memory = Memory()
    began = time.monotonic()
    watching = asyncio.create_task(memory.watch(timeball))
    schedules = await make_schedules(
        timeball,
        COMMAND,
        STEPS,
        resource_size="XXS",
        network="none",
        concurrency_policy=POLICIES,
        mounts=[{"source": str(evidence), "target": "/evidence", "read_only": False}],
    )
    outages = await kill_and_start(timeball, kills=round(SECONDS / KILL_EVERY), seconds=SECONDS, dice=dice)
    await until(timeball.is_ready)
    ended = time.monotonic()
    schedules = await switch_off(timeball, schedules)

    outcomes: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    containers: list[str] = []
    for number, schedule in enumerate(schedules):
        may_skip = POLICIES[number % len(POLICIES)] == "forbid"
        runs, entries = await check_ledger(timeball, schedule, may_skip=may_skip, seconds=LAST_SECONDS)
        recorded = _recorded_ends(timeball.log_file)
        _check_skipped(entries, runs, recorded)
        outcomes.update(entry["outcome"] for entry in entries)
        for run in runs:
            ends[run["fail_reason"] or run["status"]] += 1
            assert run["status"] == "S", run
            containers.append(await _check_output(timeball, schedule.job, run))
    seen = _evidence(evidence / "runs")
    assert Counter(containers) == seen["begun"] == seen["ended"]
    assert set(seen["begun"].values()) == {1}
    assert len(containers) > SECONDS / 2
    watching.cancel()

    waiting = [(await timeball.get(f"/v1/execs?status={status}"))["count"] for status in "WR"]
    assert waiting == [0, 0]
    with connect(private_engine.url) as client:
        await none_left(timeball, client)
        assert not client.containers(all=True)
        assert not client.volumes()["Volumes"]  # type: ignore[no-untyped-call] # stubs are vague
    assert not list(private_engine.runtime_folder.iterdir())

    async def open_files() -> list[str]:
        return _open_files(timeball.pid)

    files = await until(open_files, lambda names: len(names) <= len(files_before) + KEPT_FILES)
    assert not [name for name in files if name.endswith("(deleted)")]
    with timeball.database() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    window = min(300.0, SECONDS / 4)
    first, last = memory.most(began, began + window), memory.most(ended - window, ended)
    sys.stderr.write(
        f"\nsoak of {SECONDS:g} s: {len(outages)} kills, {outcomes.total()} due times {dict(outcomes)}, "
        f"ends {dict(ends)}, {len(containers)} commands carried out once; at most {first:.0f} MiB in the first "
        f"{window:g} s, {last:.0f} MiB in the last; {len(files_before)} open files before, {len(files)} after\n"
    )
