"""Sequences worked out by hand, for what no library judges: month ends, leap days, gaps, folds."""

# ruff: noqa: E501  the table of cases reads best with one case a line
from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from scheduler.timing.preview import preview
from scheduler.timing.schedule import parse_schedule

LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)
BERLIN, SAO_PAULO, LORD_HOWE = "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"

# Schedule, zone, after, the next occurrences on the wall clock with their offsets; ! marks a gap, ? a fold.
CASES = [
    # Months from the 29th, 30th and 31st never drift.
    ("R5/2026-01-31T00:00:00Z/P1M", None, None, "01-31T00:00+00 02-28T00:00+00 03-31T00:00+00 04-30T00:00+00 05-31T00:00+00"),
    ("R4/2027-12-30T08:00:00Z/P1M", None, None, "12-30T08:00+00 01-30T08:00+00 02-29T08:00+00 03-30T08:00+00"),
    ("R3/2027-01-29T08:00:00Z/P1M", None, None, "01-29T08:00+00 02-28T08:00+00 03-29T08:00+00"),
    ("R3/P1M/2026-03-31T00:00:00Z", None, None, "01-31T00:00+00 02-28T00:00+00 03-31T00:00+00"),
    ("R3/2026-11-30T00:00:00Z/P3M", None, None, "11-30T00:00+00 02-28T00:00+00 05-30T00:00+00"),
    # 29 February, every year and over the missing leap year 2100.
    ("R5/2024-02-29T12:00:00Z/P1Y", None, None, "02-29T12:00+00 02-28T12:00+00 02-28T12:00+00 02-28T12:00+00 02-29T12:00+00"),
    ("R3/2096-02-29T12:00:00Z/P4Y", None, None, "2096-02-29T12:00+00 2100-02-28T12:00+00 2104-02-29T12:00+00"),
    ("0 12 29 2 *", None, "2096-01-01", "2096-02-29T12:00+00 2104-02-29T12:00+00"),
    # 24:00:00 is the next day's midnight.
    ("R2/2026-12-31T24:00:00Z/P1D", None, None, "2027-01-01T00:00+00 2027-01-02T00:00+00"),
    ("R2/20240228T24Z/P1D", None, None, "02-29T00:00+00 03-01T00:00+00"),
    # Berlin skips 02:00-03:00 on 2026-03-29 and repeats it on 2026-10-25.
    ("R3/2026-03-28T02:30:00/P1D", BERLIN, None, "03-28T02:30+01 03-29T03:00+02! 03-30T02:30+02"),
    ("R3/2026-10-24T02:30:00/P1D", BERLIN, None, "10-24T02:30+02 10-25T02:30+02? 10-26T02:30+01"),
    ("R2/2026-03-29T02:30:00/P1D", BERLIN, None, "03-29T03:00+02! 03-30T02:30+02"),
    ("R3/2026-03-28T02:30:00+01:00/PT24H", BERLIN, None, "03-28T02:30+01 03-29T03:30+02 03-30T03:30+02"),
    ("R3/2026-10-25T01:30:00/PT1H", BERLIN, None, "10-25T01:30+02 10-25T02:30+02 10-25T02:30+01"),
    ("R3/2026-10-25T02:30:00+01:00/P1D", BERLIN, None, "10-25T02:30+01 10-26T02:30+01 10-27T02:30+01"),
    ("R2/2026-10-25T02:30:00+02:00/P1D", BERLIN, None, "10-25T02:30+02 10-26T02:30+01"),
    ("R2/P1D/2026-10-25T02:30:00+01:00", BERLIN, None, "10-24T02:30+02 10-25T02:30+01"),
    ("R3/2026-03-28T00:00:00/P1DT2H30M", BERLIN, None, "03-28T00:00+01 03-29T03:30+02 03-30T05:00+02"),
    ("30 2 * * *", BERLIN, "2026-03-28T00:00", "03-28T02:30+01 03-29T03:00+02! 03-30T02:30+02"),
    ("30 2 * * *", BERLIN, "2026-10-24T12:00", "10-25T02:30+02? 10-26T02:30+01"),
    ("*/20 2 * * *", BERLIN, "2026-03-28T02:30", "03-28T02:40+01 03-29T03:00+02! 03-30T02:00+02"),
    ("0 */2 * * *", BERLIN, "2026-03-29T00:00", "03-29T03:00+02! 03-29T04:00+02 03-29T06:00+02"),
    ("0 2,3 * * *", BERLIN, "2026-03-29T00:00", "03-29T03:00+02! 03-30T02:00+02 03-30T03:00+02"),
    # A job of every hour follows elapsed time, without pause or crowd.
    ("*/30 * * * *", BERLIN, "2026-03-29T01:00", "03-29T01:30+01 03-29T03:00+02 03-29T03:30+02"),
    ("*/30 * * * *", BERLIN, "2026-10-25T02:00+02:00", "10-25T02:30+02 10-25T02:00+01 10-25T02:30+01 10-25T03:00+01"),
    # Sao Paulo skipped midnight on 2018-11-04, and came back at midnight on 2018-02-18.
    ("R3/2018-11-03T00:00:00/P1D", SAO_PAULO, None, "11-03T00:00-03 11-04T01:00-02! 11-05T00:00-02"),
    ("0 0 * * *", SAO_PAULO, "2018-11-03T12:00", "11-04T01:00-02! 11-05T00:00-02"),
    ("@daily", SAO_PAULO, "2018-02-17T12:00", "02-18T00:00-03 02-19T00:00-03"),
    ("30 23 * * *", SAO_PAULO, "2018-02-17T12:00", "02-17T23:30-02? 02-18T23:30-03"),
    ("30 * 17 2 *", SAO_PAULO, "2018-02-17T23:00-02:00", "02-17T23:30-02 02-17T23:30-03 2019-02-17T00:30-03"),
    # Lord Howe moves by half an hour: 02:00 to 02:30 on 2026-10-04, 02:00 back to 01:30 on 2026-04-05.
    ("R3/2026-10-03T02:15:00/P1D", LORD_HOWE, None, "10-03T02:15+1030 10-04T02:30+11! 10-05T02:15+11"),
    ("R3/2026-04-04T01:45:00/P1D", LORD_HOWE, None, "04-04T01:45+11 04-05T01:45+11? 04-06T01:45+1030"),
    ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00", "10-04T02:30+11! 10-05T02:15+11"),
    # Kathmandu is 5 h 45 min east of UTC all year.
    ("R2/2026-01-31T00:00:00/P1M", "Asia/Kathmandu", None, "01-31T00:00+0545 02-28T00:00+0545"),
    ("15 6 * * *", "Asia/Kathmandu", "2026-01-01", "01-01T06:15+0545 01-02T06:15+0545"),
    # Samoa had no 30 December 2011: what was due that day and what is due at the next midnight are one moment.
    ("R3/2011-12-29T00:00:00/P1D", "Pacific/Apia", None, "12-29T00:00-10 12-31T00:00+14!"),
    ("R3/2011-12-29T09:00:00/P1D", "Pacific/Apia", None, "12-29T09:00-10 12-31T00:00+14! 12-31T09:00+14"),
    # The calendar ends with the year 9999.
    ("R/9999-11-30T00:00:00Z/P1M", None, None, "9999-11-30T00:00+00 9999-12-30T00:00+00"),
    ("R/9999-12-31T23:59:59Z/PT1S", None, None, "9999-12-31T23:59:59+00"),
    ("R/9999-12-31T00:00:00/PT12H", "Asia/Kathmandu", None, "9999-12-31T00:00+0545 9999-12-31T12:00+0545"),
    ("R/2026-01-01T00:00:00Z/P999999999Y", None, None, "2026-01-01T00:00+00"),
    ("R/2026-01-01T00:00:00Z/P99999999999999999999D", None, None, "2026-01-01T00:00+00"),
    ("0 0 31 12 *", None, "9998-01-01", "9998-12-31T00:00+00 9999-12-31T00:00+00"),
    # Every form of the manual's table.
    ("R1/2026-05-01T00:00:00Z/P1D", None, None, "05-01T00:00+00"),
    ("R1/2026-05-01T00:00:00Z/PT0S", None, None, "05-01T00:00+00"),
    ("R0/2026-05-01T00:00:00Z/P1D", None, None, ""),
    ("R3/2026-05-01T00:00:00Z/2026-05-01T06:00:00Z", None, None, "05-01T00:00+00 05-01T06:00+00 05-01T12:00+00"),
    ("R/PT6H/2026-05-01T12:00:00Z", None, "2026-05-01T00:00", "05-01T06:00+00 05-01T12:00+00"),
    ("R2/20260501T000000,5+0130/PT0,5H", None, None, "04-30T22:30:00.5+00 04-30T23:00:00.5+00"),
    ("R2/2026-W18-5T00:00Z/P1W", None, None, "05-01T00:00+00 05-08T00:00+00"),
    ("R2/2026-121T00:00Z/P1W", None, None, "05-01T00:00+00 05-08T00:00+00"),
    ("R2/2015-12-28T14:31:07.446Z/PT1.5S", None, None, "2015-12-28T14:31:07.446+00 2015-12-28T14:31:08.946+00"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "zone", "after", "expected"), CASES)
