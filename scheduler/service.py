"""The API's only entry to the core: every use case, grouped by resource."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version as version_of

from scheduler.access.callers import Caller
from scheduler.domain.views import About
from scheduler.usecases.audit import AuditUseCases
from scheduler.usecases.backup import BackupUseCases
from scheduler.usecases.deliveries import DeliveryUseCases
from scheduler.usecases.execs import ExecUseCases
from scheduler.usecases.health import ReadinessReport, engine_views, readiness
from scheduler.usecases.hooks import HookUseCases
from scheduler.usecases.jobs import JobUseCases
from scheduler.usecases.keys import KeyUseCases
from scheduler.usecases.logs import LogUseCases
from scheduler.usecases.namespaces import NamespaceUseCases
from scheduler.usecases.occurrences import OccurrenceUseCases
from scheduler.usecases.overview import OverviewUseCases
from scheduler.usecases.parts import Parts
from scheduler.usecases.registries import RegistryUseCases
from scheduler.usecases.secrets import SecretUseCases
from scheduler.usecases.tokens import TokenUseCases
from scheduler.usecases.users import UserUseCases


class Service:
    """All use cases of one daemon.

    Attributes:
        jobs: use cases for jobs.
        execs: for runs.
        logs: for the output of runs.
        occurrences: for the ledger.
        overview: for many runs at once, across jobs.
        tokens: for tokens and logins.
        users: for users.
        namespaces: for namespaces.
        audit: for the audit log.
        secrets: for secrets.
        keys: for the key that seals secrets.
        registries: for credentials for registries.
        hooks: for webhooks.
        deliveries: for deliveries to webhooks and owners.
        backup: for backups.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.jobs = JobUseCases(parts)
        self.execs = ExecUseCases(parts)
        self.logs = LogUseCases(parts)
        self.occurrences = OccurrenceUseCases(parts)
        self.overview = OverviewUseCases(parts)
        self.tokens = TokenUseCases(parts)
        self.users = UserUseCases(parts)
        self.namespaces = NamespaceUseCases(parts)
        self.audit = AuditUseCases(parts)
        self.secrets = SecretUseCases(parts)
        self.keys = KeyUseCases(parts)
        self.registries = RegistryUseCases(parts)
        self.hooks = HookUseCases(parts)
        self.deliveries = DeliveryUseCases(parts)
        self.backup = BackupUseCases(parts)
        self._started = (parts.clock.now(), parts.clock.steady())

    def now(self) -> datetime:
        """The daemon's current time (UTC)."""
        return self._parts.clock.now()

    def about(self, caller: Caller) -> About:
        """Information about this daemon, and by how much its clock was set since its start.

        Only administrators of all namespaces see more of engines than whether they answer.
        """
        started_at, steady = self._started
        now = self._parts.clock.now()
        passed = self._parts.clock.steady() - steady
        return About(
            version=version_of("timeball"),
            instance=self._parts.instance,
            installation=self._parts.installation,
            database="sqlite" if self._parts.database.is_sqlite else "postgresql",
            started_at=started_at,
            now=now,
            clock_jumped_seconds=round((now - started_at).total_seconds() - passed, 3),
            default_size=self._parts.default_size,
            default_region=self._parts.default_region,
            engines=engine_views(self._parts.regions, caller),
        )

    async def readiness(self) -> ReadinessReport:
        """Whether the database and the engines answer."""
        return await readiness(self._parts.database, self._parts.regions)
