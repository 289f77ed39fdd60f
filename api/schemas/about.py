"""Information about the daemon."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from api.schemas.common import Moment, Output
from scheduler.domain.views import About


class EngineOut(Output):
    """The engine of a region, as it was when it last answered.

    Everything except `region` and `is_up` is null for engines that have not answered yet, and for callers who are not
    administrators of all namespaces.
    """

    region: str = Field(description="The name of the region.")
    is_up: bool = Field(description="Whether the engine answers now.")
    product: str | None = Field(description="`Docker Engine` or `Podman`.")
    version: str | None = Field(description="The version of the engine.")
    api_version: str | None = Field(
        description="The newest version of the Docker API that the engine supports."
    )
    image_store: str | None = Field(
        description="Where the engine keeps images: a storage driver, or `containerd (…)`."
    )
    log_driver: str | None = Field(description="The log driver that keeps the output of runs.")
    cgroup_version: int | None = Field(description="The version of cgroups on the engine's host: 1 or 2.")
    is_rootless: bool | None = Field(description="Whether the engine runs without root's rights.")
    has_userns_remap: bool | None = Field(
        description="Whether the engine maps the users of containers to others of its host (`userns-remap`)."
    )
    has_live_restore: bool | None = Field(
        description="Whether containers continue while the engine is not running (`live-restore`)."
    )
    missing_limits: list[str] | None = Field(
        description="Limits that the engine cannot enforce: `cpus`, `memory`, `swap`, `pids`."
    )
    refuses_runs: bool | None = Field(
        description="Whether no run can be started on the engine; `warnings` says why."
    )
    warnings: list[str] | None = Field(description="Known troubles of the engine, each with what to do.")


class AboutOut(Output):
    """The daemon that answers."""

    version: str = Field(description="The version of Timeball.")
    instance: str = Field(
        description="The daemon's id; it belongs to the data directory and survives restarts."
    )
    installation: str = Field(description="The installation's id, which its containers carry as a label.")
    database: str = Field(description="`sqlite` or `postgresql`.")
    started_at: Moment = Field(description="When the daemon was started (UTC).")
    now: Moment = Field(description="The daemon's time (UTC).")
    clock_jumped_seconds: float = Field(
        description="Seconds by which the clock has jumped since the daemon started."
    )
    default_size: str = Field(description="The size of jobs that do not name one.")
    default_region: str = Field(description="The region of jobs that do not name one.")
    engines: list[EngineOut] = Field(description="The engines of all regions.")

    @classmethod
    def of_about(cls, about: About) -> Self:
        """The shape of what the daemon says about itself."""
        return cls.of(about, engines=[EngineOut.of(engine) for engine in about.engines])
