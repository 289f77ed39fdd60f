"""The engine is killed the moment it has started a run's process, with or without the daemon: nothing runs twice.

Each run leaves a line of its own on the machine's disk, so what really ran is known whatever anybody says.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from scheduler.process.faults import Point
from tests.integration.conftest import MakeTimeball
from tests.lab.engine import connect
from tests.lab.private_engine import PrivateEngine
from tests.lab.private_podman import PrivatePodman
from tests.lab.timeball import PATIENCE, Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Leaves its line, and goes on for so long that the engine dies meanwhile.
LEAVES_A_LINE = script("echo ran >>/evidence/$RUN; sleep 2; echo ended >>/evidence/$RUN-end")
#: The longest time between the start of the process and the engine's death.
LATEST_SECONDS = 0.01
#: Ends that a run may have had whose engine died, by its reason: how often its command has run.
TIMES = {None: {1}, "exit_code": {1}, "engine_lost": {0, 1}}


def _kill_when_it_starts(engine: PrivateEngine, known: set[Path], pause: float) -> None:
    """Kill the engine when a container's process has begun: the runtime then takes away what has held it back."""
    deadline = time.monotonic() + PATIENCE
    while not (new := set(engine.runtime_folder.iterdir()) - known):
        assert time.monotonic() < deadline, "no process is being started"
    state = new.pop()
    while not (state / engine.state_file).exists() or (state / "exec.fifo").exists():
        assert time.monotonic() < deadline, "the process does not begin"
    time.sleep(pause)  # the moment varies, and nothing tells when an engine notes a start
    engine.kill()


async def _kill_amid(
    timeball: Timeball, engine: PrivateEngine, job: int, number: int, pause: float, *, with_daemon: bool
) -> str:
    """Start a run, kill the engine when its process has begun, and bring back what was killed; answers the run."""
    engine.runtime_folder.mkdir(parents=True, exist_ok=True)
    known = set(engine.runtime_folder.iterdir())
    killing = asyncio.create_task(asyncio.to_thread(_kill_when_it_starts, engine, known, pause))
    run = await timeball.trigger(job, runtime_vars={"RUN": str(number)})
    await killing
    if with_daemon:
        await timeball.kill()
    await asyncio.to_thread(engine.start)
    if with_daemon:
        await timeball.start()
    return run


@pytest.mark.promise("started-once")
@pytest.mark.parametrize(
    "kills", [3, pytest.param(50, marks=pytest.mark.slow)], ids=lambda kills: f"{kills}-kills"
)
@pytest.mark.parametrize("with_daemon", [False, True], ids=["engine", "engine-and-daemon"])
async def test_an_engine_killed_right_after_a_start_neither_doubles_nor_loses_a_run(
    private_engine: PrivateEngine, make_timeball: MakeTimeball, tmp_path: Path, kills: int, with_daemon: bool
) -> None:
    """Each run ends, its command has run once at most, and what is recorded of it is true."""
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    config = f"[policy]\nallowed_mounts = ['{evidence}:rw']\n"
    timeball = await make_timeball(engine=private_engine.url, config=config)
    mount = {"source": str(evidence), "target": "/evidence", "read_only": False}
    job = await timeball.create(LEAVES_A_LINE, mounts=[mount])
    dice = random.Random(kills)  # noqa: S311 - chooses moments, guards nothing
    ends: Counter[str] = Counter()
    for number in range(kills):
        run = await _kill_amid(
            timeball,
            private_engine,
            job,
            number,
            dice.uniform(0, LATEST_SECONDS),
            with_daemon=with_daemon,
        )
        ended = await timeball.until_ended(job, run)
        file = evidence / str(number)
        times = len(file.read_text().splitlines()) if file.exists() else 0
        assert ended["fail_reason"] in TIMES, ended
        assert times in TIMES[ended["fail_reason"]], (
            times,
            ended["exit_code"],
            ended["error"],
            ended["started_at"],
        )
        if ended["status"] == "S":
            assert (evidence / f"{number}-end").read_text() == "ended\n"
        ends[f"{ended['fail_reason'] or 'succeeded'}, ran {times} times"] += 1
        private_engine.end_forgotten()
    sys.stderr.write(f"\n{kills} kills: {dict(ends)}\n")
    assert len(await timeball.execs(job)) == kills

    async def none_left() -> bool:
        with connect(private_engine.url) as client:
            return not client.containers(all=True)

    await until(none_left, seconds=120)


async def test_a_daemon_killed_right_before_it_asks_for_a_start_has_it_made_afterwards_however_busy_the_engine_is(
    private_engine: PrivateEngine, make_timeball: MakeTimeball, busybox_image: str
) -> None:
    """The engine has forgotten by then that it created the container, and yet shows that it was not restarted."""
    if isinstance(private_engine, PrivatePodman):
        pytest.skip("Podman does not show whether it was restarted")
    timeball = await make_timeball(engine=private_engine.url)
    await timeball.terminate()
    await timeball.start(fault=Point.START_REQUESTED.value)
    job = await timeball.create("echo here")
    run = await timeball.trigger(job)
    await timeball.until_dead()
    with connect(private_engine.url) as client:
        other = client.create_container(busybox_image, ["true"])["Id"]
        await asyncio.to_thread(private_engine.forget_events, other)
        client.remove_container(other)
    await timeball.start()

    ended = await timeball.until_ended(job, run)
    assert (ended["status"], ended["fail_reason"], ended["error"]) == ("S", None, None)
    assert await timeball.lines(job, run) == ["here"]
