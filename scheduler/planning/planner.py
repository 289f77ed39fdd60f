"""Keeps the near future in APScheduler and turns what falls due into claims.

APScheduler is the clock: it holds a trigger for every schedule due within the horizon and says 'look' when one
fires. The database is the truth: what exactly is due, and whether it is ours, is decided by `claims.claim` from
where the schedule stands there. A schedule that is further away costs nothing here; a scan finds it in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

import structlog
from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy.engine import Connection

from scheduler.clock import Clock
from scheduler.errors import ScheduleError, UnavailableError
from scheduler.execution import Exec
from scheduler.job import Job, Size
from scheduler.metrics import LATENESS, OCCURRENCES
from scheduler.planning.claims import Claims, DueTimes, claim
from scheduler.store import jobs
from scheduler.store.database import Database
from scheduler.timing.schedule import Schedule, parse_schedule
from scheduler.timing.trigger import ScheduleTrigger

log = structlog.get_logger()

MICROSECOND = timedelta(microseconds=1)
#: Due times decided in one transaction at most, over all jobs, and of one job.
CLAIM_LIMIT = 500
CLAIM_LIMIT_PER_JOB = 200
#: Rows that one step of a scan reads.
SCAN_PAGE = 250
#: A wall clock that moves by this much more or less than the steady one has been set, or the machine slept.
JUMP = timedelta(seconds=2)
#: Seconds between looks at the wall clock.
WATCH_INTERVAL = 1.0
#: Seconds before a claim that the database refused is tried again.
RETRY_INTERVAL = 1.0


class Planner:
    """Decides due times in time.

    Args:
        database: where jobs and the ledger are.
        clock: tells the wall-clock time.
        sizes: all sizes by name.
        horizon: how far ahead due times are held in memory.
        on_claims: is given what each transaction decided, after its commit.
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
        self._near: dict[int, Job] = {}
        self._due: dict[int, None] = {}  # an ordered set of job ids
        self._wake = asyncio.Event()
        self._horizon_end = clock.now()
        self._scheduler = AsyncIOScheduler(
            executors={"default": DebugExecutor()},
            # A trigger that fires is only a call to look: firing late or once for several changes nothing.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1_000_000},
            timezone="UTC",
        )
        #: Since when due times have been watched without a gap; earlier ones are subject to misfire policies.
        self.up_since = clock.now()
        self._steady = time.monotonic()
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
        finally:
            self._scheduler.shutdown(wait=False)

    def job_changed(self, job: Job) -> None:
        """Take up a job as it is now: new, changed, switched on or off."""
        self._drop(job.id)
        if job.cursor.next_due_at is not None and job.cursor.next_due_at <= self._horizon_end:
            self._take(job)

    def job_deleted(self, job_id: int) -> None:
        """Forget a job."""
        self._drop(job_id)

    def _drop(self, job_id: int) -> None:
        self._due.pop(job_id, None)
        if self._near.pop(job_id, None) is not None:
            try:
                self._scheduler.remove_job(str(job_id))
            except JobLookupError:
                pass  # its trigger had no time left within the horizon

    def _take(self, job: Job) -> None:
        """Hold a job whose next due time lies within the horizon."""
        schedule = _schedule_of(job)
        due = job.cursor.next_due_at
        if schedule is None or due is None:
            return
        self._near[job.id] = job
        now = self._clock.now()
        if due <= now:
            self._look(job.id)
            due = now
        self._scheduler.add_job(
            self._look,
            ScheduleTrigger(schedule, after=due - MICROSECOND, until=self._horizon_end),
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
                log.warning("planner.scan_failed", error=str(error))
                await asyncio.sleep(RETRY_INTERVAL)
                continue
            # Half a horizon: what becomes near is held at least that long before it is due.
            await asyncio.sleep(self._horizon.total_seconds() / 2)

    async def _scan(self) -> None:
        """Extend the horizon and take up every job that is due within it."""
        self._horizon_end = self._clock.now() + self._horizon
        until = self._horizon_end
        after: tuple[datetime, int] | None = None
        while True:
            found = await self._database.read(_due_page(until, after))
            for job in found:
                # Held already, with a trigger that still fires: claims keep it up to date.
                if job.id not in self._near or self._scheduler.get_job(str(job.id)) is None:
                    self._drop(job.id)
                    self._take(job)
            if len(found) < SCAN_PAGE:
                return
            last = found[-1]
            after = (last.cursor.next_due_at or until, last.id)

    async def _claim_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.check_clock()
            while groups := self._groups():
                try:
                    await self._claim(groups)
                except UnavailableError as error:
                    log.warning("planner.claim_failed", error=str(error))
                    for group in groups:
                        self._look(group.job.id)
                    await asyncio.sleep(RETRY_INTERVAL)

    def _groups(self) -> list[DueTimes]:
        """Take what is due from the set, as much as one transaction decides."""
        now = self._clock.now()
        groups: list[DueTimes] = []
        total = 0
        while self._due and total < CLAIM_LIMIT:
            job_id = next(iter(self._due))
            del self._due[job_id]
            job = self._near.get(job_id)
            if job is None:
                continue
            group = _due_times(job, now)
            if group is not None:
                groups.append(group)
                total += len(group.due)
        return groups

    async def _claim(self, groups: list[DueTimes]) -> None:
        now = self._clock.now()
        up_since = self.up_since

        def work(connection: Connection) -> Claims:
            return claim(connection, groups, sizes=self._sizes, now=now, up_since=up_since)

        claims = await self._database.write(work)
        for group in groups:
            if group.job.id in claims.advanced:
                self._advance(group)
        if claims.stale:
            await self._reload(claims.stale)
        for outcome, count in claims.outcomes.items():
            OCCURRENCES.labels(outcome=outcome.value).inc(count)
        _observe_lateness(claims.execs, now)
        self._on_claims(claims)

    def _advance(self, group: DueTimes) -> None:
        """Follow in memory what the transaction did in the database."""
        job = self._near.get(group.job.id)
        if job is None or job.cursor != group.job.cursor:
            return  # it was changed meanwhile, and the change has been taken up
        following = group.following
        if following is None or following > self._horizon_end:
            self._drop(job.id)
            return
        moved = replace(job, cursor=replace(job.cursor, next_due_at=following))
        if self._scheduler.get_job(str(job.id)) is None:
            self._take(moved)  # its trigger ended with an earlier horizon
        else:
            self._near[job.id] = moved
            if following <= self._clock.now():
                self._look(job.id)

    async def _reload(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            job = await self._database.read(partial(jobs.get, job_id=job_id))
            if job is None:
                self._drop(job_id)
            else:
                self.job_changed(job)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            self.check_clock()

    def check_clock(self) -> None:
        """Notice that the wall clock was set or the machine slept, and look again at what is due.

        After a jump forward, what fell due within it is treated as if the daemon had been down. After a jump
        back, nothing runs again: how far each schedule has come is stored.
        """
        steady, wall = time.monotonic(), self._clock.now()
        jumped = (wall - self._wall) - timedelta(seconds=steady - self._steady)
        self._steady, self._wall = steady, wall
        if abs(jumped) < JUMP:
            return
        log.warning("planner.clock_jumped", seconds=round(jumped.total_seconds(), 3))
        if jumped > timedelta(0):
            self.up_since = wall
        self._scheduler.wakeup()
        for job_id in self._near:
            self._look(job_id)


def _due_page(until: datetime, after: tuple[datetime, int] | None) -> Callable[[Connection], list[Job]]:
    return lambda connection: jobs.due_until(connection, until, limit=SCAN_PAGE, after=after)


def _schedule_of(job: Job) -> Schedule | None:
    text = job.definition.schedule_mode
    if text is None:
        return None
    try:
        return parse_schedule(text, job.definition.schedule_timezone)
    except ScheduleError as error:
        # It was accepted once; a time zone may have left the machine's database since.
        log.error("planner.schedule_unreadable", job=job.id, error=str(error))
        return None


def _due_times(job: Job, now: datetime) -> DueTimes | None:
    """The job's due times up to now that are not decided yet, or None if it is not due."""
    first = job.cursor.next_due_at
    schedule = _schedule_of(job)
    if first is None or first > now or schedule is None:
        return None
    due = list(islice(schedule.occurrences(first - MICROSECOND, now), CLAIM_LIMIT_PER_JOB))
    if not due:
        return None
    return DueTimes(
        job=job,
        due=due,
        newest=schedule.last_before(now + MICROSECOND) or due[-1],
        following=schedule.next_after(due[-1]),
    )


def _observe_lateness(new: list[Exec], now: datetime) -> None:
    for one in new:
        if one.scheduled_for is not None:
            LATENESS.observe((now - one.scheduled_for).total_seconds())
