"""What becomes of runs missed and of runs that would overlap, case by case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.job import ConcurrencyPolicy, MisfirePolicy
from scheduler.timing.misfire import decide_misfire
from scheduler.timing.overlap import Overlap, decide_overlap, overlap_reason

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NO_GRACE = timedelta(0)


def decide(due_at, policy, *, newest=NOW, up_since=NOW, grace=NO_GRACE):
    """A decision with the daemon just started."""
    return decide_misfire(due_at, newest=newest, now=NOW, up_since=up_since, policy=policy, grace=grace)


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_what_fell_due_while_the_daemon_was_up_is_run_however_late(policy):
    """Lateness of the daemon's own making is no misfire."""
    decision = decide(NOW - 60 * MINUTE, policy, up_since=NOW - 60 * MINUTE)
    assert decision.run
    assert decision.reason is None


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_what_is_less_late_than_the_grace_is_simply_run(policy):
    """The grace itself is not less than the grace."""
    late = NOW - MINUTE
    assert decide(late, policy, grace=MINUTE + timedelta(microseconds=1)).run
    assert decide(late, policy, grace=MINUTE).run == (policy is MisfirePolicy.ALL)


@pytest.mark.parametrize("missed", [1, 10, 10_000])
def test_of_many_missed_runs_each_policy_makes_exactly_those_it_promises(missed):
    """The newest one, none, or all; every other has a reason for the ledger."""
    due = [NOW - n * MINUTE for n in range(missed, 0, -1)]
    for policy, promised in (("latest", due[-1:]), ("skip", []), ("all", due)):
        decisions = {d: decide(d, MisfirePolicy(policy), newest=due[-1]) for d in due}
        assert [d for d in due if decisions[d].run] == promised
        for decision in decisions.values():
            assert (decision.reason is None) == decision.run
            assert decision.reason is None or f"misfire_policy '{policy}'" in decision.reason


@pytest.mark.parametrize(
    ("policy", "when_active"),
    [
        ("allow", Overlap.START),
        ("forbid", Overlap.SKIP),
        ("queue", Overlap.WAIT),
        ("replace", Overlap.REPLACE),
    ],
)
def test_a_run_that_would_overlap_does_what_its_policy_says(policy, when_active):
    """With nothing active every policy starts it."""
    assert decide_overlap(ConcurrencyPolicy(policy), 0) is Overlap.START
    assert decide_overlap(ConcurrencyPolicy(policy), 1) is when_active
    assert decide_overlap(ConcurrencyPolicy(policy), 7) is when_active


def test_every_overlap_but_a_plain_start_has_a_reason():
    """A sentence that names the policy and how many runs were going."""
    assert overlap_reason(Overlap.START, 3) is None
    for overlap, policy in ((Overlap.SKIP, "forbid"), (Overlap.WAIT, "queue"), (Overlap.REPLACE, "replace")):
        assert f"'{policy}'" in (overlap_reason(overlap, 1) or "")
        assert "2 earlier runs" in (overlap_reason(overlap, 2) or "")
