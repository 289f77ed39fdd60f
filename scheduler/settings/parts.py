"""The settings that belong together: an engine, a size, a namespace, and how long engines are waited for.

Pure, but for `DOCKER_HOST`, which says where the engine of this machine listens.
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
    """A table in which a name that is none of its settings is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Patience(BaseModel):
    """How long engines and registries are waited for, for all regions or for one."""

    engine_answer_seconds: float = Field(
        default=10.0, ge=0.5, le=600, description="An engine that leaves a ping unanswered for so long hangs."
    )
    engine_call_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="How long one call may take, such as starting a container."
    )
    pull_stall_seconds: float = Field(
        default=120.0, ge=1, le=86_400, description="A pull without progress for so long is broken off."
    )
    pull_total_seconds: float = Field(
        default=3600.0, ge=1, le=604_800, description="How long a run's pull may take, with all its tries."
    )
    pull_attempts: int = Field(
        default=4, ge=1, le=100, description="How often a pull is tried when its registry's trouble may pass."
    )
    pull_retry_seconds: float = Field(
        default=2.0, ge=0.1, le=3600, description="The pause before a second try; it doubles with each one."
    )


class RegionSettings(Strict, Patience):
    """One engine that jobs can name as their region; what it does not say of patience is as for all."""

    engine: Literal["docker"] = Field(default="docker", description="What kind of engine it is.")
    url: str = Field(
        description="Where it listens: unix:///path, tcp://host:port, https://host:port or ssh://user@host.",
        pattern=r"^(unix|tcp|http|https|ssh)://.+",
    )
    tls_ca: Path | None = Field(
        default=None, description="The authority that signed the engine's certificate."
    )
    tls_cert: Path | None = Field(default=None, description="Our certificate, where the engine asks for one.")
    tls_key: Path | None = Field(default=None, description="The key of our certificate.")
    cpus: float | None = Field(
        default=None, gt=0, description="Processors to reserve from; what the engine has, if not given."
    )
    memory_mib: int | None = Field(
        default=None, gt=0, description="Memory to reserve from, in MiB; what the engine has, if not given."
    )

    @model_validator(mode="after")
    def _check_tls(self) -> RegionSettings:
        given = [path is not None for path in (self.tls_ca, self.tls_cert, self.tls_key)]
        if any(given) and not all(given):
            msg = "tls_ca, tls_cert and tls_key belong together: give all three or none"
            raise ValueError(msg)
        return self


class SizeSettings(Strict):
    """One size that jobs can name as their resource_size."""

    cpus: float = Field(ge=0.01, description="Processors: limit and reservation.")
    memory_mib: int = Field(ge=6, description="Memory in MiB: limit and reservation.")


class NamespaceSettings(Strict):
    """What the jobs of one namespace may do; what is not given is as `namespace_defaults` says."""

    max_running: int | None = Field(
        default=None, ge=1, description="Runs going at a time, over all regions; no limit if not given."
    )
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Its share of a region that others want too, beside theirs."
    )
    policy: PolicySettings | None = Field(
        default=None, description="What its containers may do otherwise than `policy` says for all."
    )


def local_region() -> RegionSettings:
    """The engine of this machine, as `DOCKER_HOST` or its usual socket says.

    Raises:
        SettingsError: `DOCKER_HOST` is no address of an engine.
    """
    given = os.environ.get("DOCKER_HOST")
    try:
        return RegionSettings(url=given or DOCKER_SOCKET)
    except ValidationError as error:
        raise SettingsError(
            f"DOCKER_HOST: is no address of an engine (got {given!r}). Write unix:///path, tcp://host:port, "
            f"https://host:port or ssh://user@host; or unset it, and {LOCAL_REGION} is {DOCKER_SOCKET}"
        ) from error
