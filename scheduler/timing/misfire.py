"""Decides what happens to runs that were due while no daemon was running. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.domain.job import MisfirePolicy


@dataclass(frozen=True, slots=True)
class MisfireDecision:
    """Whether a due time runs.

    Attributes:
        run: whether it runs now.
        reason: why not, as a sentence for the ledger; None if it runs.
    """

    run: bool
    reason: str | None


_RUN = MisfireDecision(run=True, reason=None)


def decide_misfire(
    due_at: datetime,
    *,
    newest: datetime | None,
    now: datetime,
    up_since: datetime,
    policy: MisfirePolicy,
    grace: timedelta,
) -> MisfireDecision:
    """Decide whether the run due at ``due_at`` is created now.

    Args:
        due_at: the due time, at or before ``now``.
        newest: the schedule's last due time before ``up_since``; None if there is none.
        now: the current time.
        up_since: when the planner started to watch without interruption.
        policy: the job's policy.
        grace: a run that is less late than this simply runs.
    """
    if due_at >= up_since or now - due_at < grace or policy is MisfirePolicy.ALL:
        return _RUN
    if policy is MisfirePolicy.LATEST:
        if due_at == newest:
            return _RUN
        rule = "misfire_policy 'latest' only runs the latest missed due time."
    else:
        rule = "misfire_policy 'skip' does not run missed due times."
    return MisfireDecision(run=False, reason=f"The daemon was not running at this time; {rule}")
