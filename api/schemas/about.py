"""What a daemon tells about itself."""

from __future__ import annotations

from typing import Self

from api.schemas.common import Moment, Output
from scheduler.domain.views import About


class AboutOut(Output):
    """Which daemon answers.

    Attributes:
        version: of Timeball.
        instance: this data directory's daemon, the same after every start.
        installation: the id that its containers carry.
        database: `sqlite` or `postgresql`.
        started_at: when it was started.
        now: its clock.
        clock_jumped_seconds: by how much its clock has been set since its start.
        default_size: of jobs that name none.
        default_region: likewise.
    """

    version: str
    instance: str
    installation: str
    database: str
    started_at: Moment
    now: Moment
    clock_jumped_seconds: float
    default_size: str
    default_region: str

    @classmethod
    def of(cls, about: About) -> Self:
        """The shape of it."""
        return cls(**{name: getattr(about, name) for name in cls.model_fields})
