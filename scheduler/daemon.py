"""Puts the parts together; starts them in order and stops them in the opposite one.

A part that dies of a defect stops the whole daemon in order, with its
traceback in the log; an engine or a database that does not answer never does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import IO, Any

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError

from scheduler.access.passwords import Passwords
from scheduler.access.tokens import Tokens
from scheduler.assembly.engines import EngineFactory, docker_engine, region_limits
from scheduler.assembly.notifications import make_deliverer
from scheduler.domain.clock import Clock, SystemClock
from scheduler.domain.errors import SettingsError, UnavailableError
from scheduler.domain.execution import JOB_DELETED
from scheduler.engine.errors import EngineError
from scheduler.keeping.cleaner import Cleaner
from scheduler.keeping.retention import Retention
from scheduler.logs.followers import Followers
from scheduler.logs.hub import CaptureHub
from scheduler.logs.reader import LogReader
from scheduler.planning.claims import Claims
from scheduler.planning.planner import Planner
from scheduler.process import memory
from scheduler.process.data_dir import instance_id, lock_directory, prepare_directory
from scheduler.process.faults import Point, point
from scheduler.running.dispatcher import Dispatcher
from scheduler.running.lease import Lease
from scheduler.running.ownership import Ownership
from scheduler.running.recording import Surroundings
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.secrets.keys import key_file, load_keyring
from scheduler.secrets.vault import Vault
from scheduler.service import Service
from scheduler.settings.namespaces import container_policies_of, policies_of
from scheduler.settings.settings import Settings
from scheduler.store import audit, execs, identity
from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from scheduler.usecases.backup import clear_partial
from scheduler.usecases.parts import Parts

log = structlog.get_logger()

#: Seconds between looks for containers that belong to no exec; they are also looked for when an engine comes up.
SWEEP_INTERVAL = 60.0
#: Seconds between looks for entries of the audit whose time is over, and how many go at once.
AUDIT_INTERVAL = 3600.0
AUDIT_PIECE = 500


class Daemon:
    """One daemon over one data directory.

    Args:
        settings: the operator's.
        clock: tells the time.
        make_engine: makes the engine of a region; tests bring their own.
    """

    def __init__(
        self, settings: Settings, clock: Clock | None = None, make_engine: EngineFactory = docker_engine
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._make_engine = make_engine
        self._data_dir = settings.resolved_data_dir()
        self._lock: IO[str] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._regions: dict[str, Region] = {}
        self._database: Database | None = None
        self._passwords = Passwords()
        #: Set when a part has died; `failure` says of what.
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None

    # ---- starting ----------------------------------------------------------------------------------------

    async def start(self) -> tuple[Service, Tokens]:
        """Bring everything up; returns what the API needs.

        Raises:
            SettingsError: the data directory or the database cannot be used; the message says what to do.
        """
        memory.keep_small()
        os.umask(0o077)  # what is stored, and what runs print, is nobody else's business
        self._data_dir = prepare_directory(self._data_dir)
        try:
            self._lock = lock_directory(self._data_dir)
            self._instance = instance_id(self._data_dir)
            clear_partial(self._data_dir)
        except OSError as error:
            raise SettingsError(
                f"data_dir {self._data_dir}: nothing can be written there: {error.strerror or error}. "
                "Make room, mend its mount, or name another with --data-dir"
            ) from error
        try:
            self._database = Database(
                self._settings.resolved_database_url(), wait_seconds=self._settings.database_wait_seconds
            )
            return await self._start(self._database)
        except (UnavailableError, ArgumentError, ImportError) as error:
            raise _unusable(self._database, error) from error

    async def _start(self, database: Database) -> tuple[Service, Tokens]:
        settings = self._settings
        await asyncio.to_thread(migrate, database)
        installation = await database.write(identity.installation_id)
        self._lease = Lease(database, self._clock, instance=self._instance, seconds=settings.lease_seconds)
        await self._lease.renew()
        vault = Vault(database, load_keyring(settings, self._data_dir))
        await vault.renew()
        tokens = Tokens(database, self._clock)
        token_file = await tokens.ensure_admin(self._data_dir, self._clock, instance=self._instance)

        self._regions = {
            name: Region(
                name,
                self._make_engine(region, installation),
                region_limits(region),
            )
            for name, region in settings.all_regions().items()
        }
        self._hub = CaptureHub(database, self._clock, owner=self._instance)
        container_policies = container_policies_of(settings)
        surroundings = Surroundings(
            database=database,
            clock=self._clock,
            hub=self._hub,
            policy_of=container_policies,
            vault=vault,
            log_limit_bytes=settings.log_limit_bytes,
            lease=self._lease,
            on_retry=lambda retry: self._dispatcher.offer([retry]),
            restored_to=await database.read(identity.restored_to),
        )
        self._runner = Runner(
            self._regions,
            surroundings,
            on_released=lambda _: self._dispatcher.released(),
            on_defect=self._fail,
        )
        self._dispatcher = Dispatcher(
            database,
            self._clock,
            self._regions,
            self._runner,
            instance=self._instance,
            policy_of=policies_of(settings),
        )
        self._planner = Planner(
            database,
            self._clock,
            settings.all_sizes(),
            horizon=timedelta(seconds=settings.horizon_seconds),
            on_claims=self._take_claims,
        )
        logs = LogReader(database, self._hub)
        deliverer = make_deliverer(
            settings, database, self._clock, logs, vault, instance=self._instance, on_defect=self._fail
        )
        self._cleaner = Cleaner(
            database,
            self._clock,
            Retention(settings.retention_days, settings.retention_count, settings.retention_log_bytes),
            instance=self._instance,
            interval=timedelta(seconds=settings.retention_interval_seconds),
            on_stopped=lambda ids: self._stop_all(dict.fromkeys(ids, JOB_DELETED)),
        )
        ownership = Ownership(database, self._clock, self._lease, self._dispatcher, self._runner)
        service = Service(
            Parts(
                database=database,
                clock=self._clock,
                sizes=settings.all_sizes(),
                regions=self._regions,
                default_region=settings.default_region,
                default_size=settings.default_size,
                policy_of=container_policies,
                vault=vault,
                planner=self._planner,
                dispatcher=self._dispatcher,
                runner=self._runner,
                followers=Followers(database, self._hub, logs),
                ownership=ownership,
                tokens=tokens,
                passwords=self._passwords,
                login_lifetime=timedelta(days=settings.login_token_days) or None,
                logs=logs,
                deliverer=deliverer,
                cleaner=self._cleaner,
                data_dir=self._data_dir,
                instance=self._instance,
                installation=installation,
                key_file=key_file(settings, self._data_dir),
            )
        )
        database.on_recovery(self._look_again)
        await ownership.take_over(at_start=True)
        self._spawn("captures", self._hub.run())
        for region in self._regions.values():
            self._spawn(f"region {region.name}", region.monitor(self._clear_orphans, self._dispatcher.wake))
        self._spawn("dispatcher", self._dispatcher.run())
        self._spawn("planner", self._planner.run())
        self._spawn("deliveries", deliverer.run())
        self._spawn("lease", ownership.keep())
        self._spawn("wishes", ownership.watch())
        self._spawn("sweeper", self._keep_clear())
        self._spawn("audit", self._keep_audit())
        self._spawn("cleaner", self._cleaner.run())
        log.info("daemon.started", data_dir=str(self._data_dir), token_file=str(token_file))
        return service, tokens

    def _take_claims(self, claims: Claims) -> None:
        self._stop_all(claims.replaced)
        self._dispatcher.offer(claims.execs)

    def _stop_all(self, reasons: Mapping[str, str]) -> None:
        for exec_id, reason in reasons.items():
            self._dispatcher.withdraw(exec_id)
            self._runner.stop(exec_id, reason)

    def _look_again(self) -> None:
        """Take up what may have been stored while the database could not say so."""
        self._planner.look_again()
        self._dispatcher.look_again()

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._part_ended)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Note that a part died of a defect; whoever runs the daemon stops it."""
        log.critical("daemon.part_died", exc_info=error)
        if self.failure is None:
            self.failure = error
        self.failed.set()

    # ---- what belongs to no run ------------------------------------------------------------------------

    async def _clear_orphans(self, region: Region) -> None:
        """Remove containers of ours that belong to no open exec; what cannot be removed now stays for later."""
        try:
            found = await region.engine.list_ours()
            ids = [own.exec_id for own in found]
            open_ids = await self._db.read(lambda connection: execs.existing_open(connection, ids))
            for own in found:
                if own.exec_id not in open_ids and not self._runner.looks_after(own.exec_id):
                    point(Point.CLEARING)
                    await region.engine.remove(own.handle)
                    log.info("region.orphan_removal_asked", region=region.name, exec=own.exec_id)
        except (EngineError, UnavailableError) as error:
            log.warning("region.orphans_left", region=region.name, error=str(error))

    async def _keep_clear(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            await asyncio.to_thread(memory.give_back)
            for region in self._regions.values():
                if region.up.is_set():
                    await self._clear_orphans(region)

    async def _keep_audit(self) -> None:
        """Forget entries of the audit whose time is over, in pieces that hold up no other write."""

        def work(connection: Connection) -> int:
            before = self._clock.now() - timedelta(days=self._settings.audit_days)
            return audit.forget(connection, before, limit=AUDIT_PIECE)

        while True:
            gone = 0
            try:
                gone = await self._db.write(work)
            except UnavailableError as error:
                log.warning("audit.not_cleared", error=str(error))
            await asyncio.sleep(0 if gone == AUDIT_PIECE else AUDIT_INTERVAL)

    # ---- stopping ----------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Take everything down in order; runs in progress go on, and the next start adopts them."""
        for name in ("planner", "dispatcher", "lease", "wishes", "sweeper", "audit", "cleaner"):
            await self._end(name)
        if hasattr(self, "_runner"):
            await self._runner.close()
        for name in list(self._tasks):
            await self._end(name)
        if hasattr(self, "_hub"):
            await self._hub.close_all()
        for region in self._regions.values():
            await region.engine.close()
        self._passwords.close()
        if self._database is not None:
            if hasattr(self, "_lease"):
                with suppress(UnavailableError):
                    await self._lease.end()
            await self._database.close()
        if self._lock is not None:
            self._lock.close()
        log.info("daemon.stopped")

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    @property
    def _db(self) -> Database:
        assert self._database is not None  # noqa: S101 - `start` opens it first of all
        return self._database


def _unusable(database: Database | None, error: Exception) -> SettingsError:
    """What to tell the operator of a database that cannot be opened."""
    if database is None:
        return SettingsError(f"The database that database_url names cannot be used: {error}")
    reason = getattr(error.__cause__, "orig", error)
    remedy = (
        "Mend its permissions or restore a backup; if it is no database of Timeball's, move it away and a new one "
        "is made, or name another with --database-url"
        if database.is_sqlite
        else "See to it that it can be reached, or name another with --database-url"
    )
    # The URL is shown as SQLAlchemy shows it: without a password.
    return SettingsError(f"The database {database.url} cannot be used: {reason}. {remedy}")
