"""Gets a run's image: passing troubles of its registry are tried again within the run, lasting ones end it.

A pull that makes no progress is broken off by the engine's side of this; here it is begun anew, a bounded number of
times and for a bounded time in all. Every new try leaves a line in the run's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scheduler.engine.errors import ImagePullError
from scheduler.engine.protocol import Engine, ImageInfo
from scheduler.execution import ExecSpec
from scheduler.metrics import PULLS_RETRIED, PULLS_STALLED

#: The longest pause before another try, in seconds.
LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True)
class PullLimits:
    """How patient pulls are.

    Attributes:
        total_seconds: how long one run's pull may take in all, pauses included.
        attempts: how often it is tried at most.
        pause_seconds: before the second try; twice as long before each further one.
    """

    total_seconds: float = 3600.0
    attempts: int = 4
    pause_seconds: float = 2.0


async def image_of(
    engine: Engine, spec: ExecSpec, limits: PullLimits, say: Callable[[str], None]
) -> ImageInfo:
    """See to it that a run's image is on the engine.

    Args:
        engine: where it is to be.
        spec: names the image, and when its registry is asked.
        limits: how patient to be.
        say: is called with a readable line now and then.

    Raises:
        ImagePullError: it cannot be had; the message says how often that was tried.
        EngineUnavailableError: the engine does not answer.
    """
    try:
        async with asyncio.timeout(limits.total_seconds) as total:
            return await _try_often(engine, spec, limits, say)
    except TimeoutError as error:
        if not total.expired():
            raise
        raise ImagePullError(
            f"image {spec.image} cannot be pulled: it took longer than pull_total_seconds = {limits.total_seconds:g}"
        ) from error


async def _try_often(
    engine: Engine, spec: ExecSpec, limits: PullLimits, say: Callable[[str], None]
) -> ImageInfo:
    pause, attempt = limits.pause_seconds, 1
    while True:
        try:
            return await engine.ensure_image(spec.image, spec.pull_policy, say)
        except ImagePullError as error:
            if error.has_stalled:
                PULLS_STALLED.labels(region=spec.region_name).inc()
            if not error.is_transient:
                raise
            if attempt >= limits.attempts:
                raise ImagePullError(f"{error} (tried {attempt} times)") from error
            attempt += 1
            say(f"{error}; trying again in {pause:g} s ({attempt} of {limits.attempts})")
        PULLS_RETRIED.labels(region=spec.region_name).inc()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
