"""Whether a container was killed for want of memory, when its state and the engine's events disagree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from scheduler.engine.docker_api import DockerApi, EngineTimeLimits
from scheduler.engine.docker_memory import MemoryDeaths
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import RunState, RunStatus

KILLED = RunStatus(
    state=RunState.ENDED,
    exit_code=137,
    started_at=datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC),
    finished_at=datetime(2026, 1, 31, 9, 0, 5, tzinfo=UTC),
)


@dataclass
class Events:
    """Stands for an engine that answers a question for events with these bytes."""

    answer: bytes | Exception
    asked: list[dict[str, Any]] = field(default_factory=list)
    limits: EngineTimeLimits = field(default_factory=EngineTimeLimits)

    async def open(self, _: str, path: str, *, params: Mapping[str, str], idle_seconds: float) -> Events:
        """Note the question."""
        assert path == "/events"
        assert idle_seconds > 0
        self.asked.append(dict(params))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self

    @property
    def content(self) -> Events:
        """The answer's body."""
        return self

    async def readany(self) -> bytes:
        """All of it."""
        assert isinstance(self.answer, bytes)
        return self.answer

    def close(self) -> None:
        """End it."""


def deaths(answer: bytes | Exception) -> tuple[MemoryDeaths, Events]:
    """The part under test, and the engine behind it."""
    events = Events(answer)
    return MemoryDeaths(cast("DockerApi", events)), events


@pytest.mark.parametrize(
    "status",
    [
        replace(KILLED, exit_code=0),
        replace(KILLED, exit_code=1),
        replace(KILLED, oom_killed=True),
        replace(KILLED, exit_code=0, oom_killed=True),
        RunStatus(state=RunState.RUNNING),
    ],
)
async def test_the_engine_is_not_asked_when_the_state_says_it_all(status: RunStatus) -> None:
    """Only a kill without a cause is worth a question."""
    memory, events = deaths(b"")
    assert await memory.killed("one", status) is status.oom_killed
    assert events.asked == []


@pytest.mark.parametrize(("answer", "expected"), [(b'{"Action": "oom"}\n', True), (b"", False)])
async def test_a_kill_without_a_cause_is_asked_after_once(answer: bytes, expected: bool) -> None:
    """From the container's start to two seconds after its end, by the engine's clock; the answer is remembered."""
    memory, events = deaths(answer)
    assert await memory.killed("one", KILLED) is expected
    assert await memory.killed("one", KILLED) is expected
    (asked,) = events.asked
    assert KILLED.started_at is not None
    assert float(asked["since"]) == KILLED.started_at.timestamp()
    assert float(asked["until"]) == KILLED.started_at.timestamp() + 7
    assert json.loads(asked["filters"])["container"] == ["one"]


async def test_what_we_killed_ourselves_needs_no_question() -> None:
    """A stop that ends in SIGKILL looks the same, but its cause is known."""
    memory, events = deaths(b'{"Action": "oom"}\n')
    memory.note_killed_by_us("one")
    assert await memory.killed("one", KILLED) is False
    assert events.asked == []


@pytest.mark.parametrize(
    "error", [EngineRefusedError(500, "oops"), TimeoutError(), EngineUnavailableError("gone")]
)
async def test_an_engine_that_does_not_tell_is_asked_again(error: Exception) -> None:
    """No answer is no verdict."""
    memory, events = deaths(error)
    for _ in range(2):
        with pytest.raises(EngineUnavailableError):
            await memory.killed("one", KILLED)
    assert len(events.asked) == 2
