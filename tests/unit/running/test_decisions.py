"""What an end means, and when a run is tried again: facts in, decisions out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.domain.execution import Exec, ExecSpec, ExecStatus, FailReason, TriggerMode
from scheduler.domain.job import RETRYABLE, ConcurrencyPolicy, PullPolicy
from scheduler.engine.types import RunState, RunStatus
from scheduler.running.decisions import (
    LONGEST_BACKOFF,
    End,
    StopCause,
    cancelled_before_start,
    end_of,
    lost,
    region_missing,
    retry_at,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def _exec(attempt: int = 1, dispatched_at: datetime | None = START, **spec: Any) -> Exec:
    """A run with whatever matters to a test."""
    usual: dict[str, Any] = {
        "docker_image_repo": "busybox",
        "docker_image_tag": "1",
        "command": None,
        "runtime_vars": {},
        "resource_size": "XXS",
        "cpus": 0.15,
        "memory_bytes": 64 << 20,
        "region_name": "LOCAL",
        "pull_policy": PullPolicy.IF_NOT_PRESENT,
        "concurrency_policy": ConcurrencyPolicy.ALLOW,
        "timeout_seconds": None,
        "stop_grace_seconds": 10,
        "max_retries": 0,
        "retry_backoff_seconds": 10,
        "retry_on": RETRYABLE,
        "priority": 0,
    }
    return Exec(
        id="e",
        job_id=1,
        namespace="n",
        spec=ExecSpec(**usual | spec),
        status=ExecStatus.RUNNING,
        trigger_mode=TriggerMode.MANUAL,
        created_by="u",
        created_at=START,
        attempt=attempt,
        dispatched_at=dispatched_at,
        started_at=START,
    )


def _ended(code: int, *, after: float = 1.0, oom_killed: bool = False, error: str | None = None) -> RunStatus:
    return RunStatus(
        state=RunState.ENDED,
        exit_code=code,
        oom_killed=oom_killed,
        started_at=START,
        finished_at=START + timedelta(seconds=after),
        error=error,
    )


@pytest.mark.parametrize(
    ("status", "cause", "limit", "expected"),
    [
        (_ended(0), None, None, (ExecStatus.SUCCEEDED, None)),
        (_ended(3), None, None, (ExecStatus.FAILED, FailReason.EXIT_CODE)),
        (_ended(137), None, None, (ExecStatus.FAILED, FailReason.EXIT_CODE)),
        (_ended(137, oom_killed=True), None, None, (ExecStatus.FAILED, FailReason.OOM_KILLED)),
        # A process of it was killed for want of memory, but the run itself got over that.
        (_ended(0, oom_killed=True), None, None, (ExecStatus.SUCCEEDED, None)),
        (_ended(0), StopCause.REQUEST, None, (ExecStatus.CANCELLED, None)),
        (_ended(143), StopCause.REQUEST, 1, (ExecStatus.CANCELLED, None)),
        (_ended(0), StopCause.TIMEOUT, 1, (ExecStatus.FAILED, FailReason.TIMEOUT)),
        # Stopped by a daemon that did not live to see it.
        (_ended(143, after=5.1), None, 5, (ExecStatus.FAILED, FailReason.TIMEOUT)),
        (_ended(137, after=5.1), None, 5, (ExecStatus.FAILED, FailReason.TIMEOUT)),
        (_ended(143, after=4.9), None, 5, (ExecStatus.FAILED, FailReason.EXIT_CODE)),
        (_ended(137, after=5.1, oom_killed=True), None, 5, (ExecStatus.FAILED, FailReason.OOM_KILLED)),
        # Nobody was there to stop it, and it ended by itself.
        (_ended(0, after=50), None, 5, (ExecStatus.SUCCEEDED, None)),
        (_ended(1, after=50), None, 5, (ExecStatus.FAILED, FailReason.EXIT_CODE)),
    ],
)
def test_an_end_is_what_the_container_and_the_cause_say(
    status: RunStatus,
    cause: StopCause | None,
    limit: int | None,
    expected: tuple[ExecStatus, FailReason | None],
) -> None:
    """Status and reason follow from exit code, memory, time limit and who wanted the end."""
    end = end_of(_exec(timeout_seconds=limit), status, cause)

    assert (end.status, end.fail_reason) == expected
    assert end.exit_code == status.exit_code
    assert (end.error is None) is (end.status is ExecStatus.SUCCEEDED)


def test_the_engines_words_are_part_of_the_error() -> None:
    """They may say what an exit code does not."""
    end = end_of(_exec(), _ended(127, error="no such file"), None)

    assert end.error == "The command ended with exit code 127. no such file"


def test_a_lost_container_is_a_failure_unless_its_end_was_asked_for() -> None:
    """Whoever stopped the run gets what was promised."""
    assert lost(None, had_started=True, cause=None).fail_reason is FailReason.ENGINE_LOST
    assert lost(None, had_started=True, cause=StopCause.TIMEOUT).fail_reason is FailReason.ENGINE_LOST
    assert lost(None, had_started=True, cause=StopCause.REQUEST).status is ExecStatus.CANCELLED
    assert cancelled_before_start().status is ExecStatus.CANCELLED


def test_a_missing_region_tells_what_may_be_left_there() -> None:
    """Before the dispatch nothing can be; afterwards a container may go on."""
    assert region_missing(_exec(dispatched_at=None)).fail_reason is FailReason.START_FAILED
    assert region_missing(_exec()).fail_reason is FailReason.ENGINE_LOST


def _failed(reason: FailReason = FailReason.EXIT_CODE) -> End:
    return End(ExecStatus.FAILED, 1, reason, "words")


def test_the_back_off_doubles_with_every_attempt_up_to_a_day() -> None:
    """10 s, 20 s, 40 s …; huge numbers of attempts are no trouble."""

    def pause(attempt: int) -> timedelta:
        again = retry_at(_exec(attempt, max_retries=10_000), _failed(), START, jitter=0.0)
        assert again is not None
        return again - START

    assert [pause(attempt).total_seconds() for attempt in (1, 2, 3)] == [10, 20, 40]
    assert pause(9_999) == LONGEST_BACKOFF


def test_runs_that_failed_together_do_not_come_back_together() -> None:
    """Up to a tenth is added at random."""
    latest = retry_at(_exec(max_retries=1), _failed(), START, jitter=1.0)
    assert latest == START + timedelta(seconds=11)
    chosen = {retry_at(_exec(max_retries=1), _failed(), START) for _ in range(50)}
    assert len(chosen) > 1
    assert all(START + timedelta(seconds=10) <= moment <= latest for moment in chosen if moment)


@pytest.mark.parametrize("reason", FailReason)
def test_every_failure_but_a_hopeless_one_is_tried_again(reason: FailReason) -> None:
    """A size that is larger than the engine stays that; a policy and a missing secret do not change by waiting."""
    again = retry_at(_exec(max_retries=1), _failed(reason), START)

    hopeless = {FailReason.NO_CAPACITY, FailReason.POLICY_DENIED, FailReason.SECRET_MISSING}
    assert (again is None) is (reason in hopeless)


@pytest.mark.parametrize("reason", FailReason)
def test_a_job_says_itself_which_ends_are_tried_again(reason: FailReason) -> None:
    """What it does not name is final; an empty list makes every end final."""
    one = _exec(max_retries=1, retry_on=(FailReason.TIMEOUT, FailReason.NO_CAPACITY))

    again = retry_at(one, _failed(reason), START)

    assert (again is not None) is (reason in one.spec.retry_on)
    assert retry_at(_exec(max_retries=1, retry_on=()), _failed(reason), START) is None


def test_a_stopped_run_says_who_asked_for_that() -> None:
    """Before its start, after it, and when its container is gone."""
    asked = "requested by ada"
    ends = [
        end_of(_exec(), _ended(143), StopCause.REQUEST, asked),
        cancelled_before_start(asked),
        lost(None, had_started=True, cause=StopCause.REQUEST, reason=asked),
    ]

    assert all(end.status is ExecStatus.CANCELLED and asked in (end.error or "") for end in ends)


def test_retries_end_and_what_did_not_fail_has_none() -> None:
    """max_retries 2 makes three attempts; success and a stop make no more."""
    assert retry_at(_exec(2, max_retries=2), _failed(), START) is not None
    assert retry_at(_exec(3, max_retries=2), _failed(), START) is None
    for end in (End(ExecStatus.SUCCEEDED, 0), cancelled_before_start()):
        assert retry_at(_exec(max_retries=2), end, START) is None
