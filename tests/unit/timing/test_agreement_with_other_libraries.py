"""Agreement with independent libraries where they share ground, and their known defects where they do not.

Common ground is what every reading of the standards gives alike: steps of fixed length from a start with an
offset, and crontab expressions in UTC. The tests of defects show why the ground ends there; should one of them
fail after an upgrade, the library has mended its ways and the ground has grown.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import aniso8601
import isodate
import pytest
from croniter import croniter
from cronsim import CronSim
from dateutil import rrule
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.errors import ScheduleError
from scheduler.timing.schedule import parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
STARTS = st.datetimes(datetime(1800, 1, 1), datetime(2500, 1, 1))  # noqa: DTZ001  given an offset below
UNITS = {
    "S": ("T", rrule.SECONDLY),
    "M": ("T", rrule.MINUTELY),
    "H": ("T", rrule.HOURLY),
    "D": ("", rrule.DAILY),
}


@settings(max_examples=200, deadline=None)
@given(
    STARTS, st.integers(1, 5000), st.sampled_from("SMHDW"), st.integers(1, 12), st.integers(-14 * 60, 14 * 60)
)
def test_fixed_steps_agree_with_aniso8601(start, length, unit, count, offset):
    """Forward and backward, from a start with any offset and with microseconds."""
    sign, (hours, minutes) = "+-"[offset < 0], divmod(abs(offset), 60)
    written = f"{start.isoformat()}{sign}{hours:02}:{minutes:02}"
    duration = f"P{'' if unit in 'DW' else 'T'}{length}{unit}"
    for text in (f"R{count}/{written}/{duration}", f"R{count}/{duration}/{written}"):
        theirs = sorted(aniso8601.parse_repeating_interval(text))
        ours = list(parse_schedule(text).occurrences(theirs[0] - timedelta(microseconds=1)))
        assert ours == theirs


@settings(max_examples=200, deadline=None)
@given(STARTS, st.integers(1, 400), st.sampled_from("SMHD"), st.integers(1, 30), st.data())
def test_fixed_steps_agree_with_dateutil(start, length, unit, count, data):
    """The sequence, and what comes next and came last around any of its moments."""
    start = start.replace(microsecond=0, tzinfo=UTC)
    designator, frequency = UNITS[unit]
    theirs = rrule.rrule(frequency, interval=length, count=count, dtstart=start)
    ours = parse_schedule(f"R{count}/{start:%Y%m%dT%H%M%S}Z/P{designator}{length}{unit}")
    assert list(ours.occurrences(start - timedelta(seconds=1))) == list(theirs)
    probe = data.draw(st.sampled_from(list(theirs))) + timedelta(seconds=data.draw(st.integers(-2, 2)))
    assert ours.next_after(probe) == theirs.after(probe)
    assert ours.last_before(probe) == theirs.before(probe)


@settings(max_examples=100, deadline=None)
@given(STARTS, st.integers(1, 28), st.integers(1, 30), st.integers(1, 24))
def test_months_that_need_no_clamping_agree_with_dateutil(start, day, months, count):
    """From a day that every month has."""
    start = start.replace(day=day, microsecond=0, tzinfo=UTC)
    theirs = list(rrule.rrule(rrule.MONTHLY, interval=months, count=count, dtstart=start))
    ours = parse_schedule(f"R{count}/{start:%Y-%m-%dT%H:%M:%SZ}/P{months}M")
    assert list(ours.occurrences(start - timedelta(seconds=1))) == theirs


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """A crontab field of a star, a step, a list of values and ranges."""
    value = st.integers(low, high)
    span = st.tuples(value, value).filter(lambda v: v[0] < v[1]).map(lambda v: f"{v[0]}-{v[1]}")
    stepped = st.tuples(span, st.integers(1, high - low)).map(lambda v: f"{v[0]}/{v[1]}")
    return st.one_of(
        st.just("*"),
        st.integers(1, high - low).map("*/{}".format),
        st.lists(st.one_of(value.map(str), span, stepped), min_size=1, max_size=4).map(",".join),
    )


@settings(max_examples=300, deadline=None)
@given(field(0, 59), field(0, 23), st.tuples(field(1, 28), field(1, 12), field(0, 6)), st.booleans(), STARTS)
def test_crontabs_in_utc_agree_with_croniter(minute, hour, date, by_weekday, start):
    """With one of the day fields left open; forward and backward."""
    day, month, weekday = date
    text = f"{minute} {hour} {'*' if by_weekday else day} {month} {weekday if by_weekday else '*'}"
    start = start.replace(microsecond=0, tzinfo=UTC)
    theirs = croniter(text, start)
    assert list(islice(parse_schedule(text).occurrences(start), 20)) == [
        theirs.get_next(datetime) for _ in range(20)
    ]
    theirs = croniter(text, start)
    moment = start
    for _ in range(5):
        moment = parse_schedule(text).last_before(moment)
        assert moment == theirs.get_prev(datetime)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True),
    field(1, 28),
    field(0, 6),
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001  in the zone below
)
def test_jobs_at_fixed_times_agree_with_cronsim_in_a_zone(minutes, hours, day, weekday, start):
    """Both day fields and daylight saving included, at least as long as no two times fall into one gap."""
    text = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} {day} * {weekday}"
    start = start.replace(microsecond=0, tzinfo=BERLIN)
    theirs = [moment.astimezone(UTC) for moment in islice(CronSim(text, start), 30)]
    ours = parse_schedule(text, "Europe/Berlin").occurrences(start)
    # cronsim tells a moment twice when two times that are skipped fall on it.
    assert list(islice(ours, 25)) == sorted(set(theirs))[:25]


def test_aniso8601_takes_a_month_for_thirty_days_and_the_end_of_a_day_for_its_beginning():
    """Known defects: 31 January + P1M is 2 March; 24:00:00 is the midnight before; the calendar's end raises."""
    monthly = list(aniso8601.parse_repeating_interval("R2/2026-01-31T00:00:00Z/P1M"))
    assert (monthly[1].month, monthly[1].day) == (3, 2)
    midnight = next(iter(aniso8601.parse_repeating_interval("R2/2026-01-31T24:00:00Z/PT1H")))
    assert midnight.day == 31
    with pytest.raises(OverflowError):
        list(aniso8601.parse_repeating_interval("R2/9999-12-31T23:00:00Z/PT1H"))
    descending = list(aniso8601.parse_repeating_interval("R2/2026-01-02T00:00:00Z/2026-01-01T00:00:00Z"))
    assert descending[1] < descending[0], "an end before its start makes it run backwards"


