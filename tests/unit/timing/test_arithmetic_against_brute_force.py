"""The closed arithmetic of schedules against slow definitions that are plainly right.

The brute force here shares nothing with the product: months are added by dateutil, a wall-clock time is
looked up by walking through real minutes, and a schedule's sequence is written out occurrence by occurrence.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scheduler.domain.errors import ScheduleError
from scheduler.timing.schedule import Schedule, parse_schedule

MINUTE = timedelta(minutes=1)
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Europe/Dublin",
]
# Text, months, wall-clock days, elapsed time.
STEPS = [
    ("P1D", 0, timedelta(days=1), timedelta()),
    ("P2D", 0, timedelta(days=2), timedelta()),
    ("P1W", 0, timedelta(days=7), timedelta()),
    ("P1W2D", 0, timedelta(days=9), timedelta()),
    ("P0.5D", 0, timedelta(hours=12), timedelta()),
    ("P0,0125D", 0, timedelta(minutes=18), timedelta()),
    ("P1M", 1, timedelta(), timedelta()),
    ("P5M", 5, timedelta(), timedelta()),
    ("P1Y", 12, timedelta(), timedelta()),
    ("P1Y1M", 13, timedelta(), timedelta()),
    ("P1M1D", 1, timedelta(days=1), timedelta()),
    ("PT1M", 0, timedelta(), timedelta(minutes=1)),
    ("PT45M", 0, timedelta(), timedelta(minutes=45)),
    ("PT36H", 0, timedelta(), timedelta(hours=36)),
    ("P1DT2H", 0, timedelta(days=1), timedelta(hours=2)),
    ("P1MT1H", 1, timedelta(), timedelta(hours=1)),
]


def transitions(zone: ZoneInfo, year: int) -> list[datetime]:
    """The hours within which the zone's offset changes in a year."""
    hours = (datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(24 * 366))
    return [
        h
        for h in hours
        if h.astimezone(zone).utcoffset() != (h + timedelta(hours=1)).astimezone(zone).utcoffset()
    ]


TRANSITIONS = {
    name: [t for year in (1995, 2011, 2018, 2026) for t in transitions(ZoneInfo(name), year)]
    for name in ZONES
}


