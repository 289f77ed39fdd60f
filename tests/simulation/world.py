"""One simulated world: as many real daemons as its plan has, on a simulated clock, engine, network and disk."""

from __future__ import annotations

import asyncio
import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from scheduler.domain.job import ONE_AT_A_TIME
from scheduler.engine.types import LaunchSpec, RunState
from tests.simulation import checks
from tests.simulation.committed import Ledger
from tests.simulation.disk import Disk
from tests.simulation.engine import Network
from tests.simulation.faults import Faults
from tests.simulation.host import Host
from tests.simulation.loop import WINDOW, Process, SimulatedLoop
from tests.simulation.machines import BEGIN, Machine, Surroundings, WallClock
from tests.simulation.plan import FAULTS, Plan
from tests.simulation.receiver import Receiver
from tests.simulation.scripts import program_of
from tests.simulation.users import Users, command_of

DATABASE: Final = "timeball.db"
INSTALLATION: Final = "simulated"
#: Seconds that everything gets to come to rest once the faults have stopped, and between two looks.
PATIENCE: Final = 1200.0
LOOK: Final = 0.5
#: Seconds within which all that was due is decided once the faults have stopped.
CAUGHT_UP: Final = 8.0
#: How many pieces of work for a thread last a second, before and after each takes effect.
WORK_RATE: Final = 3000.0
#: More steps than any burst of this size needs within `WINDOW` seconds (1,400 were seen).
MOST_STEPS: Final = 5_000


