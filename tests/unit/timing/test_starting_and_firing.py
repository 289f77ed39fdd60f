"""Writing a start into a schedule, and firing its occurrences through APScheduler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import ScheduleError
from scheduler.timing.schedule import parse_schedule, start_schedule
from scheduler.timing.trigger import ScheduleTrigger

NOW = datetime(2026, 5, 1, 12, 0, 0, 446_001, tzinfo=UTC)


def test_a_schedule_without_a_start_has_no_occurrences_until_it_is_started():
    """``R3//PT1H`` begins when it is switched on."""
    schedule = parse_schedule("R3//PT1H")
    assert schedule.needs_start
    assert schedule.next_after(NOW) is None
    assert schedule.last_before(NOW) is None
    assert schedule.count_between(NOW, NOW + timedelta(days=1)) == 0
    assert list(schedule.occurrences(NOW)) == []
    started = start_schedule("R3//PT1H", None, NOW)
    assert started == "R3/2026-05-01T12:00:00.447Z/PT1H"
    assert not parse_schedule(started).needs_start
    assert len(list(parse_schedule(started).occurrences(NOW))) == 3


@given(st.datetimes(), st.sampled_from([None, "Europe/Berlin", "Asia/Kathmandu"]))
def test_the_start_written_in_is_never_before_now(now, zone):
    """Rounded up to the millisecond, at any moment of the calendar that a zone can show."""
    now = min(now.replace(tzinfo=UTC), datetime(9999, 12, 31, 12, tzinfo=UTC))
    now = max(now, datetime(1, 1, 2, tzinfo=UTC))
    first = parse_schedule(start_schedule("R1//P1D", zone, now), zone).next_after(
        now - timedelta(microseconds=1)
    )
    assert first is not None
    assert timedelta(0) <= first - now < timedelta(milliseconds=1)


@pytest.mark.parametrize("text", ["R3/2026-05-01T12:00:00Z/PT1H", "R/PT1H/2026-05-01T12:00:00Z", "@daily"])
def test_a_schedule_that_has_a_start_or_needs_none_comes_back_unchanged(text):
    """Character by character."""
    assert start_schedule(text, "Europe/Berlin", NOW) == text
    assert not parse_schedule(text).needs_start


@pytest.mark.parametrize("zeros", [227, 240, 248])
def test_the_longest_text_is_started_as_well(zeros):
    """What users write may have 256 characters; the start written in does not count."""
    text = f"R{'0' * zeros}2//PT1S"
    assert len(text) <= 256
    started = start_schedule(text, None, NOW)
    assert len(list(parse_schedule(started).occurrences(NOW))) == 2
    assert start_schedule(started, None, NOW) == started
    for longer in (f"R{'0' * 249}2//PT1S", f"R{'0' * 249}2/2026-05-01T12:00:00.447Z/PT1S"):
        with pytest.raises(ScheduleError, match="longer than 256"):
            parse_schedule(longer)


def test_a_text_that_is_no_schedule_is_not_started():
    """It is refused as everywhere else."""
    with pytest.raises(ScheduleError):
        start_schedule("R3//P1H", None, NOW)


def test_the_trigger_fires_every_occurrence_of_its_horizon_and_then_stops():
    """After ``after``, through ``until``, past ones included, whatever the clock says."""
    schedule = parse_schedule("R/2026-05-01T00:00:00Z/PT10S")
    after = datetime(2026, 5, 1, tzinfo=UTC)
    until = after + timedelta(minutes=1)
    trigger = ScheduleTrigger(schedule, after, until)
    fired: list[datetime] = []
    previous = None
    while (moment := trigger.get_next_fire_time(previous, NOW)) is not None:
        fired.append(moment)
        previous = moment
    assert fired == [after + timedelta(seconds=10 * n) for n in range(1, 7)]


def test_the_trigger_of_a_schedule_with_nothing_left_fires_never():
    """Nor one whose next occurrence lies beyond the horizon."""
    later = NOW + timedelta(hours=1)
    assert (
        ScheduleTrigger(parse_schedule("R0/2026-05-01/P1D"), NOW, later).get_next_fire_time(None, NOW) is None
    )
    assert ScheduleTrigger(parse_schedule("@yearly"), NOW, later).get_next_fire_time(None, NOW) is None
