"""Stores the progress of one run: its status, its end, the next attempt.

Every write is a compare-and-set. The end is written together with the last output and the next attempt, so that no
crash can separate them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeGuard

import structlog
from sqlalchemy.engine import Connection

from scheduler.domain.clock import Clock
from scheduler.domain.drafting import draft_retry
from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import FINAL_STATUSES, Exec, ExecStatus
from scheduler.engine.errors import ImagePullError
from scheduler.engine.types import ImageInfo, RunStatus
from scheduler.logs.capture import Capture
from scheduler.logs.hub import INLINE_BYTES, CaptureHub
from scheduler.policy.container_policy import ContainerPolicy
from scheduler.process.faults import Point, point
from scheduler.process.metrics import ENDED
from scheduler.running.decisions import UNTOLD, End, retry_at, stopped_after
from scheduler.running.lease import Lease
from scheduler.secrets.vault import Vault
from scheduler.store import execs, jobs, spans
from scheduler.store import logs as stored_logs
from scheduler.store.database import Database
from scheduler.store.logs import ChunkRow

log = structlog.get_logger()

#: Seconds before a write is retried after a database error: the first pause and the longest.
RETRY_INTERVAL = 0.5
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all runs share.

    Attributes:
        policy_of: returns a namespace's container policy.
        log_limit_bytes: maximum log size of runs whose jobs do not set it.
        on_retry: called with the next attempt that the end of a run has recorded.
        restored_to: if the database was restored, when the backup was taken: a run that was waiting then may have
            a container by now.
    """

    database: Database
    clock: Clock
    hub: CaptureHub
    policy_of: Callable[[str], ContainerPolicy]
    vault: Vault
    log_limit_bytes: int
    on_retry: Callable[[Exec], None]
    lease: Lease
    restored_to: datetime | None = None


class RunDiscardedError(Exception):
    """The run was deleted or settled elsewhere: nothing more is recorded about it.

    Attributes:
        leaves_container: whether a remaining container belongs to nobody and must be removed.
    """

    leaves_container = True


class RunTakenError(RunDiscardedError):
    """Another daemon owns the run by now; this daemon must not touch it."""

    leaves_container = False


class _StoppedFirstError(Exception):
    """A stop was requested after the decision to retry the run.

    Attributes:
        reason: who or what requested it, for people.
    """

    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        super().__init__(reason)