def test_dateutil_leaves_out_the_months_that_have_no_such_day():
    """A difference of purpose: RFC 5545 skips February for the 31st; here it runs on the 28th."""
    start = datetime(2026, 1, 31, tzinfo=UTC)
    theirs = list(rrule.rrule(rrule.MONTHLY, count=3, dtstart=start))
    assert [m.month for m in theirs] == [1, 3, 5]
    ours = parse_schedule("R3/2026-01-31T00:00:00Z/P1M").occurrences(start - timedelta(1))
    assert [m.month for m in ours] == [1, 2, 3]


def test_croniter_repeats_a_doubled_time_and_reads_some_fields_otherwise_than_crontab():
    """Known defects: runs twice at 02:30 when clocks go back; ``*/2`` beside a weekday is or; 5-5/2; FRI-MON."""
    doubled = croniter("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=BERLIN))
    assert [doubled.get_next(datetime).day for _ in range(3)] == [25, 25, 26]
    either = croniter("0 0 */2 * FRI", datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)
    assert either.day == 2
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_schedule("0 0 */2 * FRI").next_after(after) == datetime(2026, 1, 9, tzinfo=UTC)
    assert croniter("5-5/2 * * * *", after).get_next(datetime).minute != 5
    assert parse_schedule("5-5/2 * * * *").next_after(after) == after.replace(minute=5)
    assert croniter("0 0 * * FRI-MON", after).get_next(datetime)


def test_cronsim_skips_stepped_jobs_in_a_gap_and_widens_a_stepped_range_of_one():
    """Known defects: ``0 */2`` misses 02:00 where clocks go forward; ``5-5/20`` becomes 5, 25 and 45."""
    skipped = next(CronSim("0 */2 * * *", datetime(2026, 3, 29, 1, tzinfo=BERLIN)))
    assert skipped.hour == 4
    assert len(CronSim("5-5/20 * * * *", datetime(2026, 1, 1, tzinfo=UTC)).minutes) == 3


def test_isodate_lets_pass_what_is_refused_here():
    """Known defects: an empty PT, a sign, a trailing line feed, floats that lose microseconds."""
    assert isodate.parse_duration("PT") == timedelta(0)
    assert isodate.parse_duration("-P1D") == timedelta(days=-1)
    assert isodate.parse_duration("P1D\n") == timedelta(days=1)
    assert isodate.parse_duration("PT99999999999.123456S").microseconds != 123456
    for duration in ("PT", "-P1D", "P1D\n", "P0.5M"):
        with pytest.raises(ScheduleError):
            parse_schedule(f"R/2026-01-01T00:00:00Z/{duration}")
    start = datetime(1, 1, 1, tzinfo=UTC)
    second = parse_schedule("R2/0001-01-01T00:00:00Z/PT99999999999.123456S").next_after(start)
    assert second is not None
    assert second.microsecond == 123456
