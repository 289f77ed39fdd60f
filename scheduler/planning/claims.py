"""One transaction that decides due times: ledger entries, waiting execs, and how far each schedule has come.

Reads and writes the store; the decisions themselves are the pure ones of `scheduler.timing`. Whatever another
daemon or a change of the job has overtaken is left alone and reported as stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.engine import Connection

from scheduler.drafting import draft_exec
from scheduler.errors import InvalidInputError
from scheduler.execution import Exec, Occurrence, Outcome, TriggerMode
from scheduler.job import ConcurrencyPolicy, Job, Size
from scheduler.store import execs, jobs, ledger
from scheduler.timing.misfire import decide_misfire
from scheduler.timing.overlap import Overlap, decide_overlap, overlap_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimes:
    """Due times of one job that are to be decided together.

    Attributes:
        job: as it was read; the claim holds only while its schedule stands where it stood then.
        due: ascending, beginning with the job's `next_due_at`, none skipped.
        newest: the schedule's last due time that is not in the future.
        following: the first due time after these; None when none is left.
    """

    job: Job
    due: Sequence[datetime]
    newest: datetime
    following: datetime | None


@dataclass(slots=True)
class Claims:
    """What a transaction decided.

    Attributes:
        execs: the new runs, which wait.
        replaced: ids of runs that are to be stopped for newer ones.
        advanced: job ids whose schedule has moved on as asked.
        stale: job ids whose schedule stood elsewhere; read them again.
        outcomes: how many due times got which outcome.
    """

    execs: list[Exec] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    advanced: set[int] = field(default_factory=set)
    stale: set[int] = field(default_factory=set)
    outcomes: dict[Outcome, int] = field(default_factory=dict)


def claim(
    connection: Connection,
    groups: Sequence[DueTimes],
    *,
    sizes: Mapping[str, Size],
    now: datetime,
    up_since: datetime,
) -> Claims:
    """Decide every due time of the groups, write the outcomes, and make the execs of those that run."""
    claims = Claims()
    locked = jobs.lock_many(connection, [group.job.id for group in groups])
    current = []
    for group in groups:
        stored = locked.get(group.job.id)
        if stored is None or stored.cursor != group.job.cursor:
            claims.stale.add(group.job.id)
        else:
            current.append(group)
    active = execs.count_open(
        connection,
        [
            group.job.id
            for group in current
            if group.job.definition.concurrency_policy is not ConcurrencyPolicy.ALLOW
        ],
    )
    entries: list[Occurrence] = []
    drafts: dict[tuple[int, datetime], Exec] = {}
    replacing: set[int] = set()
    for group in current:
        for due_at in group.due:
            entry, draft, replaces = _decide(group, due_at, active.get(group.job.id, 0), sizes, now, up_since)
            entries.append(entry)
            if draft is not None:
                drafts[group.job.id, due_at] = draft
                active[group.job.id] = active.get(group.job.id, 0) + 1
            if replaces:
                replacing.add(group.job.id)
    written = ledger.record(connection, entries)
    for job_id in replacing:
        for earlier in execs.open_of_job(connection, job_id):
            execs.request_stop(connection, earlier.id, now=now)
            claims.replaced.append(earlier.id)
    claims.execs = [draft for key, draft in drafts.items() if key in written]
    execs.insert(connection, claims.execs)
    jobs.advance(connection, [(group.job.id, group.following) for group in current])
    claims.advanced = {group.job.id for group in current}
    for entry in entries:
        if (entry.job_id, entry.due_at) in written:
            claims.outcomes[entry.outcome] = claims.outcomes.get(entry.outcome, 0) + 1
    return claims


def _decide(
    group: DueTimes,
    due_at: datetime,
    active: int,
    sizes: Mapping[str, Size],
    now: datetime,
    up_since: datetime,
) -> tuple[Occurrence, Exec | None, bool]:
    """The ledger's entry for one due time, the run if there is one, and whether it replaces earlier runs."""
    job = group.job

    def refused(outcome: Outcome, reason: str) -> tuple[Occurrence, None, bool]:
        entry = Occurrence(
            job_id=job.id, due_at=due_at, outcome=outcome, exec_id=None, reason=reason, decided_at=now
        )
        return entry, None, False

    misfire = decide_misfire(
        due_at,
        newest=group.newest,
        now=now,
        up_since=up_since,
        policy=job.definition.misfire_policy,
        grace=job.definition.misfire_grace,
    )
    if not misfire.run:
        return refused(Outcome.MISSED, misfire.reason or "missed")
    overlap = decide_overlap(job.definition.concurrency_policy, active)
    if overlap is Overlap.SKIP:
        return refused(Outcome.SKIPPED, overlap_reason(overlap, active) or "skipped")
    try:
        draft = draft_exec(
            job,
            sizes,
            trigger_mode=TriggerMode.SCHEDULE,
            created_by=job.created_by,
            now=now,
            scheduled_for=due_at,
        )
    except InvalidInputError as error:
        return refused(Outcome.EXPIRED, f"It could not run: {error}")
    entry = Occurrence(
        job_id=job.id, due_at=due_at, outcome=Outcome.RAN, exec_id=draft.id, reason=None, decided_at=now
    )
    return entry, draft, overlap is Overlap.REPLACE
