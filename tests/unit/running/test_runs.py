"""Runs on an engine in memory that fails, hangs or breaks off at each single call: the end is the same."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from scheduler.access.callers import Caller, Role
from scheduler.daemon import Daemon
from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.domain.job import Job
from scheduler.domain.stream import Stream
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import RunState
from scheduler.logs.chunks import STREAM_BITS, decode
from scheduler.running import orphans, recording, regions, run
from scheduler.service import Service
from scheduler.settings.settings import Settings
from scheduler.store import execs
from scheduler.store import logs as stored_logs
from scheduler.store.database import Database
from scheduler.store.logs import ChunkRow
from scheduler.store.migrate import migrate
from tests.lab.fake_engine import FAKE_IMAGE, FakeEngine
from tests.lab.fake_programs import FakeProcess, waits, waits_for_stop

PATIENCE = 60.0
ADMIN = Caller("admin", None, Role.ADMIN)
#: The calls that bring a run from nothing to its end.
CALLS = ("ensure_image", "create", "attach", "start", "inspect", "remove")


class LastingEngine(FakeEngine):
    """An engine that outlives its daemons, and whose calls can be held at a certain one.

    Attributes:
        hold_at: this call, counted from 0, does not return; None for none.
        held: set when a call is held.
        starts: how often each command was started.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold_at: int | None = None
        self.held = asyncio.Event()
        self.starts: list[tuple[str, ...]] = []
        self.counted = 0

    async def close(self) -> None:
        """Its containers go on: only the daemon's connection is closed."""

    async def end(self) -> None:
        """End every program, so that no task outlives the test."""
        await super().close()

    async def _enter(self, method: str) -> None:
        await super()._enter(method)
        if method in ("events", "profile", "capacity", "list_ours", "ping"):
            return
        self.counted += 1
        if self.hold_at == self.counted - 1:
            self.held.set()
            await asyncio.Event().wait()


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


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("database") / "timeball.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    asyncio.run(database.close())
    return path


@pytest.fixture
async def stage(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A started daemon on an engine in memory, with little patience."""
    shutil.copy(migrated, tmp_path / "timeball.db")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(run, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(recording, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(run, "INSPECT_INTERVAL", 0.1)
    monkeypatch.setattr(regions, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(orphans, "INTERVAL", 0.05)
    made = Stage(tmp_path)
    await made.start()
    yield made
    await made.stop()
    await made.engine.end()


def _speaks(stage: Stage, pieces: int = 6) -> None:
    """Give the engine a program that prints numbered lines with pauses, and counts its starts."""

    async def program(process: FakeProcess) -> int:
        stage.engine.starts.append(("speak",))
        for number in range(pieces):
            process.out(b"%d\n" % number)
            await asyncio.sleep(0.005)
        return 3

    stage.engine.programs["speak",] = program


SPOKEN = b"".join(b"%d\n" % number for number in range(6))


async def _check(stage: Stage, exec_id: str) -> None:
    """The run ended with its own exit code, ran once, was heard in full, and left nothing behind."""
    one = await stage.ended(exec_id)
    assert (one.status, one.exit_code, one.fail_reason) == (ExecStatus.FAILED, 3, FailReason.EXIT_CODE)
    assert stage.engine.starts == [("speak",)]
    assert await stage.output(exec_id) == SPOKEN
    await stage.until(lambda: not stage.engine.containers)


@pytest.mark.parametrize("call", [*CALLS, "find", "logs"])
async def test_a_call_that_fails_once_changes_nothing_about_the_run(stage: Stage, call: str) -> None:
    """Whichever call it is: the run is looked at again, and goes on from where it was."""
    _speaks(stage)
    await stage.create("speak")
    # The first call fails as well, so that the calls which look for what is there come about.
    stage.engine.failures = {"create": [EngineUnavailableError("no answer")]}
    stage.engine.failures.setdefault(call, []).append(EngineUnavailableError("no answer"))

    await _check(stage, await stage.trigger())


@pytest.mark.parametrize("silently", [True, False])
async def test_a_stream_that_breaks_is_made_good_from_the_engines_log(stage: Stage, silently: bool) -> None:
    """Also when it seems to have ended well: a stream's end is not a container's end."""
    _speaks(stage, pieces=6)
    await stage.create("speak")
    exec_id = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.starts))
    stage.engine.break_streams(silently=silently)

    await _check(stage, exec_id)


@pytest.mark.parametrize("minutes", [-60, 60])
async def test_an_engine_whose_clock_is_wrong_hides_no_break_of_its_streams(
    stage: Stage, minutes: int
) -> None:
    """The container ends after the break, but by its engine's clock an hour before; or long after it."""
    stage.engine.set_clock(lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    _speaks(stage)
    await stage.create("speak")
    exec_id = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.starts))
    stage.engine.break_streams(silently=True, events=False)

    await _check(stage, exec_id)
    assert "logs" in stage.engine.calls
    reaches = await stage.reaches(exec_id)
    assert reaches == sorted(reaches)
    assert reaches[-1] <= datetime.now(UTC)


