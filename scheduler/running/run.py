"""Looks after one run, from its dispatch to its recorded end.

Every step asks first what is so on the engine and goes on from there: a fresh run, one that an earlier daemon
left behind and one whose engine went away in between all take the same path. What the engine cannot answer now
is asked again when it is back; a container is never started a second time to be safe.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from sqlalchemy.engine import Connection

from scheduler.clock import Clock
from scheduler.drafting import draft_retry
from scheduler.engine.errors import (
    EngineUnavailableError,
    ImageMissingError,
    ImagePullError,
    LaunchError,
    RunGoneError,
)
from scheduler.engine.protocol import FrameStream, Handle, LaunchSpec, RunState, RunStatus
from scheduler.errors import UnavailableError
from scheduler.execution import FINAL_STATUSES, Exec, ExecStatus, FailReason
from scheduler.job import command_words
from scheduler.logs.capture import Capture
from scheduler.logs.hub import CaptureHub
from scheduler.logs.recovering import read_on
from scheduler.metrics import DEFECTS, ENDED, LAUNCH, LOG_BYTES
from scheduler.running.decide import End, StopCause, end_of, lost, retry_at
from scheduler.running.regions import Region
from scheduler.store import execs
from scheduler.store import logs as stored_logs
from scheduler.store.database import Database

log = structlog.get_logger()
T = TypeVar("T")

#: Seconds that output may still take to arrive after the engine said that the container has ended.
DRAIN_LIMIT = 10.0
#: Seconds between looks at a container of which nothing is heard; events come sooner.
INSPECT_INTERVAL = 5.0
#: Seconds before something is tried again that the database or the engine refused.
RETRY_INTERVAL = 0.5
#: The longest pause before a run that failed by a defect of ours is taken up again.
LONGEST_DEFECT_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every run is given.

    Attributes:
        on_retry: is told of the next attempt that a run's end has recorded.
    """

    database: Database
    clock: Clock
    hub: CaptureHub
    pids_limit: int
    on_retry: Callable[[Exec], None]


class RunDiscardedError(Exception):
    """The exec was deleted or settled elsewhere: nothing more is to be recorded about it."""


