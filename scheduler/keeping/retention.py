"""How much of a job's past is kept: by age, by number and by the size of its logs.

Pure: a job says so itself, or leaves it to the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.store.clearing import Stock


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept of a job; 0 is no limit.

    Attributes:
        days: for which ended execs, their logs and the ledger are kept.
        count: of execs.
        log_bytes: that the logs of all its execs may take up, as they are stored.
    """

    days: int
    count: int
    log_bytes: int

    def of(self, job: Stock) -> Retention:
        """What a job keeps; these are the defaults of what it does not say."""
        return Retention(
            self.days if job.retention_days is None else job.retention_days,
            self.count if job.retention_count is None else job.retention_count,
            self.log_bytes if job.retention_log_bytes is None else job.retention_log_bytes,
        )

    def oldest(self, now: datetime) -> datetime | None:
        """What had ended, and was decided, before this is too old; None if nothing ever is."""
        if not self.days:
            return None
        try:
            return now - timedelta(days=self.days)
        except OverflowError:
            return None

    def surplus(self, job: Stock) -> int:
        """How many execs are too many."""
        return max(job.execs - self.count, 0) if self.count else 0

    def excess_bytes(self, job: Stock) -> int:
        """By how many bytes the logs are too large."""
        return max(job.log_bytes - self.log_bytes, 0) if self.log_bytes else 0
