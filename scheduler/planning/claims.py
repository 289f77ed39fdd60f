"""One transaction that decides due times: writes ledger entries, creates waiting runs and advances the schedules.

Reads and writes the store; the pure functions that decide are those of `scheduler.timing`. Due times that another
daemon has decided, or whose job was changed, are left unchanged and reported as stale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.domain.drafting import draft_exec
from scheduler.domain.errors import InvalidInputError
from scheduler.domain.execution import Exec, Occurrence, Outcome, TriggerMode, replaced_by
from scheduler.domain.hook import NotRun
from scheduler.domain.job import ConcurrencyPolicy, Job, MisfirePolicy, Size
from scheduler.store import execs, jobs, ledger, outbox
from scheduler.timing.misfire import decide_misfire
from scheduler.timing.overlap import Overlap, decide_overlap, overlap_reason

MICROSECOND: Final = timedelta(microseconds=1)
#: Maximum number of open runs in the queue of a job.
QUEUE_LIMIT: Final = 1_000
#: A job that catches up on all missed runs gets no further runs while this many are open.
PACE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRow:
    """Due times of an outage so long that they share one ledger entry.

    Attributes:
        count: how many there are.
        last: the last of them (UTC).
    """

    count: int
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimes:
    """Due times of one job that are decided together.

    Attributes:
        job: the job as it was read; the claim is only valid while its schedule is in the same state.
        due: ascending, beginning with the job's `next_due_at`, without gaps.
        newest_missed: the schedule's last due time before the planner started to watch; None if there is none.
        following: the first due time after these; None if there are no more.
        shared: if given, `due` stands for these due times, all of which are missed.
    """

    job: Job
    due: Sequence[datetime]
    newest_missed: datetime | None
    following: datetime | None
    shared: SharedRow | None = None


@dataclass(slots=True)
class Claims:
    """The decisions of one transaction.

    Attributes:
        execs: the new runs, which are waiting.
        replaced: the runs to be stopped in favour of newer ones, each with the reason.
        advanced: the next due time of each schedule, by job id.
        stale: ids of jobs whose schedule has changed; they must be read again.
        held: ids of jobs that catch up and have enough open runs; they are checked again later.
        outcomes: the number of due times by outcome.
    """

    execs: list[Exec] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)
    advanced: dict[int, datetime | None] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    outcomes: dict[Outcome, int] = field(default_factory=dict)


def claim(
    connection: Connection,
    groups: Sequence[DueTimes],
    *,
    sizes: Mapping[str, Size],
    now: datetime,
    up_since: datetime,
) -> Claims:
    """Decide all due times of the groups, write the outcomes, and create the runs."""
    claims = Claims()
    current = _current(connection, groups, claims)
    active = execs.count_open(
        connection, [group.job.id for group in current if _counts_runs(group, up_since)]
    )
    entries: list[Occurrence] = []
    drafts: dict[tuple[int, datetime], Exec] = {}
    moves: dict[int, datetime | None] = {}
    newest: dict[int, str] = {}  # the run that replaces all others, by job id
    for group in current:
        job_id = group.job.id
        for due_at in group.due:
            going = active.get(job_id, 0)
            if going >= PACE and _catches_up(group, due_at, up_since):
                claims.held.add(job_id)
                moves[job_id] = due_at
                break
            decision = _decide(group, due_at, going, _Present(sizes, now, up_since))
            entries.append(decision.entry)
            if decision.draft is not None:
                drafts[job_id, due_at] = decision.draft
                active[job_id] = going + 1
            if decision.replaces and decision.draft is not None:
                newest[job_id] = decision.draft.id
        else:
            moves[job_id] = group.following
    written = ledger.record(connection, entries)
    # Each a microsecond after the previous one, so that readers find them in the order of their due times.
    claims.execs = [
        replace(draft, created_at=now + number * MICROSECOND)
        for number, (key, draft) in enumerate(drafts.items())
        if key in written
    ]
    execs.insert(connection, claims.execs)
    for job_id, exec_id in newest.items():
        claims.replaced |= _stop_all_but(connection, job_id, exec_id, now)
    jobs.advance(connection, moves.items())
    claims.advanced = moves
    ours = [entry for entry in entries if (entry.job_id, entry.due_at) in written]
    for entry in ours:
        claims.outcomes[entry.outcome] = claims.outcomes.get(entry.outcome, 0) + 1
    outbox.put_not_run(connection, _not_run(current, ours))
    return claims


def _not_run(groups: Sequence[DueTimes], entries: Sequence[Occurrence]) -> list[NotRun]:
    """Due times that did not run, one entry per job and outcome: a backlog is reported as a whole."""
    by_id = {group.job.id: group for group in groups}
    merged: dict[tuple[int, Outcome], NotRun] = {}
    for entry in entries:
        if entry.outcome is Outcome.RAN:
            continue
        group, key = by_id[entry.job_id], (entry.job_id, entry.outcome)
        shared = group.shared
        last, count = (entry.due_at, 1) if shared is None else (shared.last, shared.count)
        if (before := merged.get(key)) is not None:
            merged[key] = replace(before, last=last, count=before.count + count)
        else:
            merged[key] = not_run(group.job, entry, last=last, count=count)
    return list(merged.values())


def not_run(job: Job, entry: Occurrence, *, last: datetime, count: int) -> NotRun:
    """Due times of a job that did not run, the first of which has this entry in the ledger."""
    return NotRun(
        job_id=job.id,
        namespace=job.definition.namespace,
        created_by=job.created_by,
        outcome=entry.outcome,
        first=entry.due_at,
        last=last,
        count=count,
        reason=entry.reason,
        decided_at=entry.decided_at,
    )


def _current(connection: Connection, groups: Sequence[DueTimes], claims: Claims) -> list[DueTimes]:
    """The groups whose schedule is still in the state that was read; the others are stale."""
    locked = jobs.lock_many(connection, [group.job.id for group in groups])
    current = []
    for group in groups:
        stored = locked.get(group.job.id)
        if stored is None or stored.cursor != group.job.cursor:
            claims.stale.add(group.job.id)
        else:
            # If another daemon has changed the job in other ways, the stored version counts.
            current.append(replace(group, job=stored))
    return current


def _counts_runs(group: DueTimes, up_since: datetime) -> bool:
    """Whether the decision depends on the number of open runs of the job."""
    policy = group.job.definition.concurrency_policy
    return policy is not ConcurrencyPolicy.ALLOW or _catches_up(group, group.due[0], up_since)


def _catches_up(group: DueTimes, due_at: datetime, up_since: datetime) -> bool:
    return group.job.definition.misfire_policy is MisfirePolicy.ALL and due_at < up_since


def _stop_all_but(connection: Connection, job_id: int, exec_id: str, now: datetime) -> dict[str, str]:
    """Ask the job's other runs to stop, and return them with the reason."""
    reason = replaced_by(exec_id)
    others = [run for run in execs.open_of_job(connection, job_id) if run.id != exec_id]
    for run in others:
        execs.stop(connection, run, now=now, reason=reason)
    return {run.id: reason for run in others}


