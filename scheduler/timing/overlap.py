"""Decides what happens to a run that is due while earlier runs of its job have not ended. Pure."""

from __future__ import annotations

from enum import StrEnum

from scheduler.domain.job import ConcurrencyPolicy


class Overlap(StrEnum):
    """What to do with a run that is due."""

    START = "start"  #: start it
    SKIP = "skip"  #: do not run it, record why
    WAIT = "wait"  #: start it when the earlier ones have ended
    REPLACE = "replace"  #: stop the earlier ones, then start it


_WHEN_ACTIVE = {
    ConcurrencyPolicy.ALLOW: Overlap.START,
    ConcurrencyPolicy.FORBID: Overlap.SKIP,
    ConcurrencyPolicy.QUEUE: Overlap.WAIT,
    ConcurrencyPolicy.REPLACE: Overlap.REPLACE,
}


def decide_overlap(policy: ConcurrencyPolicy, active: int) -> Overlap:
    """What to do with a run of a job that has ``active`` earlier runs waiting or running."""
    return _WHEN_ACTIVE[policy] if active > 0 else Overlap.START


def overlap_reason(overlap: Overlap, active: int) -> str | None:
    """Why a run did not simply start, as a sentence for the ledger; None if it did."""
    earlier = "An earlier run had" if active == 1 else f"{active} earlier runs had"
    ended = "it has ended" if active == 1 else "they have ended"
    match overlap:
        case Overlap.START:
            return None
        case Overlap.SKIP:
            return f"{earlier} not ended; concurrency_policy 'forbid' does not allow concurrent runs."
        case Overlap.WAIT:
            return f"{earlier} not ended; concurrency_policy 'queue' starts this one when {ended}."
        case Overlap.REPLACE:
            return f"{earlier} not ended and was stopped for this run; concurrency_policy is 'replace'."