def test_the_sequence_is_the_one_worked_out_by_hand(text, zone, after, expected):
    """Each due time, on the wall clock with its offset, and the mark of what daylight saving did to it."""
    schedule = parse_schedule(text, zone)
    start = LONG_AGO if after is None else moment(after, zone)
    words = expected.split()
    # Those with an end are listed whole, the others as far as the case goes.
    ends = "999" in text or (text.startswith("R") and not text.startswith("R/"))
    found = preview(schedule, start, len(words) + 1 if ends else len(words))
    assert [shown(o.local, o.note, word) for o, word in zip(found, words, strict=True)] == words


def moment(text: str, zone: str | None) -> datetime:
    """A moment from its text; without an offset, in the zone."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=ZoneInfo(zone or "UTC"))


def shown(local: datetime, note: str | None, like: str) -> str:
    """A moment in the notation of the table, as long as the word it is compared with."""
    text = local.replace(tzinfo=None).isoformat()
    text = text if local.microsecond or (local.second and like.count(":") > 1) else text[:-3]
    text = text.rstrip("0") if local.microsecond else text
    offset = f"{local:%z}"
    offset = offset.removesuffix("00") if offset.endswith("00") else offset
    return text[0 if like[4] == "-" else 5 :] + offset + {"gap": "!", "fold": "?", None: ""}[note]


def test_a_start_with_its_offset_in_a_doubled_hour_is_not_marked():
    """It names the one pass in which it runs; without the offset, the first pass runs and is marked."""
    after = datetime(2026, 10, 24, 12, tzinfo=UTC)
    (named,) = preview(parse_schedule("R1/2026-10-25T02:30:00+01:00/P1D", BERLIN), after, 1)
    (plain,) = preview(parse_schedule("R1/2026-10-25T02:30:00/P1D", BERLIN), after, 1)
    assert (named.at.hour, named.note) == (1, None)
    assert (plain.at.hour, plain.note) == (0, "fold")


@pytest.mark.parametrize("year", [2087, 2450, 2487, 2850])
def test_what_is_counted_is_what_is_listed_in_a_zone_written_out_far_ahead(year):
    """Casablanca's pauses for Ramadan are known until 2087 and do not come again 400 years later."""
    schedule = parse_schedule("*/30 2 * * *", "Africa/Casablanca")
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    assert schedule.count_between(start, end) == len(list(schedule.occurrences(start, end)))


