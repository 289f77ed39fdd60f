"""Provides a run's image: temporary registry errors are retried within the run, permanent ones end it.

The engine's implementation cancels a pull that makes no progress; here it is retried, with a limited number of
attempts and a limited total time. Every retry is noted in the run's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from scheduler.domain.execution import Exec, ExecSpec
from scheduler.domain.job import PullPolicy
from scheduler.engine.errors import ImagePullError
from scheduler.engine.protocol import Engine
from scheduler.engine.types import ImageInfo
from scheduler.process.metrics import PULLS_RETRIED, PULLS_STALLED
from scheduler.running.pull_access import PullAccess

#: The longest pause before another attempt, in seconds.
LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True)
class PullLimits:
    """Limits of a pull.

    Attributes:
        total_seconds: maximum duration of a run's pull, including pauses.
        attempts: maximum number of attempts.
        pause_seconds: pause before the second attempt; doubles with each further attempt.
    """

    total_seconds: float = 3600.0
    attempts: int = 4
    pause_seconds: float = 2.0


async def image_of(
    engine: Engine, run: Exec, limits: PullLimits, say: Callable[[str], None], access: PullAccess
) -> tuple[str, ImageInfo]:
    """Ensure that a run's image is on the engine, and that the run may use it.

    Args:
        engine: the engine.
        run: specifies the image and the pull policy.
        limits: limits of the pull.
        say: called with occasional readable lines.
        access: the run's access to its image.

    Returns:
        The name by which the engine knows the image, and the image.

    Raises:
        ImagePullError: the image is not available; the message includes the number of attempts.
        EngineUnavailableError: the engine does not answer.
        UnavailableError: the database failed.
    """
    spec = run.spec
    try:
        async with asyncio.timeout(limits.total_seconds) as total:
            if run.repeats_image:
                return await _same_image(engine, run, limits, say, access)
            return spec.image, await _permitted(engine, spec, limits, say, access)
    except ImagePullError as error:
        raise access.explained(error) from error
    except TimeoutError as error:
        if not total.expired():
            raise
        raise ImagePullError(
            f"image {spec.image} cannot be pulled within pull_total_seconds = {limits.total_seconds:g}"
        ) from error


async def _permitted(
    engine: Engine, spec: ExecSpec, limits: PullLimits, say: Callable[[str], None], access: PullAccess
) -> ImageInfo:
    login = access.login

    async def pull(policy: PullPolicy) -> ImageInfo:
        return await _try_often(
            lambda: engine.ensure_image(spec.image, policy, say, login=login), spec.region_name, limits, say
        )

    image = await pull(spec.pull_policy)
    if not image.pulled and not await access.allows(image):
        if spec.pull_policy is PullPolicy.NEVER:
            raise ImagePullError(
                f"image {spec.image} is on the engine, but namespace '{access.namespace}' has not pulled it itself, "
                f"and {access.host} is a registry with private images; use the pull policy 'if_not_present'"
            )
        say(f"Asking {access.host}, because this namespace has not pulled the image yet")
        image = await pull(PullPolicy.ALWAYS)
    if image.pulled:
        await access.grant(image)
    return image


async def _same_image(
    engine: Engine, run: Exec, limits: PullLimits, say: Callable[[str], None], access: PullAccess
) -> tuple[str, ImageInfo]:
    """The image of the run that is replayed, from the engine or else from its registry.

    An image that did not come from a registry is only known by the engine's own id, which registries do not know.
    """
    spec, digest = run.spec, run.image_digest or ""
    gone = f"the image of run {run.replay_of} is no longer on the engine"
    for name in (spec.image, digest):
        try:
            image = await engine.ensure_image(name, PullPolicy.NEVER, say)
        except ImagePullError:
            continue
        if await access.allows(image):
            return name, replace(image, digest=digest)
        gone = f"namespace '{access.namespace}' has not pulled the image of run {run.replay_of} itself"
    if spec.pull_policy is PullPolicy.NEVER:
        raise ImagePullError(
            f"{gone}, and the pull policy 'never' does not allow pulling {spec.image}; load the image on the engine, "
            "or replay with a docker_image_tag"
        )
    try:
        # The image behind a digest never changes, so there is no need to ask again, whatever the policy.
        spec = replace(spec, pull_policy=PullPolicy.IF_NOT_PRESENT)
        return spec.image, await _permitted(engine, spec, limits, say, access)
    except ImagePullError as error:
        raise error.saying(
            f"{gone}, and {error}; replay with a docker_image_tag to use another image"
        ) from error


async def _try_often(
    once: Callable[[], Awaitable[ImageInfo]], region: str, limits: PullLimits, say: Callable[[str], None]
) -> ImageInfo:
    pause, attempt = limits.pause_seconds, 1
    while True:
        try:
            return await once()
        except ImagePullError as error:
            if error.has_stalled:
                PULLS_STALLED.labels(region=region).inc()
            if not error.is_transient:
                raise
            if attempt >= limits.attempts:
                raise ImagePullError(f"{error} ({attempt} attempts)") from error
            attempt += 1
            say(f"{error}; retrying in {pause:g} s (attempt {attempt} of {limits.attempts})")
        PULLS_RETRIED.labels(region=region).inc()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
