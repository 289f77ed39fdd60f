"""Closes the ledger of a schedule that is changed or switched off while due times of it are undecided.

That happens while a job catches up after an outage, or in the instant in which a due time is being claimed.
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

#: Due times that get a row each; with more than this, all share one.
LONGEST: Final = 10_000
MICROSECOND: Final = timedelta(microseconds=1)
REASON: Final = "The schedule was changed or switched off before this was decided."


def abandon(connection: Connection, before: Job, *, now: datetime) -> None:
    """Record as expired what fell due by the schedule as it was, and was not decided.

    Args:
        connection: inside the transaction that changes the schedule.
        before: the job as it was.
        now: the present (UTC).
    """
    first, text = before.cursor.next_due_at, before.definition.schedule_mode
    if first is None or text is None or first >= now:
        return
    schedule = parse_schedule(text, before.definition.schedule_timezone)
    count = schedule.count_between(first - MICROSECOND, now - MICROSECOND)
    if count > LONGEST:
        last = schedule.last_before(now) or first
        shared = f"{REASON} So it was for the {count - 1} due times after it until {last.isoformat()}."
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