async def test_output_that_came_whole_is_not_read_again(stage: Stage) -> None:
    """Whatever the engine's clock says."""
    stage.engine.set_clock(lambda: datetime.now(UTC) + timedelta(minutes=60))
    _speaks(stage)
    await stage.create("speak")
    await _check(stage, await stage.trigger())
    assert "logs" not in stage.engine.calls


async def test_a_time_limit_holds_after_the_stream_has_ended_early(stage: Stage) -> None:
    """Nothing more is heard of the container, and it is stopped all the same."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=143)
    await stage.create("wait", timeout_seconds=1)
    exec_id = await stage.trigger()
    await stage.until(lambda: "logs" in stage.engine.calls or "start" in stage.engine.calls)
    stage.engine.break_streams(silently=True)

    one = await stage.ended(exec_id)
    assert one.fail_reason is FailReason.TIMEOUT
    assert await stage.output(exec_id) == b"up\ndown\n"


@pytest.mark.parametrize("step", range(9))
async def test_a_daemon_that_stops_at_any_call_leaves_the_run_to_the_next(stage: Stage, step: int) -> None:
    """The call is held while the daemon goes, as a slow engine would hold it."""
    _speaks(stage)
    await stage.create("speak")
    stage.engine.hold_at = stage.engine.counted + step
    exec_id = await stage.trigger()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await stage.engine.held.wait()
    await stage.stop()
    stage.engine.hold_at = None
    await stage.start()

    await _check(stage, exec_id)


async def test_a_container_that_cannot_be_removed_now_is_removed_later(stage: Stage) -> None:
    """The run has ended and gives its capacity back; the container is an orphan until the engine can."""
    _speaks(stage)
    await stage.create("speak")
    stage.engine.failures = {"remove": [EngineUnavailableError("device or resource busy")] * 3}

    await _check(stage, await stage.trigger())


async def test_a_container_that_cannot_be_removed_does_not_keep_the_region_down(stage: Stage) -> None:
    """Orphans are no reason to run nothing."""
    _speaks(stage)
    await stage.create("speak")
    await stage.stop()
    stage.engine.failures = {"list_ours": [EngineUnavailableError("timeout")] * 2}
    await stage.start()

    await _check(stage, await stage.trigger())


async def test_a_start_that_fails_is_recorded_once_even_if_the_container_stays(stage: Stage) -> None:
    """It is not started again when its removal was refused."""
    await stage.create("no-such-command")
    stage.engine.failures = {"remove": [EngineUnavailableError("busy")] * 2}
    exec_id = await stage.trigger()

    assert (await stage.ended(exec_id)).fail_reason is FailReason.START_FAILED
    await stage.until(lambda: not stage.engine.containers)
    assert stage.engine.calls.count("start") == 1


async def test_a_container_that_is_taken_away_before_its_start_is_made_anew(stage: Stage) -> None:
    """It has not run, so nothing runs twice."""
    _speaks(stage)
    await stage.create("speak")
    stage.engine.hold_at = stage.engine.counted + 2  # to attach
    exec_id = await stage.trigger()
    await stage.engine.held.wait()
    await stage.stop()
    stage.engine.hold_at = None
    stage.engine.containers.clear()
    await stage.start()

    await _check(stage, exec_id)


async def test_deleting_a_run_that_is_being_stopped_patiently_does_not_wait_for_that(stage: Stage) -> None:
    """The grace period of the deletion counts from the deletion on."""
    stage.engine.programs["hang",] = waits(out=b"hanging\n")
    await stage.create("hang", stop_grace_seconds=600)
    exec_id = await stage.trigger()
    assert stage.service is not None
    assert stage.job is not None
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    await stage.service.execs.stop(ADMIN, str(stage.job.id), exec_id)
    await stage.until(lambda: "stop" in stage.engine.calls)

    async with asyncio.timeout(PATIENCE):
        await stage.service.jobs.delete(ADMIN, str(stage.job.id))
    assert not stage.engine.containers


async def test_deleting_a_run_of_an_engine_that_is_away_does_not_wait_for_it(stage: Stage) -> None:
    """Its container is removed when the engine is back."""
    stage.engine.programs["hang",] = waits(out=b"hanging\n")
    await stage.create("hang")
    await stage.trigger()
    assert stage.service is not None
    assert stage.job is not None
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    stage.engine.down = True
    stage.engine.break_streams()

    async with asyncio.timeout(PATIENCE):
        await stage.service.jobs.delete(ADMIN, str(stage.job.id))
    assert stage.engine.containers
    stage.engine.down = False
    await stage.until(lambda: not stage.engine.containers)


async def test_runs_that_were_missed_start_in_the_order_of_their_due_times(stage: Stage) -> None:
    """Also those that the next daemon reads from the database."""
    _speaks(stage)
    await stage.create(
        "speak",
        concurrency_policy="queue",
        misfire_policy="all",
        is_schedule_active=True,
        schedule_mode="R/2020-01-01T00:00:00Z/PT1H",
    )
    await stage.stop()
    with closing(sqlite3.connect(stage.folder / "timeball.db")) as database, database:
        database.execute("UPDATE jobs SET next_due_at = next_due_at - ?", (10 * 3600 * 10**6,))
    stage.engine.down = True
    await stage.start()
    await stage.until(lambda: len(_waiting(stage)) >= 10)
    await stage.stop()
    stage.engine.down = False
    await stage.start()

    ended = [await stage.ended(exec_id) for exec_id in _waiting(stage)]
    in_turn = sorted(ended, key=lambda one: one.started_at or one.created_at)
    due = [one.scheduled_for for one in in_turn if one.scheduled_for is not None]
    assert due == sorted(due)
    assert len(due) >= 10
    ends = [(one.started_at, one.ended_at) for one in in_turn]
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(ends) if earlier[1] and later[0])


def _waiting(stage: Stage) -> list[str]:
    with closing(sqlite3.connect(stage.folder / "timeball.db")) as database:
        return [str(row[0]) for row in database.execute("SELECT id FROM execs ORDER BY id")]


async def test_a_stop_that_the_engine_did_not_take_is_asked_for_again(stage: Stage) -> None:
    """The wish stays until the container has ended."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=143)
    await stage.create("wait")
    stage.engine.failures = {"stop": [EngineUnavailableError("no answer")] * 2}
    exec_id = await stage.trigger()
    await stage.until(
        lambda: any(c.status.state is RunState.RUNNING for c in stage.engine.containers.values())
    )
    assert stage.service is not None
    assert stage.job is not None
    await stage.service.execs.stop(ADMIN, str(stage.job.id), exec_id)

    one = await stage.ended(exec_id)
    assert (one.status, one.exit_code) == (ExecStatus.CANCELLED, 143)
    assert await stage.output(exec_id) == b"up\ndown\n"
    assert stage.engine.calls.count("stop") == 3


async def test_a_stop_that_comes_while_the_end_is_decided_prevents_the_next_attempt(stage: Stage) -> None:
    """As one that another daemon has taken: this one has not heard of it when it writes the end down."""
    failing = asyncio.Event()
    stage.engine.programs["fail",] = waits(failing, out=b"up\n", exit_code=3)
    await stage.create("fail", max_retries=3, retry_backoff_seconds=0)
    exec_id = await stage.trigger()
    assert stage.daemon is not None
    async with asyncio.timeout(PATIENCE):
        while (one := await stage.stored(exec_id)).status is not ExecStatus.RUNNING:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)
    now = datetime.now(UTC)
    await stage.service._parts.database.write(
        lambda c: execs.stop(c, one, now=now, reason="requested by ada")
    )
    failing.set()

    one = await stage.ended(exec_id)
    assert (one.status, one.exit_code, one.fail_reason) == (ExecStatus.CANCELLED, 3, None)
    assert one.error == "The run was stopped: requested by ada."
    assert await stage.first_exec() == exec_id == _waiting(stage)[-1]
    assert (await stage.output(exec_id, Stream.SYSTEM)).endswith(b"there will be no further attempt\n")
    assert await stage.output(exec_id) == b"up\n"
