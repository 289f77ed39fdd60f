"""The one request to start a run's container, and what is known of it if its answer is lost.

What an engine says of a container does not show whether its process ran. An engine that was killed after it started
the process, and before it noted that, takes the container for one that was never started; asked again, it starts
another process. Therefore, the request is stored before it is made, and is never made a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from scheduler.domain.secret_files import SecretFile
from scheduler.engine.errors import EngineUnreachableError, RunGoneError
from scheduler.engine.protocol import Engine
from scheduler.engine.types import Handle, RunState, RunStatus
from scheduler.running.recording import Recorder

#: Seconds in which a start that was requested may still show on an engine that answers, and between two checks.
LIMIT: Final = 5.0
INTERVAL: Final = 0.25


class Starting:
    """The start of one run.

    Args:
        recorder: stores the request.
        engine: the engine of its container.
        is_restored: whether the run comes from a backup, so that its start may have been requested after that.
    """

    def __init__(self, recorder: Recorder, engine: Engine, *, is_restored: bool) -> None:
        self._recorder = recorder
        self._engine = engine
        self._is_restored = is_restored

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
        try:
            await self._engine.start(handle, files, before=self._recorder.request_start)
        except (EngineUnreachableError, RunGoneError):
            await self._recorder.withdraw_start()
            raise

    async def status_after(self, handle: Handle) -> RunStatus:
        """The status of a container whose start was requested; a slow engine gets some time for it to show."""
        deadline = asyncio.get_running_loop().time() + LIMIT
        while True:
            status = await self._engine.inspect(handle)
            late = asyncio.get_running_loop().time() >= deadline
            if status.state is not RunState.CREATED or status.start_failed or late:
                return status
            await asyncio.sleep(INTERVAL)
