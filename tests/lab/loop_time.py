"""The event loop's own time, which tests can let pass at once, for whatever waits for some of it to have passed."""

from __future__ import annotations

import asyncio

import pytest


class LoopTime:
    """The running loop's time from now on: as ever, plus what was let pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._ahead = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + self._ahead)

    def let_pass(self, seconds: float) -> None:
        """Let so many seconds have passed; whatever was due in them happens when the loop comes to it."""
        self._ahead += seconds


@pytest.fixture
async def loop_time(monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    """The time of the test's event loop."""
    return LoopTime(monkeypatch)
