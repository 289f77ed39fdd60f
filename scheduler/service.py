"""The one door for the API: every use case, by resource, each with the caller it serves."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version as version_of

from scheduler.domain.views import About
from scheduler.usecases.audit import AuditUseCases
from scheduler.usecases.backup import BackupUseCases
from scheduler.usecases.deliveries import DeliveryUseCases
from scheduler.usecases.execs import ExecUseCases
from scheduler.usecases.health import ReadinessReport, readiness
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
    """All use cases over one daemon's parts.

    Attributes:
        jobs: what callers do with jobs.
        execs: with runs.
        logs: with what runs wrote.
        occurrences: with the ledger.
        overview: with many runs at once, whatever their job.
        tokens: with tokens, and logging in.
        users: with users.
        namespaces: with namespaces.
        audit: with the record of who did what.
        secrets: with secrets.
        keys: with the key that secrets are sealed with.
        registries: with credentials for registries.
        hooks: with hooks.
        deliveries: with what hooks and owners were told.
        backup: copies of all of it.
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
        """The present by the daemon's clock (UTC)."""
        return self._parts.clock.now()

    def about(self) -> About:
        """Which daemon this is, and what has become of its clock since its start."""
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
        )

    async def readiness(self) -> ReadinessReport:
        """Whether database and engines answer."""
        return await readiness(self._parts.database, self._parts.regions)