class Recorder:
    """Records the progress of one run.

    Args:
        run: the run as it is stored.
        surroundings: what all runs share.

    Attributes:
        exec: the run as it is currently stored.
    """

    def __init__(self, run: Exec, surroundings: Surroundings) -> None:
        self.exec = run
        self._parts = surroundings
        self._log = log.bind(exec=run.id, job=run.job_id)

    @property
    def has_ended(self) -> bool:
        """Whether the end is recorded."""
        return self.exec.status in FINAL_STATUSES

    def note_image(self, digest: str) -> None:
        """Remember the digest of its image, to be stored with the next change of status."""
        self.exec = replace(self.exec, image_digest=digest)

    async def pin_image(self, image: ImageInfo) -> None:
        """Pin the image for later runs, if the job asks for it and has not pinned an image yet.

        Raises:
            ImagePullError: the engine knows no digest of the image, so it cannot be named by one.
            UnavailableError: the database failed.
        """
        spec, job_id = self.exec.spec, self.exec.job_id
        if not spec.pin_digest or spec.docker_image_digest is not None:
            return
        if not image.has_digest:
            raise ImagePullError(
                f"image {spec.image} cannot be pinned: it did not come from a registry, so it has no digest; "
                "push it to a registry, or set pin_digest to false in the job"
            )
        await self._parts.database.write(
            lambda connection: jobs.pin(
                connection,
                job_id,
                repository=spec.docker_image_repo,
                tag=spec.docker_image_tag,
                digest=image.digest,
            )
        )

    async def request_start(self) -> None:
        """Store that the engine is about to be asked to start the container, before it is asked; only once per run.

        This also excludes a second start by several daemons: of those that consider the run their own, only the one
        that owns it in the database may ask, and no other daemon asks after it.

        Raises:
            RunDiscardedError: the run was deleted, or has ended elsewhere.
            RunTakenError: another daemon owns it.
            UnavailableError: the start was already requested, unknown to this daemon.
        """
        exec_id, owner, at = self.exec.id, self.exec.owner, self._parts.clock.now()
        try:
            stored = await self._until_written(
                lambda connection: execs.request_start(connection, exec_id, owner=owner, at=at), durable=True
            )
        except asyncio.CancelledError:
            self.exec = replace(self.exec, start_requested_at=at)
            await asyncio.shield(self.withdraw_start())
            raise
        if not stored:
            await self.demand_ownership(was_refused=True)
            self.exec = await self._stored()
            raise UnavailableError("The start of the run was already requested")
        self.exec = replace(self.exec, start_requested_at=at)
        point(Point.START_REQUESTED)

    async def withdraw_start(self) -> None:
        """Take back the last `request_start`, because the engine was certainly not asked.

        If the database fails, the request stays: the run then counts as lost with its engine.
        """
        exec_id, owner, at = self.exec.id, self.exec.owner, self.exec.start_requested_at
        if at is None:
            return
        with suppress(UnavailableError):
            await self._parts.database.write(
                lambda connection: execs.withdraw_start(connection, exec_id, owner=owner, at=at)
            )
            self.exec = replace(self.exec, start_requested_at=None)

    async def started(self, capture: Capture, status: RunStatus) -> None:
        """Record that the container was started, unless that is already recorded.

        Raises:
            RunDiscardedError: the run was deleted, or has ended elsewhere.
            RunTakenError: another daemon owns it.
        """
        if self.exec.status is not ExecStatus.WAITING:
            return
        fields: dict[str, Any] = {
            "started_at": status.started_at or self._parts.clock.now(),
            "image_digest": self.exec.image_digest or status.image_id,
            "node": status.node,
        }
        await self._change(capture, ExecStatus.RUNNING, fields)

    async def ended(self, capture: Capture, end: End, status: RunStatus | None = None) -> None:
        """Record the end together with the last output, and the next attempt if there is one.

        Raises:
            RunDiscardedError: the run was deleted, or has ended elsewhere.
            RunTakenError: another daemon owns it.
        """
        now = self._parts.clock.now()
        ended_at = (status.finished_at if status is not None else None) or now
        if self.exec.started_at is not None:
            ended_at = max(ended_at, self.exec.started_at)
        retry = None
        if (again := retry_at(self.exec, end, now)) is not None:
            retry = draft_retry(self.exec, now=now, not_before=again)
            capture.end_output()
            capture.system(
                f"Attempt {self.exec.attempt} failed ({end.fail_reason}); "
                f"attempt {retry.attempt} is run {retry.id}, not before {again:%Y-%m-%dT%H:%M:%SZ}"
            )
        fields: dict[str, Any] = {
            "ended_at": ended_at,
            "exit_code": end.exit_code,
            "fail_reason": end.fail_reason,
            "error": end.error,
        }
        if self.exec.image_digest is not None:
            fields["image_digest"] = self.exec.image_digest
        try:
            await self._change(capture, end.status, fields, retry)
        except _StoppedFirstError as stop:
            retry, end = None, stopped_after(end, stop.reason)
            capture.system(f"Stopping: {stop.reason or UNTOLD}; there will be no further attempt")
            fields |= {"fail_reason": end.fail_reason, "error": end.error}
            await self._change(capture, end.status, fields)
        ENDED.labels(status=end.status.value, reason=end.fail_reason or "").inc()
        self._log.info(
            "run.ended", status=end.status.name.lower(), exit_code=end.exit_code, reason=end.fail_reason
        )
        if retry is not None:
            point(Point.RETRY_RECORDED)
            self._parts.on_retry(retry)

    async def demand_ownership(self, *, was_refused: bool = False) -> None:
        """Check that this daemon owns the run, which remains so for the duration of a lease.

        Called before anything that could result in a second container. If the lease was renewed in time, nobody else
        can have taken the run, so the database is not asked; after a freeze, it is.

        Raises:
            RunTakenError: another daemon owns it.
            RunDiscardedError: the run was deleted, or has ended elsewhere.
            UnavailableError: the database failed.
        """
        if self._parts.lease.is_reliable and not was_refused:
            return
        owner = await self._parts.lease.owner_of(self.exec.id)
        if owner is None or owner[1]:
            raise RunDiscardedError
        if owner[0] != self.exec.owner:
            self._log.warning("run.taken_over")
            raise RunTakenError

    async def _stored(self) -> Exec:
        stored = await self._parts.database.read(partial(execs.get, exec_id=self.exec.id))
        if stored is None:
            raise RunDiscardedError
        return stored

    async def _change(
        self, capture: Capture, after: ExecStatus, fields: Mapping[str, Any], retry: Exec | None = None
    ) -> None:
        """Compare-and-set the status; a final status is written together with all output that is not stored yet."""
        before, exec_id, owner = self.exec.status, self.exec.id, self.exec.owner
        is_final = after in FINAL_STATUSES
        if is_final and capture.unstored_bytes > INLINE_BYTES:
            with suppress(
                UnavailableError
            ):  # the rest is stored together with the status, as soon as possible
                await capture.flush()
        last, log_span = list[ChunkRow](), dict[str, Any]()
        if is_final:
            last = capture.drain()
            log_span = spans.closing(self.exec.created_at, self._parts.clock.now())

        def work(connection: Connection) -> bool:
            changed = execs.change_status(
                connection, exec_id, before, after, owner=owner, retry=retry, **fields, **log_span
            )
            if changed:
                stored_logs.insert(connection, last)
                if retry is not None:
                    execs.insert(connection, [retry])
                point(Point.RECORDING_END if is_final else Point.RECORDING_START)
                return True
            stored = execs.get(connection, exec_id)
            if retry is not None and _is_to_stop(stored, before, owner):
                raise _StoppedFirstError(stored.stop_reason)
            # An earlier attempt may have been committed, but its answer lost: then all of it has happened.
            return _has(stored, after, fields)

        # The engine also knows about a start, but not about an end once the container is removed.
        if not await self._until_written(work, durable=is_final):
            await self.demand_ownership(was_refused=True)
            self._log.warning("run.settled_elsewhere", wanted=after.name.lower())
            raise RunDiscardedError
        point(Point.END_RECORDED if is_final else Point.START_RECORDED)
        if last:
            capture.confirm()
        self.exec = replace(self.exec, status=after, **fields)

    async def _until_written(self, work: Callable[[Connection], bool], *, durable: bool) -> bool:
        """Write, and retry as often as necessary: a run's end must not be lost to a full disk."""
        pause = RETRY_INTERVAL
        while True:
            try:
                return await self._parts.database.write(work, durable=durable)
            except UnavailableError as error:
                self._log.debug(
                    "run.database_unavailable", error=str(error)
                )  # the database logs its failure once for all
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)


def _is_to_stop(stored: Exec | None, status: ExecStatus, owner: str | None) -> TypeGuard[Exec]:
    return (
        stored is not None
        and stored.status is status
        and stored.owner == owner
        and stored.stop_requested_at is not None
    )


def _has(stored: Exec | None, status: ExecStatus, fields: Mapping[str, Any]) -> bool:
    return (
        stored is not None
        and stored.status is status
        and all(getattr(stored, name) == value for name, value in fields.items())
    )
