"""Machines with a daemon each, which boots, stops, dies and is frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from scheduler.access.passwords import Passwords
from scheduler.daemon import Daemon
from scheduler.domain.errors import SettingsError
from scheduler.process.data_dir import INSTANCE_FILE, LOCK_FILE
from scheduler.secrets.keys import KEY_FILE
from scheduler.service import Service
from scheduler.settings.settings import Settings
from tests.simulation.checks import Span, Witness
from tests.simulation.disk import Disk
from tests.simulation.engine import Client, Network
from tests.simulation.host import Host
from tests.simulation.loop import WORLD, Process, SimulatedLoop, spawn
from tests.simulation.receiver import Receiver, SimulatedPoster

BEGIN: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
#: Seconds before a daemon that could not start is started again, and in which one stops that is asked to.
START_AGAIN: Final = 1.0
STOP_LIMIT: Final = 120.0
#: A key for the secrets of every daemon on the one database.
KEY: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"


class WallClock:
    """The wall clock of one machine; implements `scheduler.domain.clock.Clock`.

    Attributes:
        offset: how far it is ahead, in seconds.
        offsets: how far it was ahead at any time.
    """

    def __init__(self, loop: SimulatedLoop, offset: float = 0.0) -> None:
        self._loop = loop
        self.offset = offset
        self.offsets = [offset]

    def set(self, by: float) -> None:
        """Set it forward, or back."""
        self.offset += by
        self.offsets.append(self.offset)

    def now(self) -> datetime:
        """The wall clock's time."""
        return BEGIN + timedelta(microseconds=round((self._loop.time() + self.offset) * 1e6))

    def steady(self) -> float:
        """Seconds since the world began."""
        return self._loop.time()


@dataclass(slots=True)
class Surroundings:
    """What all machines of a world share."""

    loop: SimulatedLoop
    disk: Disk
    host: Host
    engine_clock: WallClock
    receiver: Receiver
    witness: Witness
    note: Callable[[str], None]
    settings: dict[str, Any] = field(default_factory=dict)


class Machine:
    """A machine with a daemon.

    Attributes:
        index: its number.
        clock: its wall clock.
        network: its connection to the engine.
        process: of its daemon; None while none runs.
        service: the daemon's use cases; None while it does not answer.
        countdown: after how many further steps it dies, and for how many seconds; None if it does not.
    """

    def __init__(
        self, index: int, folder: Path, clock: WallClock, network: Network, around: Surroundings
    ) -> None:
        self.index = index
        self.clock = clock
        self.network = network
        self.process: Process | None = None
        self.service: Service | None = None
        self.countdown: tuple[int, float] | None = None
        self.buried: list[Process] = []
        self._folder = folder
        self._around = around
        self._daemon: Daemon | None = None
        self._lives = 0
        self._outage: Span | None = None
        folder.mkdir(mode=0o700)
        (folder / KEY_FILE).write_text(KEY)
        (folder / KEY_FILE).chmod(0o600)
        (folder / INSTANCE_FILE).write_text(f"daemon-{index}\n")

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self.service is not None and self.process is not None and not self.process.is_frozen

    def boot(self) -> None:
        """Start a daemon."""
        self._lives += 1
        self.process = process = Process(f"daemon {self.index}.{self._lives}")
        self._around.loop.add(process)
        self._begin_outage()
        spawn(process, self._live(process))

    async def _live(self, process: Process) -> None:
        around = self._around
        settings = Settings(
            data_dir=self._folder,
            host="127.0.0.1",
            database_url=f"sqlite:///{around.disk.path}",
            **around.settings,
        )
        daemon = Daemon(
            settings,
            self.clock,
            make_engine=lambda *_: Client(around.host, self.network),
            passwords=Passwords(1, 8),
            make_poster=lambda policy, **_: SimulatedPoster(around.receiver, policy),
        )
        try:
            self.service, _ = await daemon.start()
        except SettingsError as error:
            around.note(
                f"{process.name} could not start: {str(error).replace(str(self._folder.parent), '…')}"
            )
            with suppress(Exception):
                await daemon.stop()
            spawn(WORLD, self._boot_later(process))
            return
        self._daemon = daemon
        self._end_outage()
        around.note(f"{process.name} is up")
        await daemon.failed.wait()
        around.witness.wrong(f"{process.name} failed: {daemon.failure!r}")

    async def _boot_later(self, process: Process) -> None:
        await asyncio.sleep(START_AGAIN)
        if self.process is process:
            self.kill()
            self.boot()

    def kill(self) -> None:
        """The daemon is gone from one step to the next."""
        process = self.process
        if process is None:
            return
        self._around.note(f"{process.name} dies")
        self._begin_outage()
        self._around.loop.kill(process)
        self._around.disk.disconnect(process)
        self.buried.append(process)
        self.process = self.service = self._daemon = self.countdown = None
        (self._folder / LOCK_FILE).unlink(missing_ok=True)  # the lock of a dead process is free

    async def stop(self) -> None:
        """Stop the daemon as an operator does."""
        process, daemon = self.process, self._daemon
        if process is None or daemon is None:
            return
        self._begin_outage()
        self.service = None
        stopping = spawn(process, daemon.stop())
        done, _ = await asyncio.wait((stopping,), timeout=STOP_LIMIT)
        if self.process is process:
            if not done:
                self._around.witness.wrong(f"{process.name} does not stop")
            self.kill()

    def freeze(self) -> Callable[[], None] | None:
        """Stop the process where it is; returns what lets it continue, or None if there is none."""
        process = self.process
        if process is None:
            return None
        self._begin_outage()
        process.is_frozen = True

        def thaw() -> None:
            process.is_frozen = False
            if self.process is process and self.service is not None:
                self._end_outage()

        return thaw

    def _begin_outage(self) -> None:
        if self._outage is None:
            self._outage = Span(self._around.loop.time())
            self._around.witness.outages.append((self.index, self._outage))

    def _end_outage(self) -> None:
        if self._outage is not None:
            self._outage.end = self._around.loop.time()
            self._outage = None
