"""What the use cases answer beside plain jobs and runs: things put together for whoever asked.

Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.execution import Exec
from scheduler.job import Job


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its newest run, as users see it."""

    job: Job
    last_exec: Exec | None


@dataclass(frozen=True, slots=True)
class ExecView:
    """A run with what it waits for, if it does."""

    exec: Exec
    waiting_for: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        """How many entries come before it."""
        return (self.number - 1) * self.size
