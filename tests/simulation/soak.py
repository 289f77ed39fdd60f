"""A long time with very many due times: `python -m tests.simulation.soak --hours 24 --due 1000000`.

One daemon with jobs that are all due at the same moments, every 100 s, on an engine with few processors: most due
times are skipped, because the run before has not ended. The daemon and its engine are killed now and then. At the
end, the ledger must have one outcome for each due time, and the process must not use more memory than after a fifth
of the time. So nothing here grows either: there is no trace, and what containers did is noted in a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import shutil
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from scheduler.domain.stream import Stream
from scheduler.engine.types import Handle
from scheduler.service import Service
from tests.lab.fake_engine import FAKE_IMAGE, KILLED
from tests.lab.fake_programs import FakeProcess
from tests.simulation import soak_checks
from tests.simulation.__main__ import private_folder
from tests.simulation.checks import Witness
from tests.simulation.disk import Disk
from tests.simulation.engine import Network
from tests.simulation.host import Host, Kind
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.machines import BEGIN, Machine, Surroundings, WallClock
from tests.simulation.receiver import Receiver
from tests.simulation.running import installed, make_template
from tests.simulation.users import ADMIN

#: Seconds between two due times of a job, and from the beginning to the first one.
STEP: Final = 100
FIRST: Final = 100
START: Final = BEGIN + timedelta(seconds=FIRST)
#: Seconds after which a due time is decided while the daemon runs.
DECIDED: Final = 5.0
#: Processors of one run, and how many jobs share the place of one run on the engine, which has a few at least.
CPUS: Final = 0.15
JOBS_PER_PLACE: Final = 50
LEAST_PLACES: Final = 8
#: How long a container lasts in seconds, and how many lines it prints.
LEAST, MOST = 100.0, 250.0
LINES: Final = 4
#: When the daemon is killed and for how long it is away, as parts of the whole time and in seconds.
CRASHES: Final = ((0.13, 2.0), (0.37, 30.0), (0.58, 250.0), (0.83, 5.0))
#: The same for the engine.
ENGINE_DEATHS: Final = ((0.26, 3.0), (0.51, 60.0), (0.76, 0.5))
#: How many looks at the memory there are, and from which one on it must not grow: per cent of the time.
LOOKS: Final = 100
WARM: Final = 20
#: Seconds between two looks whether everything has ended, and how many looks there are at most.
PAUSE, PATIENCE = 10.0, 200
#: How much more memory the process may have at the end than after a fifth of the time.
GROWTH: Final = 1.15


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        problems: what was wrong; empty if nothing was.
        due: how many due times there were, and `outcomes` how many of each outcome.
        runs: how many runs there were, and `ends` how many of them ended in each way.
        crashes: how often the daemon was killed, and `engine_deaths` how often the engine was.
        memory: the process's own memory in MiB, by per cent of the time.
        largest: the most memory after a fifth of the time.
        seconds: how long it took, and `processor` how much of that on a processor.
        steps: how many steps the loop made.
    """

    problems: list[str] = field(default_factory=list)
    due: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    engine_deaths: int = 0
    memory: dict[int, float] = field(default_factory=dict)
    largest: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0
    steps: int = 0


class _Host(Host):
    """An engine that remembers nothing of containers that are gone."""

    async def remove(self, handle: Handle) -> None:
        """Forget a container."""
        container = self.containers.get(handle.engine_id)
        await super().remove(handle)
        self._made_in.pop(handle.engine_id, None)
        self._noted.pop(handle.engine_id, None)
        if container is not None:
            self.starts.pop(container.spec.exec_id, None)


