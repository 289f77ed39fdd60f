"""Determines whether a container was killed because it ran out of memory, if its state does not show it.

With cgroup v1, the engine learns about a lack of memory and about the container's end in different ways. If the
former arrives later (one time in twenty on a busy machine, up to 1.1 s later), the container's state never shows it,
but the engine still sends an event. For a container that dies within milliseconds of its start, there may be no event
at all, and a busy engine has forgotten it (it remembers the last 256) when a daemon is back that was not running at
that time; then only the exit code 137 is known.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import timedelta

import aiohttp

from scheduler.engine.docker_api import DockerApi
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import EventKind, RunStatus

EXIT_CODE_KILLED = 137
"""128 + SIGKILL, the only thing that the state of such a container shows."""
LATEST_NEWS = timedelta(seconds=2)
"""How long after a container's end to wait for the event, by the engine's clock."""
_REMEMBERED = 1000


class MemoryDeaths:
    """Remembers why containers were killed, and asks the engine if it is not known."""

    def __init__(self, api: DockerApi) -> None:
        self._api = api
        self._known: OrderedDict[str, bool] = OrderedDict()

    def note_killed_by_us(self, engine_id: str) -> None:
        """Record that this container is killed on purpose, so that there is no event to wait for."""
        self._note(engine_id, out_of_memory=False)

    async def killed(self, engine_id: str, status: RunStatus) -> bool:
        """Whether a process of the container was killed for lack of memory; may take `LATEST_NEWS` the first time.

        Raises:
            EngineUnavailableError: there is no answer.
        """
        if status.oom_killed or status.exit_code != EXIT_CODE_KILLED:
            return status.oom_killed
        if status.started_at is None or status.finished_at is None:
            return False
        if engine_id not in self._known:
            was_reported = await self._told_by_event(
                engine_id, status.started_at.timestamp(), (status.finished_at + LATEST_NEWS).timestamp()
            )
            self._note(engine_id, out_of_memory=was_reported)
        return self._known[engine_id]

    async def _told_by_event(self, engine_id: str, since: float, until: float) -> bool:
        filters = {"type": ["container"], "event": [EventKind.OOM.value], "container": [engine_id]}
        params = {"since": f"{since:.6f}", "until": f"{until:.6f}", "filters": json.dumps(filters)}
        try:
            idle = self._api.limits.control
            response = await self._api.open("GET", "/events", params=params, idle_seconds=idle)
            try:
                # One event is enough; without an event, the engine ends the response at 'until'.
                return bool(await response.content.readany())
            finally:
                response.close()
        except (aiohttp.ClientError, OSError, EngineRefusedError) as error:
            raise EngineUnavailableError(
                f"the engine does not report why a container was killed: {error}"
            ) from error

    def _note(self, engine_id: str, *, out_of_memory: bool) -> None:
        self._known[engine_id] = out_of_memory
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
