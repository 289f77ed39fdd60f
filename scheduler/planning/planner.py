"""Keeps upcoming due times in APScheduler and turns them into claims.

APScheduler is the alarm clock: it has a trigger for every schedule that is due within the horizon, and calls the
planner when one fires. The database is authoritative: `claims.claim` decides what is due, and whether this daemon
decides it, from the schedule's state there. Schedules beyond the horizon cost nothing; a scan finds them in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

import structlog
from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.errors import ScheduleError, UnavailableError
from scheduler.domain.execution import Exec
from scheduler.domain.job import Job, MisfirePolicy, Size
from scheduler.planning.claims import Claims, DueTimes, SharedRow, claim
from scheduler.process.faults import Point, point
from scheduler.process.metrics import LATENESS, OCCURRENCES
from scheduler.store import jobs
from scheduler.store.database import Database
from scheduler.timing.schedule import Schedule, parse_schedule
from scheduler.timing.trigger import ScheduleTrigger

log = structlog.get_logger()

MICROSECOND = timedelta(microseconds=1)
#: Maximum number of due times that one transaction decides, in total and per job.
CLAIM_LIMIT = 500
CLAIM_LIMIT_PER_JOB = 200
#: Due times that one step of a scan reads, and jobs that it loads at once.
SCAN_PAGE = 1_000
TAKEN_AT_ONCE = 50
#: If the wall clock deviates from the steady clock by this much, it was set, or the machine was asleep.
JUMP = timedelta(seconds=2)
#: Seconds between checks of the wall clock.
WATCH_INTERVAL = 1.0
#: Seconds between two checks after which the daemon is considered to have been stopped or starved.
STANDSTILL = 10.0
#: Seconds before a job that catches up faster than its runs end is checked again.
PACE_INTERVAL = 1.0
#: Maximum number of ledger entries per job after one outage; older due times share an entry.
LONGEST_BACKLOG = 100_000
#: If other daemons use the database: seconds between checks for jobs that they have created or changed, and how far
#: ahead these look. Otherwise, only the next scan would find them, and too late if the other daemon has died.
PEER_INTERVAL = 1.0
PEER_AHEAD = timedelta(seconds=5)
#: Seconds before a claim is retried after a database error.
RETRY_INTERVAL = 1.0


class Planner:
    """Decides due times on time.

    Args:
        database: where jobs and the ledger are stored.
        clock: the source of the current time.
        sizes: all sizes by name.
        horizon: how far ahead due times are kept in memory.
        on_claims: called after each commit with the decisions of the transaction.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        sizes: Mapping[str, Size],
        *,
        horizon: timedelta,
        on_claims: Callable[[Claims], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._sizes = sizes
        self._horizon = horizon
        self._on_claims = on_claims
        self._has_peers = False
        self._near: dict[int, Job] = {}
        self._due: dict[int, None] = {}  # an ordered set of job ids
        self._wake = asyncio.Event()
        self._rescan = asyncio.Event()
        self._horizon_end = clock.now()
        self._scheduler = AsyncIOScheduler(
            executors={"default": DebugExecutor()},
            # A trigger only causes a check, so firing late or once for several due times makes no difference.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1_000_000},
            timezone="UTC",
        )
        #: Start of the current period without gaps; earlier due times are subject to misfire policies.
        self.up_since = clock.now()
        self._steady = clock.steady()
        self._wall = clock.now()

    async def run(self) -> None:
        """Plan until cancelled."""
        self.up_since = self._clock.now()
        self._scheduler.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._scan_for_ever())
                tasks.create_task(self._claim_for_ever())
                tasks.create_task(self._watch_clock())
                tasks.create_task(self._watch_peers())
        finally:
            self._scheduler.shutdown(wait=False)

    def job_changed(self, job: Job) -> None:
        """Take over a job that is new, was changed, or was switched on or off."""
        self._drop(job.id)
        if job.cursor.next_due_at is not None and job.cursor.next_due_at <= self._horizon_end:
            self._take(job)

    def look_again(self) -> None:
        """Read the jobs that are due soon again: something may have been stored without a notification."""
        self._rescan.set()

    def note_peers(self, *, are_there: bool) -> None:
        """Notice whether other daemons use the database."""
        self._has_peers = are_there

    def job_deleted(self, job_id: int) -> None:
        """Forget a job."""
        self._drop(job_id)

    def _drop(self, job_id: int) -> None:
        self._due.pop(job_id, None)
        if self._near.pop(job_id, None) is not None:
            with suppress(JobLookupError):  # its trigger may have had no due time left within the horizon
                self._scheduler.remove_job(str(job_id))

    def _take(self, job: Job) -> None:
        """Keep a job in memory whose next due time is within the horizon."""
        self._near[job.id] = job
        self._arm(job)
        if job.cursor.next_due_at is not None and job.cursor.next_due_at <= self._clock.now():
            self._look(job.id)

    def _arm(self, job: Job) -> None:
        """Add a trigger to APScheduler that fires at every due time of the job from now to the horizon."""
        schedule = _schedule_of(job)
        due = job.cursor.next_due_at
        if schedule is None or due is None:
            return
        self._scheduler.add_job(
            self._look,
            ScheduleTrigger(schedule, max(due, self._clock.now()) - MICROSECOND, self._horizon_end),
            args=(job.id,),
            id=str(job.id),
            replace_existing=True,
        )

    def _look(self, job_id: int) -> None:
        self._due[job_id] = None
        self._wake.set()

    async def _scan_for_ever(self) -> None:
        while True:
            try:
                await self._scan()
            except UnavailableError as error:
                log.debug(
                    "planner.scan_failed", error=str(error)
                )  # the database logs its failure once for all
                await asyncio.sleep(RETRY_INTERVAL)
                continue
            # Half a horizon, so that jobs are in memory at least that long before they are due.
            # Not asyncio.wait_for: before Python 3.12, it loses a cancellation that comes just after the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._horizon.total_seconds() / 2):
                    await self._rescan.wait()
            self._rescan.clear()

    async def _scan(self) -> None:
        """Extend the horizon and load every job that is due within it."""
        self._horizon_end = self._clock.now() + self._horizon
        await self._load(self._horizon_end)

    async def _load(self, until: datetime) -> None:
        """Load every job that is due until a moment and not in memory."""
        after: tuple[datetime, int] | None = None
        while True:
            due = await self._database.read(
                partial(jobs.due_until, until=until, limit=SCAN_PAGE, after=after)
            )
            unknown = [job_id for _, job_id in due if not self._holds(job_id)]
            # A few at a time: creating triggers delays the claims of jobs that become due in the meantime.
            for start in range(0, len(unknown), TAKEN_AT_ONCE):
                chunk = unknown[start : start + TAKEN_AT_ONCE]
                for job in await self._database.read(partial(jobs.get_many, job_ids=chunk)):
                    if not self._holds(job.id):
                        self.job_changed(job)
            if len(due) < SCAN_PAGE:
                return
            after = due[-1]

    def _holds(self, job_id: int) -> bool:
        """Whether the job is in memory with a trigger that still fires; claims keep it up to date."""
        return job_id in self._near and self._scheduler.get_job(str(job_id)) is not None

    async def _claim_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.check_clock()
            while groups := self._groups():
                try:
                    await self._claim(groups)
                except UnavailableError as error:
                    log.debug("planner.claim_failed", error=str(error))
                    for group in groups:
                        self._look(group.job.id)
                    await asyncio.sleep(RETRY_INTERVAL)

    def _groups(self) -> list[DueTimes]:
        """Take due jobs from the set, as many as one transaction decides."""
        now = self._clock.now()
        groups: list[DueTimes] = []
        total = 0
        while self._due and total < CLAIM_LIMIT:
            job_id = next(iter(self._due))
            del self._due[job_id]
            job = self._near.get(job_id)
            if job is None:
                continue
            group = _due_times(job, now, self.up_since)
            if group is None:
                self._arm(job)  # the clock was set back after its trigger fired
            else:
                groups.append(group)
                total += len(group.due)
        return groups

    async def _claim(self, groups: list[DueTimes]) -> None:
        now = self._clock.now()
        up_since = self.up_since

        def work(connection: Connection) -> Claims:
            decided = claim(connection, groups, sizes=self._sizes, now=now, up_since=up_since)
            point(Point.CLAIMING)
            return decided

        # Not synced, because the dispatch is synced before anything is started; a claim lost in a power cut has
        # started nothing and is repeated.
        claims = await self._database.write(work, durable=False)
        point(Point.CLAIMED)
        for group in groups:
            if group.job.id in claims.advanced:
                self._advance(group.job, claims.advanced[group.job.id], held=group.job.id in claims.held)
        for job_id in claims.held:
            asyncio.get_running_loop().call_later(PACE_INTERVAL, self._look, job_id)
        for outcome, count in claims.outcomes.items():
            OCCURRENCES.labels(outcome=outcome.value).inc(count)
        _observe_lateness(claims.execs, self._clock.now())
        # Handed over before anything else can fail: a run that was committed as 'ran' must run.
        self._on_claims(claims)
        if claims.stale:
            await self._reload(claims.stale)

    def _advance(self, read: Job, following: datetime | None, *, held: bool) -> None:
        """Apply to memory what the transaction did in the database."""
        job = self._near.get(read.id)
        if job is None or job.cursor != read.cursor:
            return  # it was changed in the meantime, and the change is already in memory
        if following is None or following > self._horizon_end:
            self._drop(job.id)
            return
        self._near[job.id] = replace(job, cursor=replace(job.cursor, next_due_at=following))
        if self._scheduler.get_job(str(job.id)) is None:
            self._arm(self._near[job.id])  # its trigger ended with an earlier horizon
        if following <= self._clock.now() and not held:
            self._look(job.id)

    async def _reload(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            job = await self._database.read(partial(jobs.get, job_id=job_id))
            if job is None:
                self._drop(job_id)
            else:
                self.job_changed(job)

    async def _watch_peers(self) -> None:
        while True:
            await asyncio.sleep(PEER_INTERVAL)
            if self._has_peers:
                with suppress(UnavailableError):  # the next check or scan finds them
                    await self._load(min(self._clock.now() + PEER_AHEAD, self._horizon_end))

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            self.check_clock()

    def check_clock(self) -> None:
        """Detect that the clock was set, the machine slept or the daemon was paused; then check again what is due.

        Due times in between (after a jump forward: within it) are treated as if the daemon had been down. After a
        jump back, nothing runs again, because the progress of each schedule is stored.
        """
        steady, wall = self._clock.steady(), self._clock.now()
        passed = steady - self._steady
        jumped = (wall - self._wall) - timedelta(seconds=passed)
        self._steady, self._wall = steady, wall
        if abs(jumped) >= JUMP:
            log.warning("planner.clock_jumped", seconds=round(jumped.total_seconds(), 3))
        elif passed >= STANDSTILL:
            log.warning("planner.stood_still", seconds=round(passed, 3))
        else:
            return
        # After a jump back, no future due time may count as having been due before the start.
        self.up_since = wall if jumped > -JUMP else min(self.up_since, wall)
        # Jobs beyond the horizon may be due now, and timers count steady seconds.
        self._rescan.set()
        self._scheduler.wakeup()
        for job_id in self._near:
            self._look(job_id)


def _schedule_of(job: Job) -> Schedule | None:
    text = job.definition.schedule_mode
    if text is None:
        return None
    try:
        return parse_schedule(text, job.definition.schedule_timezone)
    except ScheduleError as error:
        # It was valid once; a time zone may have been removed from the machine's database since.
        log.exception("planner.schedule_unreadable", job=job.id, error=str(error))
        return None


def _due_times(job: Job, now: datetime, up_since: datetime) -> DueTimes | None:
    """The job's undecided due times up to now, or None if it is not due."""
    first = job.cursor.next_due_at
    schedule = _schedule_of(job)
    if first is None or first > now or schedule is None:
        return None
    newest = schedule.last_before(now + MICROSECOND) or first
    if first < up_since and job.definition.misfire_policy is not MisfirePolicy.ALL:
        backlog = schedule.count_between(first - MICROSECOND, now)
        if backlog > LONGEST_BACKLOG:
            return _shared(job, schedule, first, newest, backlog - LONGEST_BACKLOG)
    due = list(islice(schedule.occurrences(first - MICROSECOND, now), CLAIM_LIMIT_PER_JOB))
    if not due:
        return None
    return DueTimes(
        job=job,
        due=due,
        newest_missed=schedule.last_before(up_since),
        following=schedule.next_after(due[-1]),
    )


def _shared(job: Job, schedule: Schedule, first: datetime, newest: datetime, count: int) -> DueTimes:
    """The oldest `count` due times of a long outage, to be recorded in one ledger entry."""
    before = first - MICROSECOND
    low, high = first, newest  # the last of them is at or after `low` and before `high`
    while high - low > MICROSECOND:
        middle = low + (high - low) // 2
        if schedule.count_between(before, middle) > count:
            high = middle
        else:
            low = middle
    return DueTimes(
        job=job,
        due=[first],
        newest_missed=None,
        following=schedule.next_after(low),
        shared=SharedRow(count=count, last=schedule.last_before(low + MICROSECOND) or first),
    )


def _observe_lateness(new: list[Exec], now: datetime) -> None:
    for run in new:
        if run.scheduled_for is not None:
            LATENESS.observe((now - run.scheduled_for).total_seconds())