class Soak:
    """The world of a soak.

    Args:
        folder: an empty folder for its files.
        hours: how many hours it lasts.
        due: how many due times there are, rounded up to full jobs.
        tell: called with a line after each look at the memory.

    Attributes:
        witness: what was wrong.
        outcome: what came of it.
    """

    def __init__(self, folder: Path, *, hours: float, due: int, tell: Callable[[str], None]) -> None:
        self.each = int(hours * 3600 // STEP)
        self.length = (
            self.each * STEP - STEP / 2
        )  # seconds from the first due time to half a step after the last
        self.jobs = math.ceil(due / self.each)
        self.outcome = Outcome()
        self.witness = Witness()
        self.loop = SimulatedLoop(random.Random("soak order"))
        work = random.Random("soak work")
        self.loop.work_seconds = lambda: work.expovariate(3000.0)
        shutil.copyfile(make_template(folder), folder / "timeball.db")
        self._disk = Disk(folder / "timeball.db", random.Random("soak disk"))
        self._processes = sqlite3.connect(folder / "processes.db", isolation_level=None)
        self._processes.execute("PRAGMA synchronous=OFF")
        self._processes.execute(
            "CREATE TABLE processes (number INTEGER PRIMARY KEY, exec_id TEXT, exit_code INTEGER)"
        )
        self._dice = random.Random("soak containers")
        engine_clock = WallClock(self.loop)
        self._host = _Host(
            Kind.REPLACES,
            installation="simulated",
            source=random.Random("soak engine"),
            clock=engine_clock.now,
            cpus=CPUS * max(self.jobs // JOBS_PER_PLACE, LEAST_PLACES),
        )
        self._host.calls = deque(maxlen=0)  # type: ignore[assignment]
        self._host.programs["soak",] = self._program
        receiver = Receiver(random.Random("soak receiver"), self.witness, _ignore)
        around = Surroundings(
            self.loop, self._disk, self._host, engine_clock, receiver, self.witness, _ignore
        )
        network = Network(random.Random("soak network"), slow=0.005)
        self.machine = Machine(0, folder / "daemon", WallClock(self.loop), network, around)
        self._began, self._began_processor = time.monotonic(), time.process_time()
        self._tell = tell

    def machine_of(self, _: Process) -> Machine:
        """The only machine."""
        return self.machine

    async def _program(self, process: FakeProcess) -> int:
        """What containers run."""
        number = self._processes.execute(
            "INSERT INTO processes (exec_id) VALUES (?)", (process.spec.exec_id,)
        ).lastrowid
        exit_code = KILLED
        try:
            lasts = self._dice.uniform(LEAST, MOST)
            for line in range(LINES):
                process.write(Stream.STDOUT, b"line %d\n" % line)
                await asyncio.sleep(lasts / LINES)
            exit_code = 3 if self._dice.random() < 0.1 else 0
        finally:
            self._processes.execute(
                "UPDATE processes SET exit_code = ? WHERE number = ?", (exit_code, number)
            )
        return exit_code

    # ---- what happens -----------------------------------------------------------------------------------------

    async def live(self) -> None:
        """From the beginning to the end."""
        self.machine.boot()
        service = await self._service()
        for index in range(self.jobs):
            await service.jobs.create(ADMIN, _definition(index))
        for at, act in sorted(self._plan(), key=lambda one: one[0]):
            await self._sleep_until(FIRST + at)
            await act()
        await self._sleep_until(FIRST + self.length)
        self._look(LOOKS)
        soak_checks.check_ledger(
            self.witness,
            self._disk.observer,
            self._expected(self.each),
            seconds_of=lambda moment: (moment - BEGIN).total_seconds(),
        )
        self.outcome.due = self.jobs * self.each
        self.outcome.outcomes = soak_checks.counted(
            self._disk.observer, "SELECT outcome, count(*) FROM occurrences GROUP BY outcome"
        )
        await self._come_to_rest()
        soak_checks.check_runs(self.witness, self._disk.observer, self._processes)
        for container in self._host.containers.values():
            self.witness.wrong(f"container {container.handle.name} is left")
        self.outcome.ends = soak_checks.counted(
            self._disk.observer,
            "SELECT status || coalesce(' ' || fail_reason, ''), count(*) FROM execs GROUP BY 1",
        )
        self.outcome.runs = sum(self.outcome.ends.values())
        await self.machine.stop()

    def _plan(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        """What happens when, in seconds after the first due time."""
        for part, seconds in CRASHES:
            yield part * self.length, self._kill
            yield part * self.length + seconds, self._boot
        for part, seconds in ENGINE_DEATHS:
            yield part * self.length, self._engine_dies
            yield part * self.length + seconds, self._engine_comes_back
        for number in range(1, LOOKS):

            async def look(number: int = number) -> None:
                self._look(number)

            yield self.length * number / LOOKS, look

    def _expected(self, each: int) -> soak_checks.Expected:
        """So many due times of each job."""
        return soak_checks.Expected(range(1, self.jobs + 1), START, STEP, each)

    async def _kill(self) -> None:
        self.outcome.crashes += 1
        self.machine.kill()
        for process in self.machine.buried:
            self.loop.bury(process)
        self.machine.buried.clear()

    async def _boot(self) -> None:
        self.machine.boot()

    async def _engine_dies(self) -> None:
        self.outcome.engine_deaths += 1
        self._host.die()

    async def _engine_comes_back(self) -> None:
        self._host.come_back()

    async def _come_to_rest(self) -> None:
        """Let nothing more fall due, stop what waits, and wait until all has ended and every container is gone."""
        service = await self._service()
        for job_id in range(1, self.jobs + 1):
            await service.jobs.update(ADMIN, str(job_id), {"is_schedule_active": False})
        waiting = self._disk.observer.execute(
            "SELECT id, job_id FROM execs WHERE ended_at IS NULL AND dispatched_at IS NULL"
        ).fetchall()
        for exec_id, job_id in waiting:
            await service.execs.stop(ADMIN, str(job_id), exec_id)
        for _ in range(PATIENCE):
            open_runs = self._disk.observer.execute("SELECT count(*) FROM execs WHERE ended_at IS NULL")
            if open_runs.fetchone()[0] == 0 and not self._host.containers:
                return
            await asyncio.sleep(PAUSE)
        self.witness.wrong("nothing comes to rest")

    async def _service(self) -> Service:
        while self.machine.service is None:  # noqa: ASYNC110 - simulated time costs nothing
            await asyncio.sleep(0.1)
        return self.machine.service

    async def _sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.loop.time()))

    def _look(self, percent: int) -> None:
        memory = memory_mib()
        if percent % 10 == 0:
            self.outcome.memory[percent] = round(memory, 1)
        if percent >= WARM:
            self.outcome.largest = max(self.outcome.largest, round(memory, 1))
        self._tell(
            f"{percent} %: {memory:.1f} MiB, {self.loop.steps:,} steps, "
            f"{time.process_time() - self._began_processor:.0f} s of {time.monotonic() - self._began:.0f} s"
        )
        if percent % 10 == 0 and self.machine.is_running:
            each = int((self.loop.time() - DECIDED - FIRST) // STEP) + 1
            soak_checks.check_counts(self.witness, self._disk.observer, self._expected(each))
            self._tell(
                f"{self.jobs * each:,} due times with one outcome each; problems: {self.witness.problems[:3]}"
            )
        if percent == LOOKS and memory > GROWTH * self.outcome.memory[WARM]:
            self.witness.wrong(f"the memory grew from {self.outcome.memory[WARM]} MiB to {memory:.1f} MiB")

    def close(self) -> None:
        """Close the files, and note how long it took."""
        self.outcome.seconds = round(time.monotonic() - self._began, 1)
        self.outcome.processor = round(time.process_time() - self._began_processor, 1)
        self.outcome.steps = self.loop.steps
        self.outcome.problems = [
            *self.witness.problems,
            *(f"unhandled: {one.get('message')}: {one.get('exception')!r}" for one in self.loop.errors),
        ]
        self.loop.close()
        self._disk.close()
        self._processes.close()


def memory_mib() -> float:
    """The memory that belongs to this process alone, in MiB: without files in memory, which it may have mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def soak(folder: Path, *, hours: float, due: int, tell: Callable[[str], None]) -> Outcome:
    """Let it happen in an empty folder."""
    world = Soak(folder, hours=hours, due=due, tell=tell)
    try:
        with installed(world, "soak"):
            world.loop.run_until_complete(world.live())
    finally:
        world.close()
    return world.outcome


def _definition(index: int) -> dict[str, Any]:
    repository, tag = FAKE_IMAGE.split(":")
    return {
        "name": f"job-{index}",
        "docker_image_repo": repository,
        "docker_image_tag": tag,
        "command": ["soak"],
        "resource_size": "XXS",
        "concurrency_policy": "forbid",
        "schedule_mode": f"R/{START.isoformat().replace('+00:00', 'Z')}/PT{STEP}S",
        "is_schedule_active": True,
    }


def _ignore(_: str) -> None:
    """Keep no trace."""


def main() -> int:
    """Run it; 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--due", type=int, default=1_000_000, help="the number of due times")
    given = parser.parse_args()
    with private_folder() as folder:
        outcome = soak(
            folder,
            hours=given.hours,
            due=given.due,
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    print(json.dumps(asdict(outcome)))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
