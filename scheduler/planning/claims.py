"""One transaction that decides due times: ledger entries, waiting execs, and how far each schedule has come.

Reads and writes the store; the decisions themselves are the pure ones of `scheduler.timing`. Whatever another
daemon or a change of the job has overtaken is left alone and reported as stale.
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
#: Runs of one job that its queue holds at most.
QUEUE_LIMIT: Final = 1_000
#: A job that runs all that it missed gets no further runs while it has this many that have not ended.
PACE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedRow:
    """Due times of an outage so long that they share one row of the ledger.

    Attributes:
        count: how many there are.
        last: the last of them (UTC).
    """

    count: int
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTimes:
    """Due times of one job that are to be decided together.

    Attributes:
        job: as it was read; the claim holds only while its schedule stands where it stood then.
        due: ascending, beginning with the job's `next_due_at`, none skipped.
        newest_missed: the schedule's last due time before the planner began to watch; None when there is none.
        following: the first due time after these; None when none is left.
        shared: if given, `due` stands for these, which are all missed.
    """

    job: Job
    due: Sequence[datetime]
    newest_missed: datetime | None
    following: datetime | None
    shared: SharedRow | None = None


@dataclass(slots=True)
class Claims:
    """What a transaction decided.

    Attributes:
        execs: the new runs, which wait.
        replaced: the runs that are to be stopped for newer ones, each with the reason.
        advanced: where the schedules have moved on to, by job id.
        stale: job ids whose schedule stood elsewhere; read them again.
        held: job ids that run all they missed and have enough runs going; look again later.
        outcomes: how many due times got which outcome.
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
    """Decide every due time of the groups, write the outcomes, and make the execs of those that run."""
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
    # Each a microsecond after the one before: who reads them later finds them in the order of their due times.
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
    """What did not run, one for each job and outcome: a backlog is told of as a whole, not once for each."""
    by_id = {group.job.id: group for group in groups}
    found: dict[tuple[int, Outcome], NotRun] = {}
    for entry in entries:
        if entry.outcome is Outcome.RAN:
            continue
        group, key = by_id[entry.job_id], (entry.job_id, entry.outcome)
        shared = group.shared
        last, count = (entry.due_at, 1) if shared is None else (shared.last, shared.count)
        if (before := found.get(key)) is not None:
            found[key] = replace(before, last=last, count=before.count + count)
        else:
            found[key] = not_run(group.job, entry, last=last, count=count)
    return list(found.values())


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
    """The groups whose schedule still stands where it was read; the others are stale."""
    locked = jobs.lock_many(connection, [group.job.id for group in groups])
    current = []
    for group in groups:
        stored = locked.get(group.job.id)
        if stored is None or stored.cursor != group.job.cursor:
            claims.stale.add(group.job.id)
        else:
            # Of what else another daemon has changed, only what is stored counts.
            current.append(replace(group, job=stored))
    return current


def _counts_runs(group: DueTimes, up_since: datetime) -> bool:
    """Whether the decision depends on how many runs of the job have not ended."""
    policy = group.job.definition.concurrency_policy
    return policy is not ConcurrencyPolicy.ALLOW or _catches_up(group, group.due[0], up_since)


def _catches_up(group: DueTimes, due_at: datetime, up_since: datetime) -> bool:
    return group.job.definition.misfire_policy is MisfirePolicy.ALL and due_at < up_since


def _stop_all_but(connection: Connection, job_id: int, exec_id: str, now: datetime) -> dict[str, str]:
    """Ask the job's other runs to stop, and answer which these are, each with the reason."""
    reason = replaced_by(exec_id)
    others = [one for one in execs.open_of_job(connection, job_id) if one.id != exec_id]
    for one in others:
        execs.stop(connection, one, now=now, reason=reason)
    return {one.id: reason for one in others}


@dataclass(frozen=True, slots=True)
class _Present:
    sizes: Mapping[str, Size]
    now: datetime
    up_since: datetime


@dataclass(frozen=True, slots=True)
class _Decision:
    """The ledger's entry for one due time, the run if there is one, and whether it replaces earlier runs."""

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
            f"The daemon was not running at this time and the {group.shared.count - 1} due times after it "
            f"until {group.shared.last.isoformat()}; they share this entry because there are so many.",
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
            f"{active} earlier runs had not ended; concurrency_policy 'queue' lets no more than {QUEUE_LIMIT} wait.",
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
        return refused(Outcome.EXPIRED, f"It could not run: {error}")
    entry = Occurrence(
        job_id=job.id, due_at=due_at, outcome=Outcome.RAN, exec_id=draft.id, reason=None, decided_at=now
    )
    return _Decision(entry, draft, overlap is Overlap.REPLACE)
