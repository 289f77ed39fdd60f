"""How much of a job's history is kept: limits for age, number of runs and size of logs.

Pure: a job sets its own limits, or uses those of the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.store.clearing import Stock


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits of a job; 0 means no limit.

    Attributes:
        days: days for which ended runs, their logs and ledger entries are kept.
        count: maximum number of runs.
        log_bytes: maximum size of the logs of all runs together, as stored.
    """

    days: int
    count: int
    log_bytes: int

    def of(self, job: Stock) -> Retention:
        """The limits of a job, with these as defaults for those it does not set."""
        return Retention(
            self.days if job.retention_days is None else job.retention_days,
            self.count if job.retention_count is None else job.retention_count,
            self.log_bytes if job.retention_log_bytes is None else job.retention_log_bytes,
        )

    def oldest(self, now: datetime) -> datetime | None:
        """Runs that ended, and due times that were decided, before this are deleted; None if there is no limit."""
        if not self.days:
            return None
        try:
            return now - timedelta(days=self.days)
        except OverflowError:
            return None

    def surplus(self, job: Stock) -> int:
        """Number of runs beyond the limit."""
        return max(job.execs - self.count, 0) if self.count else 0

    def excess_bytes(self, job: Stock) -> int:
        """Number of log bytes beyond the limit."""
        return max(job.log_bytes - self.log_bytes, 0) if self.log_bytes else 0
