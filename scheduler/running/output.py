"""Reads the output of one run's container into its log: from the attached stream, or from the engine's own log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from scheduler.domain.clock import Clock
from scheduler.engine.errors import EngineTroubledError, RunGoneError, StreamBrokenError
from scheduler.engine.protocol import FrameStream
from scheduler.engine.types import Handle, RunState, RunStatus
from scheduler.logs.capture import Capture
from scheduler.logs.recovering import read_on
from scheduler.logs.resume import EngineFrame
from scheduler.process.metrics import LOG_BYTES
from scheduler.running.regions import Region
from scheduler.running.secrecy import Secrecy
from scheduler.running.tasks import wait_for_event
from scheduler.secrets.masking import Masks

#: Seconds in which output may still arrive after the engine reported the container's end.
DRAIN_LIMIT = 10.0
#: Seconds in which the event of an end may still arrive after the end of the stream.
END_LIMIT = 1.0
#: Exit codes of containers that an engine kills when it starts, and of those whose end it does not know.
KILLED_BY_ENGINE = (137, 255)
#: Attempts to read the rest of an ended container's output if the engine answers with errors.
REFUSALS = 5


class RunOutput:
    """The output of one run.

    Args:
        exec_id: the run.
        region: where it runs.
        clock: tells the time.

    Attributes:
        capture: where the output is stored; set before anything can write.
        secrecy: the run's secrets; set before anything is started or read.
    """

    capture: Capture
    secrecy: Secrecy

    def __init__(self, exec_id: str, region: Region, clock: Clock) -> None:
        self._exec_id = exec_id
        self._region = region
        self._clock = clock
        self._breaks: int | None = None  # the count of lost connections when the output began to be read
        self._refusals = 0  # the number of errors when reading the rest of the output

    def begin(self) -> None:
        """Note that the output is read from here on, so that a lost connection is noticed."""
        self._breaks = self._region.breaks

    async def read(self, stream: FrameStream, masks: Masks) -> float:
        """Store the container's output; returns when the stream ended, by the event loop's clock."""
        async for frames in stream:
            self.capture.add_frames(masks.hide(frames))
            LOG_BYTES.inc(sum(len(frame.data) for frame in frames))
            await self.capture.room()
        return asyncio.get_running_loop().time()

    async def is_complete(
        self, reading: asyncio.Task[float], status: RunStatus, ended: asyncio.Event
    ) -> bool:
        """Wait for the rest of an ended container's output; returns whether it is complete.

        An engine ends the stream when it has recorded the container's end (40 to 400 ms later, measured on Engine
        20.10). A stream that ended while the container was running was broken off, even without an error.
        """
        if status.state is RunState.RUNNING:
            return False
        await asyncio.wait((reading,), timeout=DRAIN_LIMIT)
        if not reading.done():
            return False
        if status.finished_at is None:
            return True
        await wait_for_event(ended, END_LIMIT)  # it may arrive a moment after the end of the stream
        return self._region.was_over(self._exec_id, status.finished_at, reading.result())

    @property
    def is_adopted(self) -> bool:
        """Whether an earlier process began to read it, and this one has not yet."""
        return self._breaks is None

    def note_breaks(self) -> None:
        """Note in the log that the connection was lost: output that the engine had not stored may be missing."""
        if self._breaks is not None and self._breaks != self._region.breaks:
            self.capture.system(
                "The connection to the engine was lost; output from that time may be missing here."
            )
        self._breaks = self._region.breaks

    async def note_death(self, handle: Handle, status: RunStatus) -> None:
        """Note in the log that output may be missing if the engine may have died while no daemon watched the run.

        Called if the container had ended when the run was adopted.
        """
        was_killed = status.exit_code in KILLED_BY_ENGINE and not status.oom_killed
        if was_killed and not await self._region.engine.has_created(handle):
            self.capture.end_output()
            self.capture.system(
                "The container was killed while no daemon was watching it. If its engine was restarted then, "
                "its last output may be missing here."
            )

    async def read_log(self, handle: Handle, *, follow: bool) -> None:
        """Store what the engine's own log has beyond the stored output."""
        logs, ahead = self._region.engine.logs, await self._region.ahead(self._clock)

        async def opened(on: bool) -> AbstractAsyncContextManager[AsyncIterator[Sequence[EngineFrame]]]:
            return self.secrecy.hidden(await logs(handle, follow=on, timestamps=True), is_whole=not on)

        await read_on(self.capture, opened, follow=follow, ahead=ahead)

    async def read_rest(self, handle: Handle) -> None:
        """Store the remaining output of an ended container; missing output is noted in the log."""
        try:
            await self.read_log(handle, follow=False)
        except RunGoneError:
            self.capture.end_output()
            self.capture.system(
                "The container was removed before all of its output was read: lines may be missing."
            )
        except (EngineTroubledError, StreamBrokenError) as error:
            self._refusals += 1
            if self._refusals < REFUSALS:
                raise
            self.capture.end_output()
            self.capture.system(f"The engine cannot provide the rest of the output, which is lost: {error}")
