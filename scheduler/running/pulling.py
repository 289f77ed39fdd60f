"""Gets a run's image: passing troubles of its registry are tried again within the run, lasting ones end it.

A pull that makes no progress is broken off by the engine's side of this; here it is begun anew, a bounded number of
times and for a bounded time in all. Every new try leaves a line in the run's log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from scheduler.domain.execution import Exec, ExecSpec
from scheduler.domain.job import PullPolicy
from scheduler.engine.errors import ImagePullError
from scheduler.engine.protocol import Engine, ImageInfo
from scheduler.process.metrics import PULLS_RETRIED, PULLS_STALLED
from scheduler.running.pull_access import PullAccess

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
    engine: Engine, one: Exec, limits: PullLimits, say: Callable[[str], None], access: PullAccess
) -> tuple[str, ImageInfo]:
    """See to it that a run's image is on the engine, and that the run may use it.

    Args:
        engine: where it is to be.
        one: names the image, and when its registry is asked.
        limits: how patient to be.
        say: is called with a readable line now and then.
        access: by what right the run has it.

    Returns:
        What the engine knows it by, and what it is.

    Raises:
        ImagePullError: it cannot be had; the message says how often that was tried.
        EngineUnavailableError: the engine does not answer.
        UnavailableError: the database refused.
    """
    spec = one.spec
    try:
        async with asyncio.timeout(limits.total_seconds) as total:
            if one.repeats_image:
                return await _same_image(engine, one, limits, say, access)
            return spec.image, await _permitted(engine, spec, limits, say, access)
    except ImagePullError as error:
        raise access.explained(error) from error
    except TimeoutError as error:
        if not total.expired():
            raise
        raise ImagePullError(
            f"image {spec.image} cannot be pulled: it took longer than pull_total_seconds = {limits.total_seconds:g}"
        ) from error


async def _permitted(
    engine: Engine, spec: ExecSpec, limits: PullLimits, say: Callable[[str], None], access: PullAccess
) -> ImageInfo:
    login = access.login

    async def pull(policy: PullPolicy) -> ImageInfo:
        return await _try_often(
            lambda: engine.ensure_image(spec.image, policy, say, login=login), spec.region_name, limits, say
        )

    found = await pull(spec.pull_policy)
    if not found.pulled and not await access.allows(found):
        if spec.pull_policy is PullPolicy.NEVER:
            raise ImagePullError(
                f"image {spec.image} is on the engine, but the namespace '{access.namespace}' has not pulled it "
                f"itself, and {access.host} is a registry with private images; use 'if_not_present', which asks it"
            )
        say(f"Asking {access.host}, as this namespace has not pulled the image yet")
        found = await pull(PullPolicy.ALWAYS)
    if found.pulled:
        await access.grant(found)
    return found


async def _same_image(
    engine: Engine, one: Exec, limits: PullLimits, say: Callable[[str], None], access: PullAccess
) -> tuple[str, ImageInfo]:
    """The image that the replayed run ran, wherever it still is: on the engine, else in its registry.

    An image that came from no registry is known by the engine's own id alone, which no registry knows.
    """
    spec, digest = one.spec, one.image_digest or ""
    gone = f"the image of exec {one.replay_of} is not on the engine any more"
    for name in (spec.image, digest):
        try:
            found = await engine.ensure_image(name, PullPolicy.NEVER, say)
        except ImagePullError:
            continue
        if await access.allows(found):
            return name, replace(found, digest=digest)
        gone = f"the namespace '{access.namespace}' has not pulled the image of exec {one.replay_of} itself"
    if spec.pull_policy is PullPolicy.NEVER:
        raise ImagePullError(
            f"{gone}, and the pull policy 'never' forbids to ask its registry: {spec.image}; load it there, or "
            "replay with a docker_image_tag"
        )
    try:
        # Asking again what a digest stands for tells nothing new, whatever the policy.
        spec = replace(spec, pull_policy=PullPolicy.IF_NOT_PRESENT)
        return spec.image, await _permitted(engine, spec, limits, say, access)
    except ImagePullError as error:
        raise error.saying(f"{gone}, and {error}; replay with a docker_image_tag to run another") from error


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
                raise ImagePullError(f"{error} (tried {attempt} times)") from error
            attempt += 1
            say(f"{error}; trying again in {pause:g} s ({attempt} of {limits.attempts})")
        PULLS_RETRIED.labels(region=region).inc()
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
