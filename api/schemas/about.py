"""Information about the daemon."""

from __future__ import annotations

from pydantic import Field

from api.schemas.common import Moment, Output


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
