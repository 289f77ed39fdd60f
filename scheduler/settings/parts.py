"""Groups of settings: engines, sizes, namespaces and timeouts of engines.

Pure, except for `DOCKER_HOST`, which says where the local engine listens.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from scheduler.domain.errors import SettingsError
from scheduler.domain.job import LOCAL_REGION
from scheduler.policy.options import PolicySettings

DOCKER_SOCKET: Final = "unix:///var/run/docker.sock"

RegionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
NamespaceName = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]{0,99}\Z")]
SizeName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}\Z")]


class Strict(BaseModel):
    """A table that rejects unknown settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Patience(BaseModel):
    """Timeouts of engines and registries, for all regions or for a single one."""

    engine_answer_seconds: float = Field(
        default=10.0,
        ge=0.5,
        le=600,
        description="Seconds without an answer to a ping after which an engine counts as unresponsive.",
    )
    engine_call_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Maximum duration of a call to an engine, such as starting a container, in seconds.",
    )
    pull_stall_seconds: float = Field(
        default=120.0,
        ge=1,
        le=86_400,
        description="Seconds without progress after which a pull is cancelled.",
    )
    pull_total_seconds: float = Field(
        default=3600.0,
        ge=1,
        le=604_800,
        description="Maximum duration of a run's pull in seconds, including all attempts.",
    )
    pull_attempts: int = Field(
        default=4,
        ge=1,
        le=100,
        description="Number of attempts at a pull when the registry has temporary errors.",
    )
    pull_retry_seconds: float = Field(
        default=2.0,
        ge=0.1,
        le=3600,
        description="Seconds before the second attempt at a pull; the pause doubles with each attempt.",
    )


class RegionSettings(Strict, Patience):
    """An engine that jobs can use as their region; timeouts that are not set here are the general ones."""

    engine: Literal["docker"] = Field(default="docker", description="The kind of engine.")
    url: str = Field(
        description="The engine's address: unix:///path, tcp://host:port, https://host:port or ssh://user@host.",
        pattern=r"^(unix|tcp|http|https|ssh)://.+",
    )
    tls_ca: Path | None = Field(
        default=None, description="The authority that signed the engine's certificate."
    )
    tls_cert: Path | None = Field(
        default=None, description="The daemon's client certificate, if the engine requires one."
    )
    tls_key: Path | None = Field(default=None, description="The key of the client certificate.")
    cpus: float | None = Field(
        default=None, gt=0, description="Processors that runs can reserve. Default: all that the engine has."
    )
    memory_mib: int | None = Field(
        default=None,
        gt=0,
        description="Memory that runs can reserve, in MiB. Default: all that the engine has.",
    )

    require_limits: bool = Field(
        default=True,
        description="Whether no run is started on an engine that cannot limit processors, memory or processes.",
    )

    @model_validator(mode="after")
    def _check_tls(self) -> RegionSettings:
        given = [path is not None for path in (self.tls_ca, self.tls_cert, self.tls_key)]
        if any(given) and not all(given):
            msg = "tls_ca, tls_cert and tls_key belong together: set all three or none of them"
            raise ValueError(msg)
        return self


class SizeSettings(Strict):
    """A size that jobs can use as their resource_size."""

    cpus: float = Field(ge=0.01, description="Processors, as limit and as reservation.")
    memory_mib: int = Field(ge=6, description="Memory in MiB, as limit and as reservation.")


class NamespaceSettings(Strict):
    """What the jobs of one namespace may do; settings that are missing here come from `namespace_defaults`."""

    max_running: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of concurrent runs of the namespace over all regions. Default: no limit.",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="The namespace's share of a busy region, relative to the weights of other namespaces.",
    )
    policy: PolicySettings | None = Field(
        default=None,
        description="Exceptions from `policy` for the namespace's containers.",
    )


def local_region() -> RegionSettings:
    """The local engine: the one in `DOCKER_HOST`, or the one at the default socket.

    Raises:
        SettingsError: `DOCKER_HOST` is not the address of an engine.
    """
    given = os.environ.get("DOCKER_HOST")
    try:
        return RegionSettings(url=given or DOCKER_SOCKET)
    except ValidationError as error:
        raise SettingsError(
            f"DOCKER_HOST is not the address of an engine (got {given!r}). Use unix:///path, tcp://host:port, "
            f"https://host:port or ssh://user@host; or unset it to use {DOCKER_SOCKET} as {LOCAL_REGION}"
        ) from error
