"""What becomes of runs that fell due while no daemon was there to start them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.domain.job import MisfirePolicy


@dataclass(frozen=True, slots=True)
class MisfireDecision:
    """Whether a due time is run.

    Attributes:
        run: run it now.
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
    """Whether the run due at ``due_at`` is made now.

    Args:
        due_at: when it fell due, at or before ``now``.
        newest: the schedule's last occurrence before ``up_since``; None when there is none.
        now: the present.
        up_since: since when the planner has been watching without a break.
        policy: the job's policy.
        grace: a run less late than this is simply run.
    """
    if due_at >= up_since or now - due_at < grace or policy is MisfirePolicy.ALL:
        return _RUN
    if policy is MisfirePolicy.LATEST:
        if due_at == newest:
            return _RUN
        rule = "misfire_policy 'latest' runs only the newest of the times missed."
    else:
        rule = "misfire_policy 'skip' runs none of the times missed."
    return MisfireDecision(run=False, reason=f"The daemon was not running at this time; {rule}")
