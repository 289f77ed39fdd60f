"""Manages one run, from its dispatch to its recorded end.

Every step first checks the state on the engine and continues from there: a new run, a run that an earlier daemon left
behind, and a run whose engine was unavailable in between all take the same path. If the engine cannot answer, it is
asked again when it is back; a container is never started a second time to be safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import Exec, ExecStatus, FailReason
from scheduler.engine.errors import (
    EngineError,
    EngineUnavailableError,
    ImageMissingError,
    ImagePullError,
    LaunchError,
    RunGoneError,
)
from scheduler.engine.types import Handle, RunState, RunStatus
from scheduler.logs.capture import Capture
from scheduler.process.faults import Point, point
from scheduler.process.metrics import DEFECTS, LAUNCH
from scheduler.running.decisions import (
    End,
    cancelled_before_start,
    denial,
    end_of,
    launch_spec,
    lost,
    stop_words,
)
from scheduler.running.output import RunOutput
from scheduler.running.pull_access import pull_access
from scheduler.running.pulling import image_of
from scheduler.running.recording import RETRY_INTERVAL, Recorder, RunDiscardedError, Surroundings
from scheduler.running.regions import Region
from scheduler.running.secrecy import Secrecy, secrecy_of
from scheduler.running.starting import Starting
from scheduler.running.stopping import Stopping
from scheduler.running.tasks import cancel, unless

log = structlog.get_logger()

#: Seconds between checks of a container without any news; events arrive sooner.
INSPECT_INTERVAL = 5.0
#: Seconds that a container may keep running after its followed log has ended, before the log is opened again.
END_LIMIT = 1.0
#: The longest pause before a run continues that was interrupted by its engine or the database.
LONGEST_INTERVAL = 2.0
#: The longest pause before a run that failed because of an internal error is continued.
LONGEST_DEFECT_PAUSE = 60.0


class Run:
    """A run that this daemon manages.

    Args:
        run: the run, dispatched; its capacity is reserved in `region`.
        region: where it runs.
        surroundings: what all runs share.
        fresh: whether certainly nothing was done for it on the engine yet.
        is_own: whether an earlier process of this daemon managed it, which has certainly ended.
        on_ended: called when its end is recorded, before its container is removed.
    """

    def __init__(
        self,
        run: Exec,
        region: Region,
        surroundings: Surroundings,
        *,
        fresh: bool,
        is_own: bool = False,
        on_ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._region = region
        self._parts = surroundings
        # A run that was waiting when a restored backup was taken may have been started since.
        restored_to = surroundings.restored_to
        is_restored = restored_to is not None and run.created_at <= restored_to
        self._fresh = fresh and not is_restored
        self._on_ended = on_ended
        self._log = log.bind(exec=run.id, job=run.job_id)
        self._recorder = Recorder(run, surroundings)
        self._starting = Starting(self._recorder, region, is_restored=is_restored, is_own=is_own)
        self._stopping = Stopping(run, region.engine)
        self._output = RunOutput(run.id, region, surroundings.clock)
        self._capture: Capture | None = None
        self._secrecy: Secrecy | None = None
        self.trouble: str | None = None  # what last interrupted it, for people

    @property
    def exec(self) -> Exec:
        """The run as it is currently stored."""
        return self._recorder.exec

    @property
    def capture(self) -> Capture:
        """Where its output is stored."""
        assert self._capture is not None  # noqa: S101 - opened before anything can write
        return self._capture

    @property
    def secrecy(self) -> Secrecy:
        """Its secrets."""
        assert self._secrecy is not None  # noqa: S101 - loaded before anything is started or read
        return self._secrecy

    # ---- requests --------------------------------------------------------------------------------------

    def request_stop(self, reason: str | None) -> None:
        """Stop it: SIGTERM, then SIGKILL after its grace period. It ends as cancelled, with this reason."""
        self._stopping.request(reason)

    def discard(self, grace_seconds: int) -> None:
        """Stop it and record nothing more, because it is being deleted."""
        if self._capture is not None:
            self._capture.discard()
        self._stopping.discard(grace_seconds)

    # ---- the loop --------------------------------------------------------------------------------------

    async def look_after(self) -> None:
        """Manage the run until its end is recorded; returns when its container is removed."""
        interval = pause = RETRY_INTERVAL
        try:
            while not self._recorder.has_ended:
                try:
                    await self._wait_for_engine()
                    limit = self.exec.spec.log_limit_bytes or self._parts.log_limit_bytes
                    self._capture = self._output.capture = await self._parts.hub.open(
                        self.exec.id, limit=limit
                    )
                    self._secrecy = self._secrecy or await secrecy_of(self.exec, self._parts.vault)
                    await self._advance()
                except (EngineUnavailableError, RunGoneError, UnavailableError) as error:
                    if str(error) != self.trouble:
                        self._log.info("run.interrupted", error=str(error))
                    self.trouble = str(error)
                    await asyncio.sleep(interval)
                    interval = min(interval * 2, LONGEST_INTERVAL)
                except RunDiscardedError:
                    raise
                except Exception as error:  # noqa: BLE001 - an internal error in one run must not end all others
                    self._log.error("run.defect", exc_info=error)
                    DEFECTS.inc()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_DEFECT_PAUSE)
                self._fresh = False
                self._stopping.forget()
        except RunDiscardedError as error:
            if error.leaves_container:
                await self._clear_away()
        finally:
            self._stopping.forget()
            self._region.forget(self.exec.id)
            await self._parts.hub.close(self.exec.id)

    async def _wait_for_engine(self) -> None:
        if not self._region.up.is_set():
            await unless(self._stopping.discarded, self._region.up.wait())
        self._check_discarded()

    async def _advance(self) -> None:
        """Check the current state, and continue from there to the end."""
        engine = self._region.engine
        handle = None if self._fresh else await engine.find(self.exec.id)
        status = RunStatus(state=RunState.GONE) if handle is None else await engine.inspect(handle)
        self._check_discarded()
        self._secrecy = self.secrecy.as_in(status.environment, self.exec.spec.runtime_vars)
        self._output.secrecy = self._secrecy
        if handle is not None and status.state is RunState.CREATED and self._starting.may_have_happened:
            status = await self._starting.status_after(handle)
            self._check_discarded()
        if handle is None or status.state is RunState.GONE:
            if self.exec.status is ExecStatus.RUNNING or self.exec.start_requested_at is not None:
                await self._lose()
            elif self._stopping.wanted.is_set():
                await self._end(cancelled_before_start(self._stopping.reason))
            else:
                await self._launch()
        elif status.state is RunState.CREATED and self._starting.may_have_happened:
            await self._lose_start(handle, status)
        elif status.state is RunState.CREATED:
            await self._start(handle)
        else:
            await self._recorder.started(self.capture, status)
            await self._resume(handle)

    # ---- starting --------------------------------------------------------------------------------------

    async def _launch(self) -> None:
        """From nothing to the end."""
        spec, engine = self.exec.spec, self._region.engine
        policy = self._parts.policy_of(self.exec.namespace)
        if (words := denial(self.exec, policy)) is not None:
            await self._fail_to_start(FailReason.POLICY_DENIED, words)
            return
        environment = self.secrecy.environment
        if environment is None:
            await self._fail_to_start(FailReason.SECRET_MISSING, self.secrecy.trouble or "")
            return
        self.capture.system(f"Start pulling image: {spec.image}")
        try:
            access = await pull_access(self.exec, self._parts.database, self._parts.clock, self._parts.vault)
            pulled = await unless(
                self._stopping.wanted,
                image_of(engine, self.exec, self._region.limits.pulls, self.capture.system, access),
            )
            if pulled is None:
                await self._end(cancelled_before_start(self._stopping.reason))
                return
            name, image = pulled
            self._recorder.note_image(image.digest)
            await self._recorder.pin_image(image)
            point(Point.PULLED)
            await self._recorder.demand_ownership()
            handle = await engine.create(launch_spec(self.exec, policy, environment, image=name))
            point(Point.CREATED)
        except (ImagePullError, ImageMissingError) as error:
            await self._fail_to_start(FailReason.IMAGE_PULL_FAILED, str(error))
        except LaunchError as error:
            await self._fail_to_start(FailReason.START_FAILED, str(error))
        else:
            await self._start(handle)

    async def _start(self, handle: Handle) -> None:
        """From a container that was never started to the end."""
        engine = self._region.engine
        if self._stopping.wanted.is_set():
            await self._end(cancelled_before_start(self._stopping.reason))
            await self._remove(handle)
            return
        files = self.secrecy.files if self.exec.spec.secret_files else ()
        if files is None:
            await self._fail_to_start(FailReason.SECRET_MISSING, self.secrecy.trouble or "")
            await self._remove(handle)
            return
        ended = self._region.ended(self.exec.id)
        stream = await engine.attach(handle)
        self._output.begin()
        async with stream:
            point(Point.ATTACHED)
            self.capture.system("Start running!")
            masks = self.secrecy.masks()
            reading = asyncio.create_task(self._output.read(stream, masks))
            try:
                self._observe_launch()
                try:
                    await self._starting.ask(handle, files)
                except LaunchError as error:
                    await self._fail_to_start(FailReason.START_FAILED, str(error))
                    await self._remove(handle)
                    return
                point(Point.STARTED)
                began = asyncio.get_running_loop().time()
                await self._recorder.started(self.capture, await engine.inspect(handle))
                await self._watch(handle, reading, ended, began=began)
                status = await engine.inspect(handle)
                if await self._output.is_complete(reading, status, ended):
                    self.capture.add_frames(masks.rest())
                    await self._settle(handle, status)
                    return
            finally:
                await cancel(reading)
        # The stream broke off or does not end: the rest is in the engine's own log.
        self._log.info("run.stream_incomplete")
        await self._resume(handle)

    # ---- continuing ----------------------------------------------------------------------------------------

    async def _resume(self, handle: Handle) -> None:
        """Continue reading where the stored output ends, from the engine's own log, to the end."""
        point(Point.RESUMING)
        ended = self._region.ended(self.exec.id)
        had_ended = self._output.is_adopted
        self._output.note_breaks()
        began, patience = await self._began(), 0.0
        while (status := await self._region.status_at_end(handle, ended, patience)) is None:
            patience, had_ended = END_LIMIT, False
            reading = asyncio.create_task(self._output.read_log(handle, follow=True))
            try:
                await self._watch(handle, reading, ended, began=began)
            finally:
                await cancel(reading)
        # Following may have stopped early (a rotated log, a lost connection); what is available now is everything.
        await self._output.read_rest(handle)
        if had_ended:
            await self._output.note_death(handle, status)
        await self._settle(handle, status)

    async def _began(self) -> float:
        """When the container was started, by the event loop's clock; only asked for if the run has a timeout."""
        started_at = self.exec.started_at
        if started_at is None or self.exec.spec.timeout_seconds is None:
            return 0.0
        return await self._region.time_of(started_at)

    async def _watch(
        self, handle: Handle, reading: asyncio.Task[Any], ended: asyncio.Event, *, began: float
    ) -> None:
        """Wait until the output or the container ends; stop the container if that is requested or due."""
        over = asyncio.create_task(ended.wait())
        stop = asyncio.create_task(self._stopping.due(began))
        try:
            while True:
                watched = {reading, over} if self._stopping.has_begun else {reading, over, stop}
                done, _ = await asyncio.wait(
                    watched, timeout=INSPECT_INTERVAL, return_when=asyncio.FIRST_COMPLETED
                )
                if stop in done:
                    self.capture.system(stop_words(self.exec, self._stopping.cause, self._stopping.reason))
                    self._stopping.begin(handle)
                if reading in done:
                    reading.result()
                    return
                if over in done:
                    return
                self._stopping.check()
                # Events can be missed, so inspect the container from time to time.
                if not done and (await self._region.engine.inspect(handle)).state is not RunState.RUNNING:
                    return
        finally:
            await cancel(over)
            await cancel(stop)

    # ---- ending ------------------------------------------------------------------------------------------

    async def _settle(self, handle: Handle, status: RunStatus) -> None:
        """Record the end of a container that was started, and remove it."""
        if status.state is RunState.GONE:
            await self._lose()
            return
        if status.state is RunState.CREATED:  # the engine does not know any more that it started it
            await self._lose_start(handle, status)
            return
        point(Point.ENDED)
        await self._end(end_of(self.exec, status, self._stopping.cause, self._stopping.reason), status)
        await self._remove(handle)

    async def _lose_start(self, handle: Handle, status: RunStatus) -> None:
        """Record the end of a run that may have started, but whose container appears as never started."""
        if status.start_failed and status.error:
            await self._fail_to_start(
                FailReason.START_FAILED, f"the container cannot be started: {status.error}"
            )
        else:
            self._output.note_breaks()
            await self._output.read_rest(handle)
            await self._lose(handle)
        await self._remove(handle)

    async def _lose(self, handle: Handle | None = None) -> None:
        """Record that the result is unknown."""
        end = lost(
            None if handle is None else handle.engine_id,
            had_started=self.exec.status is ExecStatus.RUNNING,
            cause=self._stopping.cause,
            reason=self._stopping.reason,
        )
        self.capture.end_output()
        self.capture.system(
            "The container disappeared from the engine; output that had not been read is lost."
            if handle is None
            else end.error or ""
        )
        await self._end(end)

    async def _fail_to_start(self, reason: FailReason, words: str) -> None:
        self.capture.system(words)
        if self._stopping.wanted.is_set():
            await self._end(cancelled_before_start(self._stopping.reason))
        else:
            await self._end(End(ExecStatus.FAILED, None, reason, words))

    async def _end(self, end: End, status: RunStatus | None = None) -> None:
        self._check_discarded()
        await self._recorder.ended(self.capture, end, status)
        self._on_ended()

    async def _remove(self, handle: Handle) -> None:
        """Remove the container of a run whose end is recorded; if that fails, the container is an orphan."""
        try:
            await self._region.engine.remove(handle)
            point(Point.REMOVED)
        except EngineError as error:
            self._log.info("run.container_left", error=str(error))

    def _check_discarded(self) -> None:
        if self._stopping.discarded.is_set():
            raise RunDiscardedError

    async def _clear_away(self) -> None:
        """Remove the container of a run that was deleted."""
        if self._capture is not None:
            self._capture.discard()
        engine = self._region.engine
        try:
            handle = await engine.find(self.exec.id)
            if handle is not None:
                await engine.stop(handle, self._stopping.grace_seconds)
                point(Point.DISCARDING)
                await engine.remove(handle)
        except EngineError as error:
            self._log.info("run.container_left", error=str(error))

    def _observe_launch(self) -> None:
        since = self.exec.scheduled_for or self.exec.created_at
        LAUNCH.observe(max((self._parts.clock.now() - since).total_seconds(), 0))
