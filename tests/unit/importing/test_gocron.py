"""Schedules of robfig/cron, as Ofelia and Kubernetes write them: hand-checked against its documentation."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api.cli.importing.gocron import go_duration, iso_duration, translate
from scheduler.timing.schedule import parse_schedule


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0 1 * * *", "0 1 * * *"),
        ("0,20,40 * * * *", "0,20,40 * * * *"),
        ("@hourly", "@hourly"),
        ("@every 10s", "R//PT10S"),
        ("@every 1h30m", "R//PT1H30M"),
        ("@every 90m", "R//PT1H30M"),
        ("@every 1h30m10s", "R//PT1H30M10S"),
        ("@every 1.5h", "R//PT1H30M"),
        ("*/5 * ? * ?", "*/5 * * * *"),
        ("0 0 1 * * *", "0 1 * * *"),
        ("20 0 1 * * *", "R/1970-01-01T01:00:20/P1D"),
        ("5 30 4 * * 0", "R/1970-01-04T04:30:05/P1W"),
        ("5 30 4 * * 6", "R/1970-01-10T04:30:05/P1W"),
        ("30 15 * * * *", "R/1970-01-01T00:15:30/PT1H"),
        ("7 * * * * *", "R/1970-01-01T00:00:07Z/PT1M"),
        ("*/10 * * * * *", "R/1970-01-01T00:00:00Z/PT10S"),
        ("* * * * * *", "R/1970-01-01T00:00:00Z/PT1S"),
    ],
)
def test_schedules_become_those_of_crontab_or_intervals(text: str, schedule: str):
    """Without a word, where the meaning is the same."""
    found = translate(text, seconds=True)
    assert (found.schedule, found.notes) == (schedule, ())
    parse_schedule(schedule)


def test_a_second_of_a_week_is_on_the_day_that_was_named():
    """Sunday is 0, as there."""
    for day in range(7):
        schedule = translate(f"5 30 4 * * {day}", seconds=True).schedule
        assert schedule is not None
        at = parse_schedule(schedule).next_after(datetime(2026, 1, 1, tzinfo=UTC))
        assert at is not None
        assert (at.isoweekday() % 7, at.hour, at.minute, at.second) == (day, 4, 30, 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("*/7 * * * * *", "has seconds"),
        ("20 0 1 1 * *", "has seconds"),
        ("20 0 1 * * 1-5", "has seconds"),
        ("@every", "is not valid"),
        ("@every 5", "is not valid"),
        ("@every 1x", "is not valid"),
        ("@reboot", "does not name a time"),
        ("", "cannot be imported"),
        ("* * * *", "the day of week is missing"),
        ("0 0 31 2 *", "never runs"),
        ("TZ=Nowhere/At 0 0 * * *", "is not the name of an IANA time zone"),
    ],
)
def test_what_cannot_be_said_is_explained(text: str, said: str):
    """And there is no schedule then."""
    found = translate(text, seconds=True)
    assert found.schedule is None
    assert said in "; ".join(found.notes)


def test_kubernetes_has_no_seconds():
    """Six fields are one too many there."""
    assert translate("0 0 1 * * *").schedule is None


def test_differences_of_meaning_are_noted():
    """Rounded steps, and day fields of which one begins with a star but is not bare."""
    assert "is rounded to 1 s" in translate("@every 1500ms").notes[0]
    assert "is rounded to 1 s" in translate("@every 20ms").notes[0]
    assert "requires one of them to match, Timeball both" in translate("0 0 */2 * 1").notes[0]
    assert (
        translate("0 0 */1 * 1").notes == translate("0 0 * * 1").notes == translate("0 0 13 * 5").notes == ()
    )


def test_a_zone_before_the_schedule_is_kept():
    """And tells whether the zone of the machine mattered."""
    found = translate("CRON_TZ=Asia/Tokyo 0 6 * * *")
    assert (found.schedule, found.zone, found.follows_wall_clock) == ("0 6 * * *", "Asia/Tokyo", False)
    assert translate("0 6 * * *").follows_wall_clock
    assert translate("20 0 1 * * *", seconds=True).follows_wall_clock
    assert not translate("@every 5m").follows_wall_clock


def test_durations_of_go_are_read():
    """All its units; nothing else."""
    assert go_duration("1h2m3s4ms5us6ns") == pytest.approx(3723.004005006)
    assert go_duration(".5s") == 0.5
    assert [go_duration(text) for text in ("", "5", "h", "1d", "1h 2m")] == [None] * 5
    assert [iso_duration(number) for number in (1, 60, 3600, 86_400)] == ["PT1S", "PT1M", "PT1H", "PT24H"]
