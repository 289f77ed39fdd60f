"""The one request to start a run's container, and what is known of it if its answer is lost.

What an engine says of a container does not show whether its process ran. An engine that was killed after it started
the process, and before it noted that, takes the container for one that was never started; asked again, it starts
another process. Therefore, the request is stored before it is made, and is not made again unless it certainly had no
effect: it did not reach the engine; or the daemon that made it has died, and the engine, which was not restarted
since then, still has the container as never started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from scheduler.domain.execution import ExecStatus
from scheduler.domain.secret_files import SecretFile
from scheduler.engine.errors import EngineUnreachableError, RunGoneError
from scheduler.engine.types import Handle, RunState, RunStatus
from scheduler.running.recording import Recorder
from scheduler.running.regions import Region

#: Seconds in which a start that was requested may still show on an engine that answers, and between two checks.
LIMIT: Final = 5.0
INTERVAL: Final = 0.25


class Starting:
    """The start of one run.

    Args:
        recorder: stores the request.
        region: where it runs.
        is_restored: whether the run comes from a backup, so that its start may have been requested after that.
        is_own: whether a request of before was made by an earlier process of this daemon, which has certainly ended.
    """

    def __init__(self, recorder: Recorder, region: Region, *, is_restored: bool, is_own: bool) -> None:
        self._recorder = recorder
        self._region = region
        self._is_restored = is_restored
        self._asker_is_dead = is_own

    @property
    def may_have_happened(self) -> bool:
        """Whether the process of a container that seems never to have started may have run."""
        return self._recorder.exec.start_requested_at is not None or self._is_restored

    async def ask(self, handle: Handle, files: Sequence[SecretFile]) -> None:
        """Ask the engine to start the container.

        Raises:
            EngineUnavailableError: the process may have started, unless the request did not reach the engine.
            LaunchError: the engine has answered that it cannot start the container.
            RunGoneError: there is no such container.
            RunDiscardedError: the run was deleted, has ended elsewhere, or belongs to another daemon.
            UnavailableError: the database failed.
        """
        self._asker_is_dead = False
        try:
            await self._region.engine.start(handle, files, before=self._recorder.request_start)
        except (EngineUnreachableError, RunGoneError):
            await self._recorder.withdraw_start()
            raise

    async def status_after(self, handle: Handle) -> RunStatus:
        """The status of a container whose start was requested; a slow engine gets some time for it to show.

        If the request certainly had no effect, it is withdrawn.
        """
        engine, breaks = self._region.engine, self._region.breaks
        was_only_asked = self._recorder.exec.status is ExecStatus.WAITING  # the start was never recorded
        is_same = was_only_asked and self._asker_is_dead and await engine.has_created(handle)
        deadline = asyncio.get_running_loop().time() + LIMIT
        while True:
            status = await engine.inspect(handle)
            if status.state is not RunState.CREATED or status.start_failed:
                return status
            if asyncio.get_running_loop().time() >= deadline:
                break
            await asyncio.sleep(INTERVAL)
        if is_same and breaks == self._region.breaks:
            await self._recorder.withdraw_start()
        return status
