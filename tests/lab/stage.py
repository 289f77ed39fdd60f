"""A daemon on an engine in memory that outlives it, with little patience."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from scheduler.access.callers import Caller, Role
from scheduler.daemon import Daemon
from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.domain.job import Job
from scheduler.domain.secret_files import SecretFile
from scheduler.domain.stream import Stream
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import Handle, LaunchSpec, RunState
from scheduler.logs.chunks import STREAM_BITS, decode
from scheduler.service import Service
from scheduler.settings.settings import Settings
from scheduler.store import execs
from scheduler.store import logs as stored_logs
from scheduler.store.logs import ChunkRow
from tests.lab.fake_engine import FAKE_IMAGE, FakeContainer, FakeEngine
from tests.lab.fake_programs import FakeProcess

T = TypeVar("T")

PATIENCE = 60.0
ADMIN = Caller("admin", None, Role.ADMIN)


class LastingEngine(FakeEngine):
    """An engine that outlives its daemons, whose calls can be held, and which can die and forget what it started.

    Attributes:
        hold_at: this call, counted from 0, does not return; None for none.
        held: set when a call is held.
        let_go: set it to let the held call return.
        starts: how often each command was started.
        stays_down: whether it is unreachable once it has died, instead of coming back at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold_at: int | None = None
        self.held = asyncio.Event()
        self.let_go = asyncio.Event()
        self.starts: list[tuple[str, ...]] = []
        self.counted = 0
        self.stays_down = False
        self._dies_at: int | str | None = None
        self._dies_after = False
        self._is_dying = False
        self._forgotten: list[FakeContainer] = []
        self._made_before: set[str] = set()

    def die_at(self, call: int | str, *, takes_effect: bool) -> None:
        """Die once, at a call by count or at the next one of that name, before or after it has taken effect."""
        self._dies_at, self._dies_after = call, takes_effect

    def forget_starts(self) -> None:
        """Take all that runs for never started, as an engine does that was killed before it noted a start."""
        self._made_before = set(self.containers)
        for key, container in self.containers.items():
            if container.status.state is RunState.RUNNING:
                self._forgotten.append(container)
                status = replace(container.status, state=RunState.CREATED, started_at=None)
                self.containers[key] = FakeContainer(
                    container.spec,
                    container.handle,
                    container.installation,
                    status,
                    frames=list(container.frames),
                )

    async def has_created(self, handle: Handle) -> bool:
        """Not what was there when it died."""
        return await super().has_created(handle) and handle.engine_id not in self._made_before

    async def create(self, spec: LaunchSpec) -> Handle:
        """Also if it dies over it."""
        return await self._or_die(super().create(spec))

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Also if it dies over it."""
        await self._or_die(super().start(handle, files, before=before))

    async def remove(self, handle: Handle) -> None:
        """Also if it dies over it."""
        await self._or_die(super().remove(handle))

    async def close(self) -> None:
        """Its containers go on: only the daemon's connection is closed."""

    async def end(self) -> None:
        """End every program, so that no task outlives the test."""
        for container in self._forgotten:
            await self._kill(container)
        await super().close()

    async def _enter(self, method: str) -> None:
        await super()._enter(method)
        if method in ("events", "profile", "capacity", "list_ours", "ping"):
            return
        self.counted += 1
        if self.hold_at == self.counted - 1:
            self.held.set()
            await self.let_go.wait()
        if self._dies_at in (method, self.counted - 1):
            self._dies_at = None
            self._is_dying = self._dies_after and method in ("create", "start", "remove")
            if not self._is_dying:
                self._die()

    async def _or_die(self, call: Awaitable[T]) -> T:
        try:
            return await call
        finally:
            if self._is_dying:
                self._is_dying = False
                await asyncio.sleep(0.005)  # a program that was started has its first turn
                self._die()

    def _die(self) -> None:
        self.forget_starts()
        self.break_streams()
        self.down = self.stays_down
        raise EngineUnavailableError("the engine died")