@dataclass(frozen=True, slots=True)
class _Present:
    sizes: Mapping[str, Size]
    now: datetime
    up_since: datetime


@dataclass(frozen=True, slots=True)
class _Decision:
    """The ledger entry for one due time, its run if there is one, and whether it replaces earlier runs."""

    entry: Occurrence
    draft: Exec | None = None
    replaces: bool = False


def _decide(group: DueTimes, due_at: datetime, active: int, present: _Present) -> _Decision:
    job, now = group.job, present.now

    def refused(outcome: Outcome, reason: str) -> _Decision:
        return _Decision(
            Occurrence(
                job_id=job.id, due_at=due_at, outcome=outcome, exec_id=None, reason=reason, decided_at=now
            )
        )

    if group.shared is not None:
        return refused(
            Outcome.MISSED,
            f"The daemon was not running at this time, nor at the {group.shared.count - 1} later due times until "
            f"{group.shared.last.isoformat()}; they share this entry because there are so many.",
        )
    misfire = decide_misfire(
        due_at,
        newest=group.newest_missed,
        now=now,
        up_since=present.up_since,
        policy=job.definition.misfire_policy,
        grace=job.definition.misfire_grace,
    )
    if not misfire.run:
        return refused(Outcome.MISSED, misfire.reason or "missed")
    overlap = decide_overlap(job.definition.concurrency_policy, active)
    if overlap is Overlap.WAIT and active >= QUEUE_LIMIT:
        return refused(
            Outcome.EXPIRED,
            f"{active} earlier runs had not ended; with concurrency_policy 'queue', at most {QUEUE_LIMIT} can wait.",
        )
    if overlap is Overlap.SKIP:
        return refused(Outcome.SKIPPED, overlap_reason(overlap, active) or "skipped")
    try:
        draft = draft_exec(
            job,
            present.sizes,
            trigger_mode=TriggerMode.SCHEDULE,
            created_by=job.created_by,
            now=now,
            scheduled_for=due_at,
        )
    except InvalidInputError as error:
        return refused(Outcome.EXPIRED, f"The run could not be created: {error}")
    entry = Occurrence(
        job_id=job.id, due_at=due_at, outcome=Outcome.RAN, exec_id=draft.id, reason=None, decided_at=now
    )
    return _Decision(entry, draft, overlap is Overlap.REPLACE)
