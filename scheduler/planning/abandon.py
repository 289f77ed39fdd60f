"""Closes the ledger of a schedule that is changed or switched off before all its due times were decided.

This happens while a job catches up after an outage, or at the moment in which a due time is being claimed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.domain.execution import Occurrence, Outcome
from scheduler.domain.job import Job
from scheduler.planning.claims import not_run
from scheduler.store import ledger, outbox
from scheduler.timing.schedule import parse_schedule

#: Maximum number of due times that get a ledger entry each; if there are more, all share one.
LONGEST: Final = 10_000
MICROSECOND: Final = timedelta(microseconds=1)
REASON: Final = "The schedule was changed or switched off before this due time was decided."


def abandon(connection: Connection, before: Job, *, now: datetime) -> None:
    """Record undecided due times of the old schedule as expired.

    Args:
        connection: inside the transaction that changes the schedule.
        before: the job before the change.
        now: the current time (UTC).
    """
    first, text = before.cursor.next_due_at, before.definition.schedule_mode
    if first is None or text is None or first >= now:
        return
    schedule = parse_schedule(text, before.definition.schedule_timezone)
    count = schedule.count_between(first - MICROSECOND, now - MICROSECOND)
    if count > LONGEST:
        last = schedule.last_before(now) or first
        shared = f"{REASON} The same applies to the {count - 1} later due times until {last.isoformat()}."
        entry = _entry(before.id, first, shared, now)
        if ledger.record(connection, [entry]):
            outbox.put_not_run(connection, [not_run(before, entry, last=last, count=count)])
        return
    due = schedule.occurrences(first - MICROSECOND, now - MICROSECOND)
    entries = [_entry(before.id, moment, REASON, now) for moment in due]
    if written := sorted(moment for _, moment in ledger.record(connection, entries)):
        entry = _entry(before.id, written[0], REASON, now)
        outbox.put_not_run(connection, [not_run(before, entry, last=written[-1], count=len(written))])


def _entry(job_id: int, due_at: datetime, reason: str, now: datetime) -> Occurrence:
    return Occurrence(
        job_id=job_id, due_at=due_at, outcome=Outcome.EXPIRED, exec_id=None, reason=reason, decided_at=now
    )
