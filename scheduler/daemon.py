"""The daemon: starts its parts in order, and stops them in the opposite order.

Every part is entered into one exit stack when it starts, so that stopping needs no order of its own, also when the
start fails halfway. A part that fails because of a bug stops the whole daemon, with a traceback in the log. An engine
or a database that does not answer never does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import ArgumentError

from scheduler.access.passwords import Passwords
from scheduler.access.tokens import Tokens
from scheduler.assembly.engines import EngineFactory, docker_engine, region_limits
from scheduler.assembly.notifications import PosterFactory, http_poster, make_deliverer
from scheduler.domain.clock import Clock, SystemClock
from scheduler.domain.errors import SettingsError, UnavailableError
from scheduler.domain.execution import JOB_DELETED
from scheduler.keeping.audit_retention import keep_audit
from scheduler.keeping.cleaner import Cleaner
from scheduler.keeping.retention import Retention
from scheduler.logs.followers import Followers
from scheduler.logs.hub import CaptureHub
from scheduler.logs.reader import LogReader
from scheduler.planning.claims import Claims
from scheduler.planning.planner import Planner
from scheduler.process import memory
from scheduler.process.data_dir import TOKEN_FILE, instance_id, lock_directory, prepare_directory
from scheduler.running.dispatcher import Dispatcher
from scheduler.running.lease import Lease
from scheduler.running.orphans import Orphans
from scheduler.running.ownership import Ownership
from scheduler.running.recording import Surroundings
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.secrets.keys import key_file, load_keyring
from scheduler.secrets.vault import Vault
from scheduler.service import Service
from scheduler.settings.namespaces import container_policies_of, policies_of
from scheduler.settings.settings import Settings
from scheduler.store import identity
from scheduler.store.database import Database
from scheduler.store.migrate import migrate
from scheduler.usecases.backup import clear_partial
from scheduler.usecases.parts import Parts

log = structlog.get_logger()


class Daemon:
    """One daemon with one data directory.

    Args:
        settings: of the operator.
        clock: tells the time.
        make_engine: creates the engine of a region; tests bring their own.
        passwords: hashes passwords; tests bring a quick one.
        make_poster: creates the sender of webhook deliveries.

    Attributes:
        failed: set when a part has failed.
        failure: the error of the first part that failed.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        make_engine: EngineFactory = docker_engine,
        passwords: Passwords | None = None,
        make_poster: PosterFactory = http_poster,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._make_engine = make_engine
        self._make_poster = make_poster
        self._passwords = passwords or Passwords()
        self._started = AsyncExitStack()
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None

    # ---- starting ----------------------------------------------------------------------------------------

    async def start(self) -> tuple[Service, Tokens]:
        """Start everything; returns what the API needs. After an error, `stop` stops what was started.

        Raises:
            SettingsError: the data directory or the database cannot be used; the message says what to do.
        """
        memory.keep_small()
        os.umask(0o077)  # what is stored, and what runs print, is private
        data_dir = prepare_directory(self._settings.resolved_data_dir())
        try:
            self._started.enter_context(lock_directory(data_dir))
            instance = instance_id(data_dir)
            clear_partial(data_dir)
        except OSError as error:
            raise SettingsError(
                f"data_dir {data_dir}: cannot write to it: {error.strerror or error}. "
                "Free disk space, check its mount, or choose another directory with --data-dir."
            ) from error
        database: Database | None = None
        try:
            database = Database(
                self._settings.resolved_database_url(),
                wait_seconds=self._settings.database_wait_seconds,
                clock=self._clock,
            )
            self._started.push_async_callback(database.close)
            await asyncio.to_thread(migrate, database)
            parts = await self._build(database, instance)
            await self._run(parts)
        except (UnavailableError, ArgumentError, ImportError) as error:
            raise _unusable(database, error) from error
        return Service(parts), parts.tokens

    async def _build(self, database: Database, instance: str) -> Parts:
        """Create the parts. Those that hold something to release are entered into the stack."""
        settings, clock = self._settings, self._clock
        data_dir = settings.resolved_data_dir()
        installation = await database.write(identity.installation_id)
        lease = Lease(database, clock, instance=instance, seconds=settings.lease_seconds)
        await lease.renew()
        self._started.push_async_callback(_end_lease, lease)
        vault = Vault(database, load_keyring(settings, data_dir))
        await vault.renew()
        tokens = Tokens(database, clock)
        await tokens.ensure_admin(data_dir, clock, instance=instance)
        self._started.callback(self._passwords.close)
        regions = {}
        for name, region in settings.all_regions().items():
            engine = self._make_engine(region, installation)
            self._started.push_async_callback(engine.close)
            regions[name] = Region(name, engine, region_limits(region))
        hub = CaptureHub(database, clock, owner=instance)
        self._started.push_async_callback(hub.close_all)
        policy_of = container_policies_of(settings)
        runner = Runner(
            regions,
            Surroundings(
                database=database,
                clock=clock,
                hub=hub,
                policy_of=policy_of,
                vault=vault,
                log_limit_bytes=settings.log_limit_bytes,
                lease=lease,
                on_retry=lambda retry: dispatcher.offer([retry]),
                restored_to=await database.read(identity.restored_to),
            ),
            on_released=lambda _: dispatcher.released(),
            on_defect=self._fail,
        )
        dispatcher = Dispatcher(
            database, clock, regions, runner, instance=instance, policy_of=policies_of(settings)
        )

        def stop_all(reasons: Mapping[str, str]) -> None:
            for exec_id, reason in reasons.items():
                dispatcher.withdraw(exec_id)
                runner.stop(exec_id, reason)

        def take_claims(claims: Claims) -> None:
            stop_all(claims.replaced)
            dispatcher.offer(claims.execs)

        logs = LogReader(database, hub)
        planner = Planner(
            database,
            clock,
            settings.all_sizes(),
            horizon=timedelta(seconds=settings.horizon_seconds),
            on_claims=take_claims,
        )
        return Parts(
            database=database,
            clock=clock,
            sizes=settings.all_sizes(),
            regions=regions,
            default_region=settings.default_region,
            default_size=settings.default_size,
            policy_of=policy_of,
            vault=vault,
            planner=planner,
            dispatcher=dispatcher,
            runner=runner,
            hub=hub,
            followers=Followers(database, hub, logs),
            ownership=Ownership(
                database,
                clock,
                lease,
                dispatcher,
                runner,
                on_peers=lambda are_there: planner.note_peers(are_there=are_there),
            ),
            tokens=tokens,
            passwords=self._passwords,
            login_lifetime=timedelta(days=settings.login_token_days) or None,
            logs=logs,
            deliverer=make_deliverer(
                settings,
                database,
                clock,
                logs,
                vault,
                make_poster=self._make_poster,
                instance=instance,
                on_defect=self._fail,
            ),
            cleaner=Cleaner(
                database,
                clock,
                Retention(settings.retention_days, settings.retention_count, settings.retention_log_bytes),
                instance=instance,
                interval=timedelta(seconds=settings.retention_interval_seconds),
                on_stopped=lambda ids: stop_all(dict.fromkeys(ids, JOB_DELETED)),
            ),
            data_dir=data_dir,
            instance=instance,
            installation=installation,
            key_file=key_file(settings, data_dir),
        )

    async def _run(self, parts: Parts) -> None:
        """Start what runs in the background. What others rely on comes first, so that it is stopped last."""

        def look_again() -> None:
            """Find what may have been stored while the database did not answer."""
            parts.planner.look_again()
            parts.dispatcher.look_again()

        orphans = Orphans(parts.database, parts.regions, parts.runner)
        parts.database.on_recovery(look_again)
        self._spawn("captures", parts.hub.run())
        self._spawn("deliveries", parts.deliverer.run())
        # Runs in progress are left to the next start, which adopts them.
        self._started.push_async_callback(parts.runner.close)
        await parts.ownership.take_over(at_start=True)
        self._spawn("lease", parts.ownership.keep())
        self._spawn("wishes", parts.ownership.watch())
        for region in parts.regions.values():
            self._spawn(f"region {region.name}", region.monitor(orphans.remove_from, parts.dispatcher.wake))
        self._spawn("dispatcher", parts.dispatcher.run())
        self._spawn("planner", parts.planner.run())
        self._spawn("orphans", orphans.run())
        self._spawn("memory", memory.keep_giving_back())
        self._spawn("audit", keep_audit(parts.database, parts.clock, self._settings.audit_days))
        self._spawn("cleaner", parts.cleaner.run())
        token_file = parts.data_dir / TOKEN_FILE
        log.info("daemon.started", data_dir=str(parts.data_dir), token_file=str(token_file))

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._part_ended)
        self._started.push_async_callback(_end, task)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Record that a part has failed because of a bug; the caller of `start` then stops the daemon."""
        log.critical("daemon.part_died", exc_info=error)
        if self.failure is None:
            self.failure = error
        self.failed.set()

    # ---- stopping ----------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Stop everything that was started; runs in progress continue, and the next start adopts them."""
        await self._started.aclose()
        log.info("daemon.stopped")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


async def _end_lease(lease: Lease) -> None:
    with suppress(UnavailableError):
        await lease.end()


def _unusable(database: Database | None, error: Exception) -> SettingsError:
    """The error to show to the operator for a database that cannot be opened."""
    if database is None:
        return SettingsError(f"database_url: the database cannot be used: {error}")
    reason = getattr(error.__cause__, "orig", error)
    remedy = (
        "Check its permissions or restore a backup. If it is not a database of Timeball, move it away so that a new "
        "one is created, or choose another with --database-url."
        if database.is_sqlite
        else "Make sure that it can be reached, or choose another with --database-url."
    )
    # The URL is shown as SQLAlchemy shows it: without a password.
    return SettingsError(f"The database {database.url} cannot be used: {reason}. {remedy}")
