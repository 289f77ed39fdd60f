"""How often a cleaner looks for something to delete."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from scheduler.keeping.cleaner import Cleaner
from scheduler.keeping.retention import Retention
from tests.simulation.loop import SimulatedLoop
from tests.simulation.machines import WallClock


@pytest.mark.parametrize("has_duty", [True, False])
def test_a_cleaner_looks_once_in_its_interval_whether_it_has_the_duty_or_not(has_duty: bool) -> None:
    """Each look writes to the database that all daemons share."""
    loop = SimulatedLoop(random.Random(0))  # noqa: S311 - nothing secret
    looks: list[float] = []

    class Counting(Cleaner):
        async def clean(self, *, everything: bool = True) -> bool:  # noqa: ARG002
            looks.append(loop.time())
            return has_duty

    database: Any = None
    cleaner = Counting(
        database,
        WallClock(loop),
        Retention(None, None, None),
        instance="a",
        interval=timedelta(seconds=60),
    )

    async def ten_minutes() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(600):
                await cleaner.run()

    loop.run_until_complete(ten_minutes())
    assert 9 <= len(looks) <= 21