@dataclass
class Stage:
    """A data directory, an engine, and the daemon of the moment."""

    folder: Path
    engine: LastingEngine = field(default_factory=LastingEngine)
    daemon: Daemon | None = None
    service: Service | None = None
    job: Job | None = None

    async def start(self) -> None:
        """Start a daemon."""
        self.daemon = Daemon(
            Settings(data_dir=self.folder, host="127.0.0.1"), make_engine=lambda *_: self.engine
        )
        self.service, _ = await self.daemon.start()

    async def stop(self) -> None:
        """Stop it; a defect of a part of it fails the test."""
        if self.daemon is not None:
            daemon, self.daemon = self.daemon, None
            async with asyncio.timeout(PATIENCE):
                await daemon.stop()
            assert daemon.failure is None, daemon.failure

    async def create(self, *command: str, **fields: Any) -> None:
        """Create the job that `trigger` runs."""
        repository, tag = FAKE_IMAGE.split(":")
        assert self.service is not None
        given = {"docker_image_repo": repository, "docker_image_tag": tag, "command": list(command)}
        self.job = (await self.service.jobs.create(ADMIN, {"name": "job", **given, **fields})).job

    async def trigger(self) -> str:
        """Make a run and answer its id."""
        assert self.service is not None
        assert self.job is not None
        return (await self.service.execs.trigger(ADMIN, str(self.job.id))).exec.id

    async def first_exec(self) -> str:
        """The id of the job's oldest run."""
        assert self.daemon is not None
        assert self.job is not None
        job_id = self.job.id
        _, found = await self.service._parts.database.read(
            lambda connection: execs.page(connection, job_id=job_id, offset=0, limit=1000)
        )
        return found[-1].id

    async def stored(self, exec_id: str) -> Exec:
        """The run as it is stored."""
        assert self.daemon is not None
        found = await self.service._parts.database.read(lambda connection: execs.get(connection, exec_id))
        assert found is not None
        return found

    async def ended(self, exec_id: str) -> Exec:
        """The run once it has ended."""
        async with asyncio.timeout(PATIENCE):
            while (one := await self.stored(exec_id)).ended_at is None:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.005)
        return one

    async def until(self, done: Callable[[], bool]) -> None:
        """Return when it is so."""
        async with asyncio.timeout(PATIENCE):
            while not done():  # noqa: ASYNC110 - the engine in memory has no event for it
                await asyncio.sleep(0.002)

    async def output(self, exec_id: str, stream: Stream = Stream.STDOUT) -> bytes:
        """All that is stored of one of the run's streams."""
        rows = await self._chunks(exec_id)
        frames = [frame for row in rows for frame in decode(row.data)]
        return b"".join(frame.data for frame in frames if frame.kind & STREAM_BITS == stream)

    async def reaches(self, exec_id: str) -> list[datetime]:
        """From when to when each chunk of the run's log goes."""
        return [moment for row in await self._chunks(exec_id) for moment in (row.first_at, row.last_at)]

    async def _chunks(self, exec_id: str) -> list[ChunkRow]:
        def work(connection: Any) -> list[ChunkRow]:
            extent = stored_logs.extent(connection, exec_id)
            assert extent is not None
            return list(
                stored_logs.chunks(connection, exec_id, extent.first_seq, extent.last_seq, 0b111, limit=1000)
            )

        assert self.daemon is not None
        return await self.service._parts.database.read(work)


def speaks(stage: Stage, pieces: int = 6) -> None:
    """Give the engine a program that prints numbered lines with pauses, and counts its starts."""

    async def program(process: FakeProcess) -> int:
        stage.engine.starts.append(("speak",))
        for number in range(pieces):
            process.out(b"%d\n" % number)
            await asyncio.sleep(0.005)
        return 3

    stage.engine.programs["speak",] = program


SPOKEN = b"".join(b"%d\n" % number for number in range(6))


async def check(stage: Stage, exec_id: str) -> None:
    """The run ended with its own exit code, ran once, was heard in full, and left nothing behind."""
    one = await stage.ended(exec_id)
    assert (one.status, one.exit_code, one.fail_reason) == (ExecStatus.FAILED, 3, FailReason.EXIT_CODE)
    assert stage.engine.starts == [("speak",)]
    assert await stage.output(exec_id) == SPOKEN
    await stage.until(lambda: not stage.engine.containers)


def waiting(stage: Stage) -> list[str]:
    """The ids of all runs that are stored, in their order."""
    with closing(sqlite3.connect(stage.folder / "timeball.db")) as database:
        return [str(row[0]) for row in database.execute("SELECT id FROM execs ORDER BY id")]
