"""The faults of a simulated world. Each ends by itself after some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tests.simulation.checks import Span
from tests.simulation.committed import Ledger
from tests.simulation.engine import CALL_LIMIT
from tests.simulation.loop import WORLD, Process, spawn
from tests.simulation.machines import Machine, Surroundings

#: Seconds after a fault within which what was asked for during it may still arrive.
LATEST = 2 * CALL_LIMIT


class Faults:
    """What can go wrong.

    Args:
        machines: with the daemons.
        around: the rest of the world.
        ledger: what was seen of the database.
    """

    def __init__(self, machines: Sequence[Machine], around: Surroundings, ledger: Ledger) -> None:
        self._machines = machines
        self._around = around
        self._ledger = ledger
        self._going = 0

    @property
    def are_over(self) -> bool:
        """Whether every fault has ended and every daemon answers."""
        return self._going == 0 and all(machine.is_running for machine in self._machines)

    def stop(self) -> None:
        """Let nothing new happen."""
        self._around.host.dies_at_start = None
        for machine in self._machines:
            machine.countdown = None

    def count_down(self, process: Process) -> None:
        """Count a step of a process, which may be its last."""
        for machine in self._machines:
            if machine.process is process and machine.countdown is not None:
                left, seconds = machine.countdown
                machine.countdown = left - 1, seconds
                if left <= 1:
                    self._crash(machine, seconds)

    def _later(self, seconds: float, what: Callable[[], Awaitable[None] | None]) -> None:
        self._going += 1

        async def work() -> None:
            await asyncio.sleep(seconds)
            if (more := what()) is not None:
                await more
            self._going -= 1

        spawn(WORLD, work())

    def _excuse(self, kind: str, seconds: float) -> None:
        """Note that runs may be lost from now on until some seconds after the fault: requests arrive late."""
        now = self._around.loop.time()
        self._around.witness.excuses.append((kind, Span(now, now + seconds + LATEST)))

    # ---- daemons ------------------------------------------------------------------------------------------

    def _crash(self, machine: Machine, seconds: float) -> None:
        if machine.process is None:
            return
        self._leave_alone(seconds)
        machine.kill()
        self._later(seconds, lambda: None if machine.process is not None else machine.boot())

    def _leave_alone(self, seconds: float) -> None:
        """Note that other daemons may take over."""
        if len(self._machines) > 1:
            self._excuse("another daemon", seconds)

    async def crash(self, daemon: int, seconds: float) -> None:
        """A daemon dies, and is started again."""
        self._crash(self._machines[daemon], seconds)

    async def crash_soon(self, daemon: int, steps: int, seconds: float) -> None:
        """A daemon dies after so many further steps."""
        machine = self._machines[daemon]
        if machine.process is not None:
            machine.countdown = steps, seconds

    async def restart(self, daemon: int, seconds: float) -> None:
        """An operator stops a daemon, and starts it again."""
        machine = self._machines[daemon]
        self._leave_alone(seconds)

        async def work() -> None:
            await machine.stop()
            await asyncio.sleep(seconds)
            if machine.process is None:
                machine.boot()

        self._later(0.0, work)

    async def freeze(self, daemon: int, seconds: float) -> None:
        """A daemon is stopped by SIGSTOP, and continues."""
        self._leave_alone(seconds)
        if (thaw := self._machines[daemon].freeze()) is not None:
            self._later(seconds, thaw)

    async def cut_power(self, engine: bool, seconds: float) -> None:
        """The power of the daemons and their database fails, and of the engine if it is on the same machine.

        What was not synced may be lost.
        """
        if engine:
            await self.engine_dies(seconds)
        for machine in self._machines:
            self._crash(machine, seconds)
        self._around.disk.cut_power()
        self._ledger.lose_power()

    async def set_clock(self, daemon: int, alone: bool, by: float, seconds: float) -> None:
        """The clock of a machine is set, and that of the others, too, or only later."""
        now = self._around.loop.time()
        self._around.witness.outages.append((None, Span(now - abs(by), now + abs(by) + seconds)))
        self._leave_alone(seconds)
        others = [machine for machine in self._machines if machine.index != daemon]

        def set_others() -> None:
            for machine in others:
                machine.clock.set(by)

        self._machines[daemon].clock.set(by)
        if alone:
            self._later(seconds, set_others)
        else:
            set_others()

    async def set_engine_clock(self, by: float, seconds: float) -> None:
        """The clock of the engine's machine is set, and set back later."""
        self._around.engine_clock.set(by)
        self._later(seconds, lambda: self._around.engine_clock.set(-by))

    # ---- the engine and the way to it ---------------------------------------------------------------------

    async def engine_dies(self, seconds: float) -> None:
        """The engine is killed, and started again."""
        self._excuse("engine_dies", seconds)
        self._around.host.die()
        self._later(seconds, self._around.host.come_back)

    async def engine_dies_at_start(self, start: int, takes_effect: bool, seconds: float) -> None:
        """The engine dies over one of the next starts."""
        host = self._around.host

        def come_back_later() -> None:
            self._excuse("engine_dies_at_start", seconds)
            self._later(seconds, host.come_back)

        host.die_at_start(start, takes_effect=takes_effect, then=come_back_later)

    async def engine_hangs(self, seconds: float) -> None:
        """The engine accepts requests and does not answer."""
        self._excuse("engine_hangs", seconds)
        self._around.host.hang()
        self._later(seconds, self._around.host.answer_again)

    async def network_fails(self, lost: float, late: float, seconds: float) -> None:
        """Requests and answers are lost, or late."""
        self._excuse("network_fails", seconds)

        def fail(lost: float, late: float) -> None:
            for machine in self._machines:
                machine.network.lost, machine.network.late = lost, late

        fail(lost, late)
        self._later(seconds, lambda: fail(0.0, 0.0))

    async def network_cut(self, daemon: int, seconds: float) -> None:
        """A daemon cannot reach the engine, and its connections break."""
        self._excuse("network_cut", seconds)
        network = self._machines[daemon].network
        network.cut()
        self._later(seconds, network.join)

    async def events_fail(self, unheard: float, doubled: float, seconds: float) -> None:
        """Events do not arrive, or arrive twice."""

        def fail(unheard: float, doubled: float) -> None:
            for machine in self._machines:
                machine.network.unheard, machine.network.doubled = unheard, doubled

        fail(unheard, doubled)
        self._later(seconds, lambda: fail(0.0, 0.0))

    # ---- the database and the receiver --------------------------------------------------------------------

    async def database_fails(self, trouble: str, at_commit: bool, seconds: float) -> None:
        """No transaction succeeds."""
        outage = Span(self._around.loop.time())
        self._around.witness.outages.append((None, outage))
        disk = self._around.disk
        disk.trouble, disk.at_commit = trouble, at_commit

        def work() -> None:
            disk.trouble = None
            outage.end = self._around.loop.time()

        self._later(seconds, work)

    async def database_hangs(self, seconds: float) -> None:
        """No transaction begins for a while; those that were asked for take effect later."""
        loop = self._around.loop
        outage = Span(loop.time(), loop.time() + seconds)
        self._around.witness.outages.append((None, outage))
        loop.blocked_until = outage.end
        self._later(seconds, lambda: None)

    async def receiver_fails(self, how: str, seconds: float) -> None:
        """The receiver of webhooks fails."""
        self._around.receiver.fails = how

        def work() -> None:
            self._around.receiver.fails = None

        self._later(seconds, work)
