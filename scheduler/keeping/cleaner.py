"""Deletes data that need not be kept: old runs with their logs, old ledger entries, and what users have deleted.

One daemon at a time does this for all that share the database. It works in batches of some milliseconds with pauses
between them, so that due runs never wait for it. It keeps no state: the next round finds whatever was interrupted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain import chance
from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import JOB_DELETED
from scheduler.keeping.pace import Pace
from scheduler.keeping.retention import Retention
from scheduler.keeping.shrinking import shrink
from scheduler.process.metrics import CLEARED_EXECS, CLEARED_LOG_BYTES, CLEARED_OCCURRENCES, CLEARING_SECONDS
from scheduler.store import clearing, execs, identity, jobs
from scheduler.store.clearing import Cleared, Stock
from scheduler.store.database import Database

log = structlog.get_logger()

T = TypeVar("T")

DUTY: Final = "cleaning"
#: How long a daemon that shows no sign of life keeps the duty.
HELD: Final = timedelta(seconds=60)
#: The minimum pause between full rounds, as a multiple of the duration of the last one.
REST: Final = 10
#: Seconds after the start of the daemon before the first round.
FIRST_PAUSE: Final = 2.0
#: Maximum pause after a database error, in seconds.
RETRY_INTERVAL: Final = 10.0
#: Maximum number of jobs that are examined at once; the actual number depends on how long the last query took.
MOST_JOBS: Final = 500


class _DutyLostError(Exception):
    """Another daemon has taken over the duty."""


class Cleaner:
    """Deletes what need not be kept.

    Args:
        database: the database to clean.
        clock: the source of the current time.
        retention: the limits of jobs that do not set their own.
        instance: this daemon's id.
        interval: pause between two full rounds.
        on_stopped: called with runs that were asked to stop because their job was deleted.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        retention: Retention,
        *,
        instance: str,
        interval: timedelta,
        on_stopped: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._retention = retention
        self._instance = instance
        self._interval = interval.total_seconds()
        self._on_stopped = on_stopped
        self._wake = asyncio.Event()
        self._looks = Pace(50, MOST_JOBS)
        self._paces = {
            "execs": Pace(50, 1_000),
            "occurrences": Pace(200, 2_000),
            "chunks": Pace(8, 1_000),
            "pages": Pace(64, 8_192),
            "sizes": Pace(50, 1_000),
        }
        self._done = {"execs": 0, "occurrences": 0, "log_bytes": 0}

    def wake(self) -> None:
        """Delete soon what users have just deleted."""
        self._wake.set()

    async def run(self) -> None:
        """Clean until cancelled."""
        next_look = 0.0
        await asyncio.sleep(min(FIRST_PAUSE, self._interval))
        while True:
            self._wake.clear()
            began = self._clock.steady()
            whole = began >= next_look
            try:
                if not await self.clean(everything=whole):
                    next_look = self._clock.steady() + self._interval  # another daemon has the duty
                elif whole:
                    length = self._clock.steady() - began
                    # Randomised, so that machines that were started together do not clean at the same moment.
                    pause = max(self._interval, REST * length) * chance.between(0.9, 1.1)
                    next_look = self._clock.steady() + pause
            except UnavailableError as error:
                log.warning("retention.put_off", error=str(error))
                next_look = self._clock.steady() + min(self._interval, RETRY_INTERVAL)
            try:
                async with asyncio.timeout(max(0.5, min(self._interval, next_look - self._clock.steady()))):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def clean(self, *, everything: bool = True) -> bool:
        """Perform one round; returns whether this daemon has the duty.

        Args:
            everything: whether to check the limits of every job, instead of only deleting what users have deleted.

        Raises:
            UnavailableError: the database failed; the next round continues.
        """
        began = self._clock.steady()
        self._done = dict.fromkeys(self._done, 0)
        try:
            await self._batch(lambda _: None)
            for job_id in await self._database.read(jobs.deleted_ids):
                await self._clear_job(job_id)
            if everything:
                await self._measure()
                await self._look_at_all()
            await self._clear_logs()
            await shrink(self._database, self._paces["pages"], self._batch)
        except _DutyLostError:
            return False
        finally:
            seconds = self._clock.steady() - began
            CLEARING_SECONDS.inc(seconds)
            if any(self._done.values()):
                log.info("retention.cleaned", **self._done, seconds=round(seconds, 3))
        return True

    # ---- the limits of jobs --------------------------------------------------------------------------------

    async def _measure(self) -> None:
        """Store the log sizes of ended runs, so that sums need not read the logs."""
        pace = self._paces["sizes"]
        while exec_ids := await self._database.read(partial(clearing.unmeasured, limit=pace.size)):
            sizes = await self._database.read(partial(clearing.log_sizes, exec_ids=exec_ids))
            await self._batch(partial(clearing.note_log_sizes, sizes=sizes), pace)

    async def _look_at_all(self) -> None:
        after = 0
        while True:
            began = self._clock.steady()
            stocks = await self._database.read(partial(clearing.stocks, after=after, limit=self._looks.size))
            pause = self._looks.took(self._clock.steady() - began)
            if not stocks:
                return
            for job in stocks:
                await self._trim(job)
            after = stocks[-1].job_id
            await asyncio.sleep(pause)

    async def _trim(self, job: Stock) -> None:
        """Delete the oldest runs and entries of a job that are beyond its limits."""
        kept = self._retention.of(job)
        before = kept.oldest(self._clock.now())
        is_old = before is not None and job.oldest_exec is not None and job.oldest_exec < before
        if is_old and job.execs > 1:  # the latest run is kept
            await self._delete_execs(
                "age", lambda c, limit: clearing.oldest_execs(c, job.job_id, before=before, limit=limit)
            )
            job = await self._again(job)
        if surplus := kept.surplus(job):
            await self._delete_execs(
                "count",
                lambda c, limit: clearing.oldest_execs(c, job.job_id, before=None, limit=limit),
                most=surplus,
            )
            job = await self._again(job)
        if excess := kept.excess_bytes(job):
            await self._delete_execs(
                "bytes",
                lambda c, limit: clearing.oldest_execs(c, job.job_id, before=None, limit=limit),
                most_bytes=excess,
            )
        if before is not None and job.oldest_due is not None and job.oldest_due < before:
            await self._delete_occurrences(
                lambda c, limit: clearing.delete_occurrences(c, job.job_id, before=before, limit=limit)
            )

    async def _again(self, job: Stock) -> Stock:
        """The job's current figures; unchanged ones if it no longer exists."""
        stocks = await self._database.read(partial(clearing.stocks, after=job.job_id - 1, limit=1))
        return stocks[0] if stocks and stocks[0].job_id == job.job_id else job

    async def _delete_execs(
        self,
        reason: str,
        find: Callable[[Connection, int], list[clearing.Old]],
        *,
        most: int | None = None,
        most_bytes: int | None = None,
    ) -> None:
        """Delete runs in batches until there are none left, or a number of runs or bytes is reached."""
        pace = self._paces["execs"]

        def work(connection: Connection) -> tuple[Cleared, int]:
            limit = pace.size if most is None else min(pace.size, most)
            old = find(connection, limit)
            sizes = 0
            for number, run in enumerate(old):
                if most_bytes is not None and sizes >= most_bytes:
                    old = old[:number]
                    break
                sizes += run.log_bytes or 0
            return clearing.delete_execs(connection, old), sizes

        while (most is None or most > 0) and (most_bytes is None or most_bytes > 0):
            cleared, sizes = await self._batch(work, pace)
            if not cleared.rows:
                return
            most = None if most is None else most - cleared.rows
            most_bytes = None if most_bytes is None else most_bytes - sizes
            CLEARED_EXECS.labels(reason=reason).inc(cleared.rows)
            CLEARED_LOG_BYTES.inc(cleared.log_bytes)
            self._done["execs"] += cleared.rows
            self._done["log_bytes"] += cleared.log_bytes

    async def _delete_occurrences(self, delete: Callable[[Connection, int], Cleared]) -> None:
        pace = self._paces["occurrences"]
        while (await self._batch(lambda c: self._counted(delete(c, pace.size)), pace)).rows:
            pass

    def _counted(self, cleared: Cleared) -> Cleared:
        CLEARED_OCCURRENCES.inc(cleared.rows)
        self._done["occurrences"] += cleared.rows
        return cleared

    # ---- what users have deleted ---------------------------------------------------------------------------

    async def _clear_job(self, job_id: int) -> None:
        """Delete the remaining data of a deleted job, and finally its row."""
        await self._delete_execs("deleted", lambda c, limit: clearing.any_execs(c, job_id, limit=limit))
        await self._delete_occurrences(
            lambda c, limit: clearing.delete_occurrences(c, job_id, before=None, limit=limit)
        )
        now = self._clock.now()

        def finish(connection: Connection) -> list[str]:
            # A run that was created while the job was being deleted ends first; the next round deletes it.
            going = execs.open_of_job(connection, job_id)
            for run in going:
                execs.stop(connection, run, now=now, reason=JOB_DELETED)
            if not going and not clearing.any_execs(connection, job_id, limit=1):
                jobs.delete(connection, job_id)
            return [run.id for run in going]

        if going := await self._batch(finish):
            self._on_stopped(going)

    async def _clear_logs(self) -> None:
        pace = self._paces["chunks"]
        while await self._database.read(clearing.any_forgotten_log):
            cleared = await self._batch(lambda c: clearing.delete_logs(c, limit=pace.size), pace)
            CLEARED_LOG_BYTES.inc(cleared.log_bytes)
            self._done["log_bytes"] += cleared.log_bytes

    # ---- batches -------------------------------------------------------------------------------------------

    async def _batch(self, work: Callable[[Connection], T], pace: Pace | None = None) -> T:
        """Do part of the work in a transaction, if this daemon has the duty, and pause to let others work.

        Raises:
            UnavailableError: the database failed.
        """
        now = self._clock.now()

        def guarded(connection: Connection) -> tuple[T, float]:
            began = self._clock.steady()
            if not identity.take_duty(connection, DUTY, self._instance, now=now, until=now + HELD):
                raise _DutyLostError
            return work(connection), self._clock.steady() - began

        # Not synced: what a power cut restores is deleted again.
        result, seconds = await self._database.write(guarded, durable=False)
        if pace is not None:
            await asyncio.sleep(pace.took(seconds))
        return result
