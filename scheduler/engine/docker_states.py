"""Reads containers as an engine describes them: their state, their times, their handle. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from scheduler.engine.docker_dialect import DockerDialect
from scheduler.engine.docker_secret_files import LABEL_DIRECTORIES
from scheduler.engine.docker_words import is_trouble, readable
from scheduler.engine.frames import parse_time
from scheduler.engine.types import Handle, RunState, RunStatus

_NEVER: Final = "0001-01-01"  # how the engine writes a time that is not set
_STATES: Final = {
    "created": RunState.CREATED,
    "running": RunState.RUNNING,
    "paused": RunState.RUNNING,
    "restarting": RunState.RUNNING,
    "exited": RunState.ENDED,
    "dead": RunState.ENDED,
    "removing": RunState.ENDED,
}


def state_of(word: str) -> RunState:
    """The state of a container by the engine's word."""
    return _STATES.get(word, RunState.RUNNING)


def status_of(container: Mapping[str, Any], dialect: DockerDialect) -> RunStatus:
    """The status of a container, from the answer to its inspection."""
    state_facts = container["State"]
    state = state_of(state_facts["Status"])
    started_at = time_of(state_facts.get("StartedAt"))
    finished_at = time_of(state_facts.get("FinishedAt"))
    if state is RunState.ENDED and started_at is None:  # is being removed without having run
        state = RunState.GONE
    ended = state is RunState.ENDED
    error = readable(dialect.start_error(state_facts.get("Error") or "")) or None
    if ended and started_at and finished_at:
        # The engine records the start afterwards: a process that runs for a millisecond ends before it 'started'.
        started_at = min(started_at, finished_at)
    return RunStatus(
        state=state,
        exit_code=state_facts["ExitCode"] if ended else None,
        oom_killed=bool(state_facts.get("OOMKilled")),
        started_at=started_at,
        finished_at=finished_at if ended else None,
        error=error,
        start_failed=state is RunState.CREATED and error is not None and not is_trouble(error),
        image_id=container.get("Image"),
        environment=dict(entry.partition("=")[::2] for entry in container.get("Config", {}).get("Env") or ()),
    )


def time_of(text: str | None) -> datetime | None:
    """A time as the engine writes it, in UTC; None if it is not set."""
    if not text or text.startswith(_NEVER):
        return None
    return parse_time(text).astimezone(UTC)


def handle_of(engine_id: str, labels: Mapping[str, str], name: str) -> Handle:
    """The handle of a container, from its id, its labels and its name."""
    count = labels.get(LABEL_DIRECTORIES, "")
    return Handle(str(engine_id), name, secret_directories=int(count) if count.isdecimal() else 0)