def first_moment_at(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first real minute at which the zone's clock shows ``wall`` or more."""
    offsets = [
        (wall.replace(tzinfo=UTC) + timedelta(hours=h)).astimezone(zone).utcoffset() for h in range(-30, 31)
    ]
    moment = wall.replace(tzinfo=UTC) - max(offsets)
    while moment.astimezone(zone).replace(tzinfo=None) < wall:
        moment += MINUTE
    return moment


@st.composite
def moments(draw, zone: str) -> datetime:
    """A moment, mostly within two days of a change of the zone's offset."""
    near = TRANSITIONS[zone]
    if near and draw(st.booleans()):
        return draw(st.sampled_from(near)) + timedelta(minutes=draw(st.integers(-2880, 2880)))
    return datetime(1990, 1, 1, tzinfo=UTC) + timedelta(minutes=draw(st.integers(0, 50 * 525_600)))


@st.composite
def intervals(draw):
    """A zone, an anchor, a step, a number of runs, and whether it goes forward."""
    zone = draw(st.sampled_from(ZONES))
    anchor = draw(moments(zone))
    return zone, anchor, draw(st.sampled_from(STEPS)), draw(st.integers(1, 40)), draw(st.booleans())


def written_out(anchor_wall, zone, step, count, direction):
    """The sequence, one occurrence after the other, each moment once."""
    _, months, days, elapsed = step
    sequence = set()
    for k in range(count):
        wall = anchor_wall + direction * relativedelta(months=k * months) + direction * k * days
        sequence.add(first_moment_at(wall, zone) + direction * k * elapsed)
    return sorted(sequence)


@settings(max_examples=150, deadline=None)
@given(intervals(), st.data())
def test_every_answer_about_an_interval_agrees_with_its_sequence_written_out(interval, data):
    """Next, last, count and the whole sequence, forward and backward, near changes of offset."""
    name, moment, step, count, forward = interval
    zone = ZoneInfo(name)
    wall = moment.astimezone(zone).replace(tzinfo=None)
    written = f"{wall:%Y-%m-%dT%H:%M:%S}"
    text = f"R{count}/{written}/{step[0]}" if forward else f"R{count}/{step[0]}/{written}"
    schedule = parse_schedule(text, name)
    expected = written_out(wall, zone, step, count, 1 if forward else -1)
    start = expected[0] - MINUTE
    assert list(schedule.occurrences(start)) == expected
    for _ in range(4):
        probe = data.draw(st.sampled_from(expected)) + timedelta(seconds=data.draw(st.integers(-70, 70)))
        other = data.draw(st.sampled_from(expected)) + timedelta(seconds=data.draw(st.integers(-70, 70)))
        assert schedule.next_after(probe) == next((m for m in expected if m > probe), None)
        assert schedule.last_before(probe) == next((m for m in reversed(expected) if m < probe), None)
        inside = max(0, bisect_right(expected, other) - bisect_right(expected, probe))
        assert schedule.count_between(probe, other) == inside
        assert list(schedule.occurrences(probe, other)) == [m for m in expected if probe < m <= other]


@settings(max_examples=100, deadline=None)
@given(intervals())
def test_an_anchor_written_with_its_offset_runs_at_that_very_moment(interval):
    """In the second pass of a doubled hour as well; the sequence stays strictly ascending."""
    name, moment, step, count, forward = interval
    written = moment.astimezone(ZoneInfo(name)).isoformat()
    text = f"R{count}/{written}/{step[0]}" if forward else f"R{count}/{step[0]}/{written}"
    schedule = parse_schedule(text, name)
    sequence = list(schedule.occurrences(datetime(1, 1, 2, tzinfo=UTC)))
    assert sequence[0 if forward else -1] == moment
    assert all(a < b for a, b in pairwise(sequence))
    assert len(sequence) == schedule.count_between(
        datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    )
    assert [schedule.next_after(m) for m in sequence] == [*sequence[1:], None]
    assert [schedule.last_before(m) for m in sequence] == [None, *sequence[:-1]]


FIELD_SIZES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


@st.composite
def cron_fields(draw):
    """Five fields as the sets they name, and their text."""
    texts, sets = [], []
    for n, (low, high) in enumerate(FIELD_SIZES):
        # Most days and months should match, or hardly any example would run within its window.
        if draw(st.integers(0, 9)) < (2, 4, 6, 8, 6)[n]:
            texts.append("*")
            sets.append(set(range(low, high + 1)))
            continue
        if draw(st.booleans()):
            step = draw(st.integers(1, (high - low) + 5))
            texts.append(f"*/{step}")
            sets.append(set(range(low, high + 1, step)))
            continue
        values = draw(st.sets(st.integers(low, high), min_size=1, max_size=6))
        texts.append(",".join(map(str, sorted(values))))
        sets.append(values)
    return " ".join(texts), sets


def named(wall: datetime, text: str, sets: list[set[int]]) -> bool:
    """Whether crontab's fields name a wall-clock minute (the day fields as crontab(5) joins them)."""
    minutes, hours, days, months, weekdays = sets
    in_days, in_weekdays = wall.day in days, wall.isoweekday() % 7 in weekdays
    fields = text.split()
    both = fields[2].startswith("*") or fields[4].startswith("*")
    day = in_days and in_weekdays if both else in_days or in_weekdays
    return day and wall.month in months and wall.hour in hours and wall.minute in minutes


def parsed_unless_impossible(text: str, zone: str) -> Schedule:
    """The schedule; an example with dates that do not exist is passed over."""
    try:
        return parse_schedule(text, zone)
    except ScheduleError as error:
        assume("never runs" not in error.message)
        raise


@settings(max_examples=80, deadline=None)
@given(cron_fields(), st.sampled_from(ZONES), st.data())
@example(
    ("0 * * * *", [{0}, set(range(24)), set(range(1, 32)), set(range(1, 13)), set(range(7))]), "UTC", None
)
def test_every_answer_about_a_crontab_agrees_with_walking_through_the_minutes(fields, name, data):
    """Both kinds of job, over three days, mostly around a change of offset."""
    text, sets = fields
    zone = ZoneInfo(name)
    middle = datetime(2026, 3, 1, tzinfo=UTC) if data is None else data.draw(moments(name))
    first, last = middle - timedelta(hours=36), middle + timedelta(hours=36)
    minutes = [first + n * MINUTE for n in range(72 * 60 + 1)]
    schedule = parsed_unless_impossible(text, name)
    if len(sets[1]) == 24:
        expected = [m for m in minutes if named(m.astimezone(zone).replace(tzinfo=None), text, sets)]
    else:
        start = first.replace(tzinfo=None) - timedelta(hours=40)
        walls = (start + n * MINUTE for n in range(150 * 60))
        due = {first_moment_at(wall, zone) for wall in walls if named(wall, text, sets)}
        expected = sorted(m for m in due if first <= m <= last)
    before = first - timedelta(seconds=1)
    assert list(schedule.occurrences(before, last)) == expected
    assert schedule.count_between(before, last) == len(expected)
    backwards, moment = [], last + timedelta(seconds=1)
    while (moment := schedule.last_before(moment)) is not None and moment >= first:
        backwards.append(moment)
    assert backwards[::-1] == expected
    if data is not None:
        low, high = sorted(data.draw(st.lists(st.sampled_from(minutes), min_size=2, max_size=2)))
        counted = bisect_right(expected, high) - bisect_right(expected, low)
        assert schedule.count_between(low, high) == counted
        assert bisect_left(expected, low) == schedule.count_between(before, low - timedelta(microseconds=1))


@settings(max_examples=40, deadline=None)
@given(cron_fields(), st.sampled_from(ZONES), st.integers(1900, 2200))
def test_a_crontabs_count_over_years_is_the_length_of_its_sequence(fields, name, year):
    """Counting in closed form agrees with walking, where the sequence is short enough to walk."""
    text = " ".join(["7", *fields[0].split()[1:]])
    schedule = parsed_unless_impossible(text, name)
    after = datetime(year, 5, 3, 4, 5, 6, tzinfo=UTC)
    sequence = list(islice(schedule.occurrences(after), 1500))
    if sequence:
        assert schedule.count_between(after, sequence[-1]) == len(sequence)
        assert all(a < b for a, b in pairwise(sequence))
        assert [schedule.last_before(m) for m in sequence[1:]] == sequence[:-1]
