"""Engines and their limits, as the settings of their regions describe them.

Only here are concrete engines named.
"""

from __future__ import annotations

from collections.abc import Callable

from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import EngineTimeLimits, TlsFiles
from scheduler.engine.protocol import Engine
from scheduler.running.pulling import PullLimits
from scheduler.running.regions import RegionLimits
from scheduler.settings.parts import RegionSettings

EngineFactory = Callable[[RegionSettings, str], Engine]


def docker_engine(settings: RegionSettings, installation: str) -> Engine:
    """The engine that a region's settings describe."""
    tls = None
    if settings.tls_ca and settings.tls_cert and settings.tls_key:
        tls = TlsFiles(ca=settings.tls_ca, certificate=settings.tls_cert, key=settings.tls_key)
    limits = EngineTimeLimits(control=settings.engine_call_seconds, pull_idle=settings.pull_stall_seconds)
    return DockerEngine(
        settings.url,
        installation=installation,
        tls=tls,
        limits=limits,
        require_limits=settings.require_limits,
    )


def region_limits(settings: RegionSettings) -> RegionLimits:
    """What a region's settings allow."""
    return RegionLimits(
        require_limits=settings.require_limits,
        cpus=settings.cpus,
        memory_bytes=None if settings.memory_mib is None else settings.memory_mib << 20,
        answer_seconds=settings.engine_answer_seconds,
        pulls=PullLimits(
            total_seconds=settings.pull_total_seconds,
            attempts=settings.pull_attempts,
            pause_seconds=settings.pull_retry_seconds,
        ),
    )