class Run:
    """One exec that is being looked after.

    Args:
        one: the exec, dispatched; its capacity is reserved in `region`.
        region: where it runs.
        surroundings: the daemon's parts.
        fresh: whether it is certain that nothing was done for it on the engine yet.
    """

    def __init__(self, one: Exec, region: Region, surroundings: Surroundings, *, fresh: bool) -> None:
        self.exec = one
        self._region = region
        self._with = surroundings
        self._fresh = fresh
        self._log = log.bind(exec=one.id, job=one.job_id)
        self._stop = asyncio.Event()
        self._cause: StopCause | None = None
        self._discard_grace: int | None = None
        self._capture: Capture | None = None
        self._stopping: asyncio.Task[None] | None = None
        if one.stop_requested_at is not None:
            self.request_stop()

    @property
    def capture(self) -> Capture:
        """Where its output goes."""
        assert self._capture is not None  # noqa: S101 - opened before anything that can write
        return self._capture

    # ---- what others ask of it -------------------------------------------------------------------------

    def request_stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after its grace period; it ends as cancelled."""
        if self._cause is None:
            self._cause = StopCause.REQUEST
        self._stop.set()

    def discard(self, grace_seconds: int) -> None:
        """End it and record nothing more: its exec is being deleted."""
        self._discard_grace = grace_seconds
        self._cause = StopCause.REQUEST
        if self._capture is not None:
            self._capture.discard()
        self._stop.set()

    # ---- the loop --------------------------------------------------------------------------------------

    async def look_after(self) -> None:
        """Bring the run to its recorded end; returns when its container is removed."""
        self._capture = await self._retry_database(lambda: self._with.hub.open(self.exec.id))
        pause = RETRY_INTERVAL
        try:
            while True:
                if not self._region.up.is_set():
                    await self._region.up.wait()
                try:
                    await self._advance()
                except EngineUnavailableError as error:
                    self._fresh = False
                    self._forget_stopping()
                    self._log.info("run.engine_unavailable", error=str(error))
                    await asyncio.sleep(RETRY_INTERVAL)
                except (RunDiscardedError, asyncio.CancelledError):
                    raise
                except Exception as error:  # noqa: BLE001 - one run's defect must not end all the others
                    self._fresh = False
                    self._forget_stopping()
                    self._log.error("run.defect", exc_info=error)
                    DEFECTS.inc()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_DEFECT_PAUSE)
                else:
                    return
        except RunDiscardedError:
            await self._clear_away()
        finally:
            self._forget_stopping()
            self._region.forget(self.exec.id)
            await self._with.hub.close(self.exec.id)

    async def _advance(self) -> None:
        """Find out what is so, and go on from there to the end."""
        engine = self._region.engine
        handle = None if self._fresh else await engine.find(self.exec.id)
        status = RunStatus(state=RunState.GONE) if handle is None else await engine.inspect(handle)
        self._check_discarded()
        if handle is None or status.state is RunState.GONE:
            if self.exec.status is ExecStatus.RUNNING:
                await self._record(lost())
            else:
                await self._launch()
        elif status.state is RunState.CREATED:
            await self._start(handle)
        else:
            await self._mark_running(status)
            await self._resume(handle)

    # ---- starting --------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        """From nothing to the end."""
        one, engine = self.exec, self._region.engine
        self.capture.system(f"Start pulling image: {one.spec.image}")
        try:
            image = await self._unless_stopped(
                engine.ensure_image(one.spec.image, one.spec.pull_policy, self.capture.system)
            )
            if image is None:
                await self._record(_cancelled_before_start())
                return
            self.exec = replace(self.exec, image_digest=image.digest)
            handle = await engine.create(_launch_spec(one, self._with.pids_limit))
        except (ImagePullError, ImageMissingError) as error:
            await self._fail_to_start(FailReason.IMAGE_PULL_FAILED, str(error))
        except LaunchError as error:
            await self._fail_to_start(FailReason.START_FAILED, str(error))
        else:
            await self._start(handle)

    async def _start(self, handle: Handle) -> None:
        """From a container that was never started to the end."""
        engine = self._region.engine
        if self._stop.is_set():
            self._check_discarded()
            await self._record(_cancelled_before_start())
            await engine.remove(handle)
            return
        ended = self._region.ended(self.exec.id)
        stream = await engine.attach(handle)
        async with stream:
            self.capture.system("Start running!")
            reading = asyncio.create_task(self._read(stream))
            try:
                self._observe_launch()
                try:
                    await engine.start(handle)
                except LaunchError as error:
                    await self._fail_to_start(FailReason.START_FAILED, str(error))
                    await engine.remove(handle)
                    return
                await self._mark_running(await engine.inspect(handle))
                await self._until(handle, reading, ended)
                status = await self._await_end(handle, ended)
                if await self._finish_reading(reading):
                    await self._settle(handle, status)
                    return
            finally:
                await _cancel(reading)
        # The stream broke off or never ended: what it did not bring stands in the engine's own log.
        await self._resume(handle)

    async def _finish_reading(self, reading: asyncio.Task[None]) -> bool:
        """Wait for the rest of an ended container's output; False if the stream does not end."""
        try:
            await asyncio.wait_for(asyncio.shield(reading), DRAIN_LIMIT)
        except TimeoutError:
            return False
        return True

    async def _read(self, stream: FrameStream) -> None:
        capture = self.capture
        async for frames in stream:
            capture.add_frames(frames)
            LOG_BYTES.inc(sum(len(frame.data) for frame in frames))
            await capture.room()

    async def _mark_running(self, status: RunStatus) -> None:
        """Record that the container was started, unless that is recorded."""
        if self.exec.status is not ExecStatus.WAITING:
            return
        fields: dict[str, Any] = {
            "started_at": status.started_at or self._with.clock.now(),
            "image_digest": self.exec.image_digest or status.image_id,
            "node": status.node,
        }
        await self._change(ExecStatus.RUNNING, fields)

    # ---- going on ----------------------------------------------------------------------------------------

    async def _resume(self, handle: Handle) -> None:
        """Read on from where the stored output ends, by the engine's own log, to the end."""
        engine = self._region.engine
        ended = self._region.ended(self.exec.id)
        while (await engine.inspect(handle)).state is RunState.RUNNING:
            reading = asyncio.create_task(self._read_log(handle, follow=True))
            try:
                await self._until(handle, reading, ended)
            finally:
                await _cancel(reading)
        status = await self._await_end(handle, ended)
        # Following may have stopped short (a rotated log, a broken connection); what is there now is all.
        with contextlib.suppress(RunGoneError):
            await self._read_log(handle, follow=False)
        await self._settle(handle, status)

    async def _read_log(self, handle: Handle, *, follow: bool) -> None:
        engine = self._region.engine
        await read_on(
            self.capture,
            lambda follow: engine.logs(handle, follow=follow, timestamps=True),
            follow=follow,
        )

    async def _until(self, handle: Handle, reading: asyncio.Task[None], ended: asyncio.Event) -> None:
        """Wait until the output or the container ends, stopping the container when that is asked or due."""
        waiting_for_end = asyncio.create_task(ended.wait())
        waiting_for_stop = asyncio.create_task(self._stop_or_timeout())
        try:
            while True:
                watched = {reading, waiting_for_end, waiting_for_stop}
                if self._stopping is not None:
                    watched -= {waiting_for_stop}
                done, _ = await asyncio.wait(
                    watched, timeout=INSPECT_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                if waiting_for_stop in done:
                    self._begin_stop(handle)
                if reading in done:
                    reading.result()
                    return
                if waiting_for_end in done:
                    return
                if self._stopping is not None and self._stopping.done():
                    self._stopping.result()
                # An event can be missed; asking now and then cannot.
                if not done and (await self._region.engine.inspect(handle)).state is not RunState.RUNNING:
                    return
        finally:
            await _cancel(waiting_for_end)
            await _cancel(waiting_for_stop)

    async def _await_end(self, handle: Handle, ended: asyncio.Event) -> RunStatus:
        """The status of a container that has ended: a stream's end is not a container's end."""
        while True:
            ended.clear()  # before asking: an end that is told from here on must not be overlooked
            status = await self._region.engine.inspect(handle)
            if status.state is not RunState.RUNNING:
                return status
            if self._stop.is_set() and self._stopping is None:
                self._begin_stop(handle)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), INSPECT_INTERVAL / 10)

    async def _stop_or_timeout(self) -> None:
        """Return when the container is to be stopped, for whatever cause."""
        limit = self.exec.spec.timeout_seconds
        started = self.exec.started_at
        if limit is None or started is None:
            await self._stop.wait()
            return
        left = started + timedelta(seconds=limit) - self._with.clock.now()
        try:
            await asyncio.wait_for(self._stop.wait(), max(left.total_seconds(), 0))
        except TimeoutError:
            if self._cause is None:
                self._cause = StopCause.TIMEOUT
                self.capture.system(f"Stopping: it has run for timeout_seconds = {limit}")
            self._stop.set()

    def _begin_stop(self, handle: Handle) -> None:
        grace = self.exec.spec.stop_grace_seconds if self._discard_grace is None else self._discard_grace
        if self._cause is StopCause.REQUEST:
            self.capture.system("Stopping on request")
        self._stopping = asyncio.create_task(self._region.engine.stop(handle, grace))

    def _forget_stopping(self) -> None:
        """Let the next look at the container ask for its stop again, where one is wanted."""
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None

    # ---- ending ------------------------------------------------------------------------------------------

    async def _settle(self, handle: Handle, status: RunStatus) -> None:
        """Record the end of a container that was started, and remove it."""
        self._check_discarded()
        if status.state is RunState.GONE:
            await self._record(lost())
            return
        end = end_of(self.exec, status, self._cause)
        await self._record(end, status)
        await self._region.engine.remove(handle)

    async def _fail_to_start(self, reason: FailReason, words: str) -> None:
        self.capture.system(words)
        await self._record(End(ExecStatus.FAILED, None, reason, words))

    async def _record(self, end: End, status: RunStatus | None = None) -> None:
        """Write the end together with the last of the log, and the next attempt where there is one."""
        self._check_discarded()
        now = self._with.clock.now()
        ended_at = (status.finished_at if status is not None else None) or now
        if self.exec.started_at is not None:
            ended_at = max(ended_at, self.exec.started_at)
        retry = None
        if (again := retry_at(self.exec, end, now)) is not None:
            retry = draft_retry(self.exec, now=now, not_before=again)
            self.capture.system(
                f"Attempt {self.exec.attempt} failed ({end.fail_reason}); "
                f"attempt {retry.attempt} is exec {retry.id}, not before {again:%Y-%m-%dT%H:%M:%SZ}"
            )
        fields: dict[str, Any] = {
            "ended_at": ended_at,
            "exit_code": end.exit_code,
            "fail_reason": end.fail_reason,
            "error": end.error,
        }
        if self.exec.image_digest is not None:
            fields["image_digest"] = self.exec.image_digest
        await self._change(end.status, fields, retry)
        ENDED.labels(status=end.status.value, reason=end.fail_reason or "").inc()
        self._log.info(
            "run.ended", status=end.status.name.lower(), exit_code=end.exit_code, reason=end.fail_reason
        )
        if retry is not None:
            self._with.on_retry(retry)

    async def _change(self, after: ExecStatus, fields: Mapping[str, Any], retry: Exec | None = None) -> None:
        """Compare-and-set the status; with a final one goes all output that is not stored yet."""
        before, exec_id = self.exec.status, self.exec.id
        last = self.capture.drain() if after in FINAL_STATUSES else []

        def work(connection: Connection) -> bool:
            changed = execs.change_status(connection, exec_id, before, after, **fields)
            if changed:
                stored_logs.insert(connection, last)
                if retry is not None:
                    execs.insert(connection, [retry])
            return changed

        changed = await self._retry_database(lambda: self._with.database.write(work))
        if not changed:
            self._log.warning("run.settled_elsewhere", wanted=after.name.lower())
            raise RunDiscardedError
        if last:
            self.capture.confirm()
        self.exec = replace(self.exec, status=after, **fields)

    def _check_discarded(self) -> None:
        if self._discard_grace is not None:
            raise RunDiscardedError

    async def _clear_away(self) -> None:
        """Leave no container behind for an exec that is gone."""
        self.capture.discard()
        engine = self._region.engine
        with contextlib.suppress(EngineUnavailableError):  # else removed as an orphan when the engine is back
            handle = await engine.find(self.exec.id)
            if handle is not None:
                await engine.stop(handle, self._discard_grace or 0)
                await engine.remove(handle)

    # ---- helpers -----------------------------------------------------------------------------------------

    async def _unless_stopped(self, work: Awaitable[T]) -> T | None:
        """The result of `work`, or None if the run is to be stopped first."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            self._check_discarded()
            return None
        finally:
            await _cancel(stop)
            await _cancel(task)

    async def _retry_database(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it again until the database takes it: a run's end is not lost to a full disk."""
        while True:
            try:
                return await work()
            except UnavailableError as error:
                self._log.warning("run.database_unavailable", error=str(error))
                await asyncio.sleep(RETRY_INTERVAL)

    def _observe_launch(self) -> None:
        since = self.exec.scheduled_for or self.exec.created_at
        LAUNCH.observe(max((self._with.clock.now() - since).total_seconds(), 0))


def _launch_spec(one: Exec, pids_limit: int) -> LaunchSpec:
    return LaunchSpec(
        exec_id=one.id,
        job_id=one.job_id,
        image=one.spec.image,
        command=command_words(one.spec.command),
        environment=one.spec.runtime_vars,
        cpus=one.spec.cpus,
        memory_bytes=one.spec.memory_bytes,
        pids_limit=pids_limit,
    )


def _cancelled_before_start() -> End:
    return End(ExecStatus.CANCELLED, error="It was stopped before its container started.")


async def _cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a side task and wait until it is over."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
