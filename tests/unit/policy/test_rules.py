"""What a definition must satisfy, and where a changed schedule stands; pure, with a clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.job import Command, Job, JobDefinition, ScheduleCursor, ScheduleState, Size
from scheduler.policy import job_rules
from scheduler.policy.container_policy import ContainerPolicy

NOW = datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
SIZES = {"XXS": Size(0.15, 64), "S": Size(0.5, 256)}
BASE = JobDefinition(name="n", namespace="ns", docker_image_repo="busybox")


def errors_of(definition: JobDefinition, changes: Mapping[str, Any] | None = None) -> dict[str, FieldError]:
    """What is wrong with a definition, by field."""
    try:
        job_rules.check_definition(
            definition,
            sizes=SIZES,
            regions=["LOCAL", "CLOUD"],
            policy=ContainerPolicy(),
            changes=changes,
        )
    except InvalidInputError as error:
        return {one.field: one for one in error.errors}
    return {}


def stored(definition: JobDefinition, before: Job | None = None, now: datetime = NOW) -> Job:
    """The job that a definition becomes."""
    definition, cursor = job_rules.with_schedule(definition, before, now)
    return Job(id=1, definition=definition, cursor=cursor, created_by="u", created_at=now, updated_at=now)


def test_a_plain_definition_is_accepted():
    """The defaults are a definition that can run."""
    assert errors_of(BASE) == {}


def test_everything_that_is_wrong_is_named_at_once():
    """Size, command, schedule and region each have an entry with value and remedy."""
    found = errors_of(
        replace(BASE, resource_size="HUGE", region_name="MOON", command="'", schedule_mode="R-1//PT1H")
    )
    assert list(found) == ["resource_size", "command", "schedule_mode", "region_name"]
    assert found["resource_size"].value == "HUGE"
    assert found["resource_size"].remedy == "use one of XXS, S"
    assert "LOCAL, CLOUD" in found["region_name"].remedy
    assert "(at position 2)" in found["schedule_mode"].message


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, set()),
        ({"is_schedule_active": False}, set()),
        ({"name": "n", "schedule_mode": "@daily"}, set()),
        ({"is_schedule_active": True}, {"resource_size", "region_name"}),
        ({"is_schedule_active": False, "region_name": "MOON"}, {"region_name"}),
        ({"resource_size": "HUGE"}, {"resource_size"}),
    ],
)
def test_a_place_that_is_no_longer_configured_matters_to_who_names_it_or_switches_on(
    changes: dict[str, object], refused: set[str]
):
    """The job's other fields can still be changed."""
    gone = replace(BASE, resource_size="HUGE", region_name="MOON", schedule_mode="@daily")
    assert set(errors_of(replace(gone, **changes), changes)) == refused


@pytest.mark.parametrize("command", [None, "", " ", [], "sh -c 'a b'", ["x"], ["x", ""]])
def test_a_command_may_be_words_or_nothing(command: Command):
    """Nothing means the image's own command."""
    assert job_rules.check_command(command) == []


@pytest.mark.parametrize("command", ["'", '"a', "a\\", "''", '"" x', [""], ["", "x"]])
def test_a_command_that_names_no_program_is_refused(command: Command):
    """An open quotation, a lone backslash, or an empty first word."""
    (error,) = job_rules.check_command(command)
    assert (error.field, error.value) == ("command", command)


@pytest.mark.parametrize("active", [False, True])
def test_an_empty_schedule_is_not_no_schedule(active: bool):
    """An empty text is refused; leaving the schedule out is written null."""
    assert set(errors_of(replace(BASE, schedule_mode="", is_schedule_active=active))) == {"schedule_mode"}


def test_a_zone_is_checked_even_without_a_schedule():
    """A zone that does not exist would only be found out later."""
    assert set(errors_of(replace(BASE, schedule_timezone="Mars/Olympus"))) == {"schedule_timezone"}


def test_a_bad_zone_does_not_hide_a_bad_schedule():
    """Both are named at once."""
    found = errors_of(replace(BASE, schedule_timezone="Mars/Olympus", schedule_mode="R3//P1H"))
    assert set(found) == {"schedule_timezone", "schedule_mode"}


def test_switching_on_writes_the_start_and_knows_the_next_run():
    """The start lies at or after the present, and is the first due time."""
    job = stored(replace(BASE, schedule_mode="R3//PT1H", is_schedule_active=True))
    assert job.definition.schedule_mode == "R3/2026-01-01T12:00:00.500Z/PT1H"
    assert job.cursor == ScheduleCursor(revision=0, active_since=NOW, next_due_at=NOW)


def test_a_due_time_in_the_very_moment_of_switching_on_counts():
    """Due times from the present on happen, earlier ones never did."""
    job = stored(replace(BASE, schedule_mode="R/2026-01-01T12:00:00.5Z/PT1H", is_schedule_active=True))
    assert job.cursor.next_due_at == NOW
    later = stored(job.definition, now=NOW + timedelta(microseconds=1))
    assert later.cursor.next_due_at == NOW + timedelta(hours=1)


def test_what_does_not_concern_the_schedule_leaves_its_cursor_alone():
    """A claim that is being made for the job stays good."""
    before = stored(replace(BASE, schedule_mode="@daily", is_schedule_active=True))
    after = stored(replace(before.definition, name="renamed"), before, NOW + timedelta(days=3))
    assert after.cursor == before.cursor


@pytest.mark.parametrize(
    "change",
    [{"schedule_mode": "@hourly"}, {"schedule_timezone": "Asia/Shanghai"}, {"is_schedule_active": False}],
)
def test_a_changed_schedule_has_a_new_revision(change: dict[str, object]):
    """A claim that is being made for the old schedule fails."""
    before = stored(replace(BASE, schedule_mode="@daily", is_schedule_active=True))
    after = stored(replace(before.definition, **change), before)
    assert after.cursor.revision == before.cursor.revision + 1
    assert (after.cursor.next_due_at is None) == (change == {"is_schedule_active": False})


def test_the_states_of_a_schedule_follow_from_job_and_cursor():
    """None, inactive, active, finished."""
    assert stored(BASE).schedule_state is ScheduleState.NONE
    assert stored(replace(BASE, schedule_mode="@daily")).schedule_state is ScheduleState.INACTIVE
    on = replace(BASE, is_schedule_active=True)
    assert stored(replace(on, schedule_mode="@daily")).schedule_state is ScheduleState.ACTIVE
    assert stored(replace(on, schedule_mode="R0//P1D")).schedule_state is ScheduleState.FINISHED
    past = "R1/2015-12-31T16:00:23.446Z/PT1H"
    assert stored(replace(on, schedule_mode=past)).schedule_state is ScheduleState.FINISHED
