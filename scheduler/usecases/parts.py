"""The daemon's parts that all use cases work with, and steps that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from scheduler.access.passwords import Passwords
from scheduler.access.tokens import Tokens
from scheduler.domain.clock import Clock
from scheduler.domain.execution import Exec, ExecStatus
from scheduler.domain.job import Size
from scheduler.domain.views import ExecView
from scheduler.keeping.cleaner import Cleaner
from scheduler.logs.followers import Followers
from scheduler.logs.hub import CaptureHub
from scheduler.logs.reader import LogReader
from scheduler.notify.deliverer import Deliverer
from scheduler.planning.planner import Planner
from scheduler.policy.container_policy import ContainerPolicy
from scheduler.running.dispatcher import Dispatcher
from scheduler.running.ownership import Ownership
from scheduler.running.regions import Region
from scheduler.running.runner import Runner
from scheduler.secrets.keys import KeyFile
from scheduler.secrets.vault import Vault
from scheduler.store.database import Database

DELETE_GRACE: Final = 2  # maximum seconds between SIGTERM and SIGKILL for runs that are being deleted
DELETE_PATIENCE: Final = 20.0  # maximum seconds that a deletion waits for containers to be removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The daemon's parts.

    Attributes:
        sizes: sizes that jobs can use.
        regions: all regions by name.
        default_region: region of jobs that specify none.
        default_size: size of jobs that specify none.
        policy_of: returns a namespace's container policy.
        login_lifetime: lifetime of a token from a login; None if it does not expire.
        data_dir: the daemon's data directory.
        instance: the id of this data directory's daemon.
        installation: the id in the labels of its containers.
        key_file: the file that contains the keys of secrets; None if they come from the environment.
    """

    database: Database
    clock: Clock
    sizes: Mapping[str, Size]
    regions: Mapping[str, Region]
    default_region: str
    default_size: str
    policy_of: Callable[[str], ContainerPolicy]
    vault: Vault
    planner: Planner
    dispatcher: Dispatcher
    runner: Runner
    ownership: Ownership
    hub: CaptureHub
    logs: LogReader
    followers: Followers
    tokens: Tokens
    passwords: Passwords
    login_lifetime: timedelta | None
    deliverer: Deliverer
    cleaner: Cleaner
    data_dir: Path
    instance: str
    installation: str
    key_file: KeyFile | None

    @property
    def defaults(self) -> Mapping[str, str]:
        """Default values of a job's fields."""
        return {"region_name": self.default_region, "resource_size": self.default_size}

    def view(self, run: Exec) -> ExecView:
        """A run as users currently see it."""
        waits = run.status is ExecStatus.WAITING
        return ExecView(run, self.dispatcher.reason(run) if waits else None)

    def tell_stopped(self, exec_ids: Iterable[str], reason: str | None) -> None:
        """Notify the dispatcher and the runner that these runs are to stop, and why."""
        for exec_id in exec_ids:
            self.dispatcher.withdraw(exec_id)
            self.runner.stop(exec_id, reason)

    async def discard(self, exec_ids: Sequence[str]) -> None:
        """Stop runs that are being deleted, and wait until their containers are removed."""
        for exec_id in exec_ids:
            self.dispatcher.withdraw(exec_id)
        here = [exec_id for exec_id in exec_ids if self.runner.looks_after(exec_id)]
        await self.runner.discard(here, grace_seconds=DELETE_GRACE, patience=DELETE_PATIENCE)
        elsewhere = [exec_id for exec_id in exec_ids if exec_id not in here]
        await self.ownership.until_ended_elsewhere(elsewhere, patience=DELETE_PATIENCE)