class World:
    """The world of a plan.

    Args:
        plan: what happens.
        folder: a folder for its files, which does not exist.
        template: a database with all tables and nothing in them.

    Attributes:
        trace: what happened, line by line.
        witness: what was seen, and what was wrong.
    """

    def __init__(self, plan: Plan, folder: Path, template: Path) -> None:
        self.plan = plan
        self.trace: list[str] = []
        self.witness = checks.Witness(plan.daemons)
        self.loop = SimulatedLoop(self._dice("order"))
        work = self._dice("work")
        self.loop.work_seconds = lambda: work.expovariate(WORK_RATE)
        self.loop.after_work = self._look_at_the_database
        folder.mkdir(parents=True)
        shutil.copyfile(template, folder / DATABASE)
        self.disk = Disk(folder / DATABASE, self._dice("disk"))
        self._ledger = Ledger(self.witness, plan.cpus)
        engine_clock = WallClock(self.loop, plan.skew_of(0))
        self._host = Host(
            plan.behaviour,
            installation=INSTALLATION,
            source=self._dice("engine"),
            clock=engine_clock.now,
            cpus=plan.cpus,
        )
        self._host.on_start = self._process_starts
        around = Surroundings(
            self.loop,
            self.disk,
            self._host,
            engine_clock,
            Receiver(self._dice("receiver"), self.witness, self.note),
            self.witness,
            self.note,
            plan.settings,
        )
        self.machines = [
            Machine(
                index,
                folder / f"daemon-{index}",
                WallClock(self.loop, plan.skew_of(index + 1)),
                Network(self._dice(f"network {index}"), slow=plan.slow),
                around,
            )
            for index in range(plan.daemons)
        ]
        self._users = Users(self.machines, around, plan.jobs, self._dice("users"))
        self._faults = Faults(self.machines, around, self._ledger)
        self.loop.before_step = self._faults.count_down

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {name}")

    def note(self, what: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.loop.time():.6f} {what}")

    def machine_of(self, process: Process) -> Machine:
        """The machine on which a process runs."""
        return next((one for one in self.machines if one.process is process), self.machines[0])

    async def live(self) -> None:
        """From the beginning to the end."""
        for machine in self.machines:
            machine.boot()
        for index, job in enumerate(self.plan.jobs):
            self._host.programs[tuple(command_of(index))] = program_of(job.script, self.witness, self.note)
            await self._users.create(index, job)
        for one in self.plan.happenings:
            await asyncio.sleep(max(0.0, one.at - self.loop.time()))
            self.note(f"{one.kind} {one.options}")
            await getattr(self._faults if one.kind in FAULTS else self._users, one.kind)(**one.options)
        await asyncio.sleep(max(0.0, self.plan.length - self.loop.time()))
        self._faults.stop()
        while not self._faults.are_over:  # noqa: ASYNC110 - simulated time costs nothing
            await asyncio.sleep(LOOK)
        self.note("the faults have stopped")
        await asyncio.sleep(CAUGHT_UP)
        self._check_due_times()
        self._check_outcomes()
        await self._users.switch_all_off()
        await self._come_to_rest()
        self._check_the_rest()
        if self.loop.busiest > MOST_STEPS:
            self.witness.wrong(f"something never rests: {self.loop.busiest} steps within {WINDOW:g} s")
        for machine in self.machines:
            await machine.stop()
        self.note("the end")

    async def _come_to_rest(self) -> None:
        """Wait until no run is open, no message is waiting and no container is left."""
        deadline = self.loop.time() + PATIENCE
        while self.loop.time() < deadline:
            waiting = self.disk.observer.execute(
                "SELECT (SELECT count(*) FROM execs WHERE ended_at IS NULL) "
                "+ (SELECT count(*) FROM deliveries WHERE ended_at IS NULL)"
            ).fetchone()[0]
            if not waiting and not self._host.containers and not self._host.going:
                return
            await asyncio.sleep(LOOK)
        self.note("nothing comes to rest")

    # ---- checks ---------------------------------------------------------------------------------------------

    def _look_at_the_database(self) -> None:
        if self.disk.has_changed():
            for change in self._ledger.look(
                self.disk.observer, self.loop.time(), is_synced=self.disk.is_synced
            ):
                self.note(f"run {change}")

    def _process_starts(self, spec: LaunchSpec) -> None:
        self.note(f"process of {spec.exec_id}")
        running = [one.spec for one in self._host.containers.values() if one.status.state is RunState.RUNNING]
        used = sum(one.cpus for one in running)
        if used > self.plan.cpus + 1e-6:
            self.witness.wrong(f"processes use {used:g} of {self.plan.cpus:g} processors")
        index = next((key for key, job_id in self._users.jobs.items() if job_id == spec.job_id), None)
        policy = None if index is None else self.plan.jobs[index].fields.get("concurrency_policy")
        if policy in ONE_AT_A_TIME and sum(one.job_id == spec.job_id for one in running) > 1:
            self.witness.wrong(f"job {spec.job_id} has two processes, though its policy is {policy}")

    def _check_due_times(self) -> None:
        """The ledger has all due times of a job before its next one, which lies ahead."""
        now = self.machines[0].clock.now()
        for index, job_id in self._users.jobs.items():
            job = self.plan.jobs[index]
            if job.step is None or not job.is_fixed:
                continue
            row = self.disk.observer.execute(
                "SELECT next_due_at, schedule_mode FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()
            following = checks.moment_of(row[0])
            # Catching up on all of an outage is paced.
            if following < now - timedelta(seconds=2) and job.fields["misfire_policy"] != "all":
                self.witness.wrong(f"job {job_id} has been due since {following:%H:%M:%S}, undecided")
            start = datetime.fromisoformat(row[1].split("/")[1])
            due = checks.Due(job_id, start, timedelta(seconds=job.step), following)
            checks.check_gaps(self.witness, self.disk.observer, due)

    def _check_outcomes(self) -> None:
        """Every outcome is true."""
        for index, job_id in self._users.jobs.items():
            if job_id in self.witness.deleted:
                continue
            job = self.plan.jobs[index]
            policies = checks.Policies(
                job.fields["concurrency_policy"],
                job.fields["misfire_policy"],
                self._times_of,
                may_expire=not job.is_fixed,
            )
            checks.check_outcomes(self.witness, self.disk.observer, job_id, policies)

    def _times_of(self, moment: datetime) -> list[float]:
        """When a time of the machines' clocks may have been, in seconds of the simulation."""
        offsets = dict.fromkeys(offset for machine in self.machines for offset in machine.clock.offsets)
        return [(moment - BEGIN).total_seconds() - offset for offset in offsets]

    def _check_the_rest(self) -> None:
        checks.check_runs(self.witness, self.disk.observer)
        checks.check_messages(self.witness, self.disk.observer)
        for container in self._host.containers.values():
            self.witness.wrong(f"container {container.handle.name} is left")