def test_a_step_from_long_ago_is_reckoned_without_walking():
    """A step a second since 1970, ten to the twelfth of them, and months since 1970."""
    now = datetime(2026, 7, 31, 12, 0, 0, 500_000, tzinfo=UTC)
    for text in ("R/1970-01-01T00:00:00Z/PT1S", "R1000000000000/1970-01-01T00:00:00Z/PT1S"):
        schedule = parse_schedule(text)
        assert schedule.next_after(now) == datetime(2026, 7, 31, 12, 0, 1, tzinfo=UTC)
        assert schedule.last_before(now) == datetime(2026, 7, 31, 12, tzinfo=UTC)
        assert schedule.count_between(LONG_AGO, now) == int(now.timestamp()) + 1
    monthly = parse_schedule("R/1970-01-31T00:00:00Z/P1M")
    assert list(islice(monthly.occurrences(now), 2)) == [
        datetime(2026, 8, 31, tzinfo=UTC),
        datetime(2026, 9, 30, tzinfo=UTC),
    ]


def test_next_is_strictly_after_and_last_strictly_before_to_the_microsecond():
    """An exact occurrence is neither its own next nor its own last."""
    schedule = parse_schedule("R3/2026-01-01T00:00:00.446Z/PT1H")
    first = datetime(2026, 1, 1, 0, 0, 0, 446_000, tzinfo=UTC)
    assert schedule.next_after(first) == first.replace(hour=1)
    assert schedule.next_after(first.replace(microsecond=445_999)) == first
    assert schedule.last_before(first) is None
    assert schedule.last_before(first.replace(microsecond=446_001)) == first
    assert schedule.count_between(first, first.replace(hour=1)) == 1
    assert schedule.count_between(first.replace(hour=1), first) == 0


@pytest.mark.parametrize(
    "zone", [None, "UTC", BERLIN, "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"]
)
@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "59 23 31 12 *",
        "0 0 1 1 *",
        "30 */5 * * *",
        "R/0001-01-03T00:00:00/PT1S",
        "R/0001-01-03T00:00:00/P1M",
        "R/PT1S/9999-12-29T00:00:00",
        "R/P1M/9999-12-29T00:00:00",
        "R/P1DT1H/9999-12-29T00:00:00",
        "R/P9999Y/9999-12-29T00:00:00",
        "R/0001-01-03T00:00:00/P9999Y",
    ],
)
def test_nothing_overflows_at_either_end_of_the_calendar(text, zone):
    """Whatever is asked at the first and the last microsecond has an answer."""
    schedule = parse_schedule(text, zone)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for moment_ in (first, last):
        for answer in (schedule.next_after(moment_), schedule.last_before(moment_)):
            assert answer is None or answer.utcoffset() is not None
        assert list(islice(schedule.occurrences(moment_), 2)) is not None
    assert schedule.next_after(last) is None
    assert schedule.last_before(first) is None
    for occurrence in preview(schedule, first, 2) + preview(schedule, schedule.last_before(last), 2):
        assert occurrence.local == occurrence.at
    assert schedule.count_between(first, last) >= 1
