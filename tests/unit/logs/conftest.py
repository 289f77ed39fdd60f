"""Fixtures of the tests of logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.logs.scene import LogScene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[LogScene]:
    """A database with one exec."""
    scene = LogScene(tmp_path)
    yield scene
    await scene.database.close()
