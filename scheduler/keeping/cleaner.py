"""Clears away what need not be kept: old runs with their logs, old ledger entries, what users have deleted.

One daemon at a time does it for all that share the database. It works in batches of some milliseconds with pauses
between them, so that what is due never waits for it, and it begins where it stands: whatever was interrupted is
found again by the next round.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

import structlog
from sqlalchemy.engine import Connection

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
#: For how long a daemon that says nothing keeps the duty.
HELD: Final = timedelta(seconds=60)
#: A round over everything begins so many times its own length after its end, at least.
REST: Final = 10
#: Seconds that a daemon has to itself after its start.
FIRST_PAUSE: Final = 2.0
#: Seconds before the next try after the database refused, at most.
RETRY_INTERVAL: Final = 10.0
#: Jobs that one look takes up at most; how many it is goes by how long the last look took.
MOST_JOBS: Final = 500


class _DutyLostError(Exception):
    """Another daemon does it now."""


class Cleaner:
    """Keeps what has to be kept, and no more.

    Args:
        database: what it clears.
        clock: tells how old things are.
        retention: what is kept of jobs that do not say.
        instance: this daemon's id.
        interval: between two looks at everything.
        on_stopped: is told of runs that were asked to stop, because their job was deleted.
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
        """Clear away soon what was deleted just now."""
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
                if await self.clean(everything=whole) and whole:
                    length = self._clock.steady() - began
                    # Not at the same moment on every machine that was started together.
                    pause = max(self._interval, REST * length) * random.uniform(0.9, 1.1)  # noqa: S311
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
        """One round; answers whether it is this daemon's to do.

        Args:
            everything: look at what every job keeps, besides clearing away what was deleted.

        Raises:
            UnavailableError: the database is in trouble; the next round goes on.
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

    # ---- what jobs keep ------------------------------------------------------------------------------------

    async def _measure(self) -> None:
        """Note what the logs of ended runs take up, so that summing up reads no log."""
        pace = self._paces["sizes"]
        while exec_ids := await self._database.read(partial(clearing.unmeasured, limit=pace.size)):
            sizes = await self._database.read(partial(clearing.log_sizes, exec_ids=exec_ids))
            await self._batch(partial(clearing.note_log_sizes, sizes=sizes), pace)

    async def _look_at_all(self) -> None:
        after = 0
        while True:
            began = time.perf_counter()
            found = await self._database.read(partial(clearing.stocks, after=after, limit=self._looks.size))
            pause = self._looks.took(time.perf_counter() - began)
            if not found:
                return
            for job in found:
                await self._trim(job)
            after = found[-1].job_id
            await asyncio.sleep(pause)

    async def _trim(self, job: Stock) -> None:
        """Delete what a job keeps too much of, oldest first."""
        kept = self._retention.of(job)
        before = kept.oldest(self._clock.now())
        is_old = before is not None and job.oldest_exec is not None and job.oldest_exec < before
        if is_old and job.execs > 1:  # the newest one stays
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
        """What the job keeps by now; as it was if it is gone."""
        found = await self._database.read(partial(clearing.stocks, after=job.job_id - 1, limit=1))
        return found[0] if found and found[0].job_id == job.job_id else job

    async def _delete_execs(
        self,
        reason: str,
        find: Callable[[Connection, int], list[clearing.Old]],
        *,
        most: int | None = None,
        most_bytes: int | None = None,
    ) -> None:
        """Delete execs batch by batch until none is found, or so many or so many bytes have gone."""
        pace = self._paces["execs"]

        def work(connection: Connection) -> tuple[Cleared, int]:
            limit = pace.size if most is None else min(pace.size, most)
            old = find(connection, limit)
            sizes = 0
            for number, one in enumerate(old):
                if most_bytes is not None and sizes >= most_bytes:
                    old = old[:number]
                    break
                sizes += one.log_bytes or 0
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

    # ---- what users deleted --------------------------------------------------------------------------------

    async def _clear_job(self, job_id: int) -> None:
        """Delete what is left of a job that nobody sees any more, and at last its row."""
        await self._delete_execs("deleted", lambda c, limit: clearing.any_execs(c, job_id, limit=limit))
        await self._delete_occurrences(
            lambda c, limit: clearing.delete_occurrences(c, job_id, before=None, limit=limit)
        )
        now = self._clock.now()

        def finish(connection: Connection) -> list[str]:
            # A run that was made while the job was being deleted ends first; the next round takes it along.
            going = execs.open_of_job(connection, job_id)
            for one in going:
                execs.stop(connection, one, now=now, reason=JOB_DELETED)
            if not going and not clearing.any_execs(connection, job_id, limit=1):
                jobs.delete(connection, job_id)
            return [one.id for one in going]

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
        """Do some of the work in a transaction, if it is this daemon's to do, and give others their turn.

        Raises:
            UnavailableError: the database is in trouble.
        """
        now = self._clock.now()

        def guarded(connection: Connection) -> tuple[T, float]:
            began = time.perf_counter()
            if not identity.take_duty(connection, DUTY, self._instance, now=now, until=now + HELD):
                raise _DutyLostError
            return work(connection), time.perf_counter() - began

        # What a power cut brings back is cleared away again.
        result, seconds = await self._database.write(guarded, durable=False)
        if pace is not None:
            await asyncio.sleep(pace.took(seconds))
        return result
