"""What is refused, where, and with which remedy; and that no text at all breaks the parser."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

import pytest

from scheduler.domain.errors import ScheduleError
from scheduler.timing.describe import describe
from scheduler.timing.schedule import TimezoneError, check_timezone, parse_schedule
from scheduler.timing.zones import wall_clock
from tests.lab.work import calls_of, processor_seconds

S = "2026-01-01T00:00:00Z"

# Text, the characters from which it goes wrong ('' for its end), a part of the message, a part of the remedy.
REFUSALS = [
    # The number of runs.
    (f"R-1/{S}/PT1H", "-1/", "negative", "R/…"),
    (f"R+3/{S}/PT1H", "+3/", "must not have a sign", "R3/"),
    (f"R٣/{S}/PT1H", "٣/", "digit other than 0-9", "ASCII"),
    (f"R３/{S}/PT1H", "３/", "digit other than 0-9", "ASCII"),
    (f"R1.5/{S}/PT1H", ".5/", "is not allowed in the number", "R5/"),
    (f"R5 /{S}/PT1H", " /", "white space", ""),
    (f"r5/{S}/PT1H", "r5", "lower-case letter", "'R'"),
    (f"5/{S}/PT1H", "5/", "must begin with R", "R5/"),
    # The parts.
    ("", "", "empty", "R5/"),
    ("   ", "   ", "empty", ""),
    ("R5", "", "missing", "R5/"),
    ("R5/", "", "missing", ""),
    ("R5//", "", "missing", "PT1H"),
    ("R5/PT1H", "PT1H", "start is missing", "R5//PT1H"),
    (f"R5/{S}", "", "duration is missing", "/PT1H"),
    (f"R5/{S}/", "", "missing", "PT1H"),
    (f"R5/{S}/PT1H/PT1H", "/PT1H", "nothing may follow", f"R5/{S}/PT1H"),
    (f"R5//{S}", S, "a duration must follow", "R5//PT1H"),
    ("R5/PT1H/PT2H", "PT2H", "two durations", "R5//PT2H"),
    (f"R5/{S}/PT1H ", " ", "white space", "remove it"),
    (f" R5/{S}/PT1H", " R5", "white space", "remove it"),
    (f"R5/{S}/PT1H\n", "\n", "", ""),
    (f"R5/{S}/PT1H\0", "\0", "", "ASCII"),
    (f"R5/{S}/PT1HX", "X", "number is expected", "number before its unit"),
    ("PT1H", "PT1H", "does not repeat", "R//PT1H"),
    # Durations.
    (f"R/{S}/P1H", "H", "hours must be after the T", "PT1H"),
    ("P1H", "H", "hours must be after the T", "PT1H"),
    (f"R/{S}/P30S", "S", "seconds must be after the T", "PT30S"),
    (f"R/{S}/PT1D", "D", "days must be before the T", "P1D"),
    (f"R/{S}/P", "", "empty", "P1D"),
    (f"R/{S}/PT", "", "nothing follows the T", "PT1H"),
    (f"R/{S}/P1DT", "", "nothing follows the T", "remove the T"),
    (f"R/{S}/P1", "", "unit of 1 is missing", "Y, M, W or D"),
    (f"R/{S}/PD", "D", "number is expected", "before its unit"),
    (f"R/{S}/-P1D", "-P1D", "must not have a sign", "P1D"),
    (f"R/{S}/+P1D", "+P1D", "must not have a sign", "P1D"),
    (f"R/{S}/P-1D", "-1D", "must not have a sign", "'-'"),
    (f"R/{S}/P1D1D", "D", "is repeated or out of order", "Y, M, W, D"),
    (f"R/{S}/P1D1M", "M", "is repeated or out of order", "minutes come after the T"),
    (f"R/{S}/PT1M1H", "H", "is repeated or out of order", "H, M, S"),
    (f"R/{S}/PT1HT1M", "T1M", "second T", "once"),
    (f"R/{S}/P1X", "X", "is not a valid unit", "Y, M, W, D"),
    (f"R/{S}/P0.5M", ".5M", "months cannot be fractional", "P15D"),
    (f"R/{S}/P1,5Y", ",5Y", "years cannot be fractional", "P6M"),
    (f"R/{S}/PT0.5H30M", "30M", "only the last number may be a fraction", "smaller units"),
    (f"R/{S}/P1.DT1H", ".DT1H", "no digits follow", "remove the '.'"),
    (f"R/{S}/PT.5H", ".5H", "number is expected", ""),
    (f"R/{S}/PT0.3333333333H", "PT0.3", "whole number of microseconds", "PT20M"),
    (f"R/{S}/P0D", "P0D", "zero", "R1"),
    (f"R/{S}/PT0S", "PT0S", "zero", "R1"),
    (f"R2/{S}/PT0.0S", "PT0.0S", "zero", "R1"),
    (f"R/{S}/PT0.999999S", "PT0.9", "shorter than one second", "PT1S"),
    (f"R/{S}/P0.00001D", "P0.0", "shorter than one second", "PT1S"),
    (f"R/{S}/P0001-00-01T00:00:00", "-00-01", "not supported", "P1Y2M3D"),
    (f"R/{S}/PT1h", "h", "lower-case letter", "'H'"),
    (f"R/{S}/p1D", "p1D", "lower-case letter", "'P'"),
    # Moments.
    ("R/2026-13-01T00:00:00Z/P1D", "13-01", "no month 13", "01 to 12"),
    ("R/2026-02-30T00:00:00Z/P1D", "30T", "no day 30", "01 to 28"),
    ("R/2026-02-00T00:00:00Z/P1D", "00T00", "no day 00", "01 to 28"),
    ("R/2025-366T00:00:00Z/P1D", "366", "no day 366", "365"),
    ("R/2026-W54-1T00:00:00Z/P1D", "54-1", "no week 54", "W53"),
    ("R/2026-W10-8T00:00:00Z/P1D", "8T", "no day 8", "Monday"),
    ("R/0000-01-01T00:00:00Z/P1D", "0000", "year 0000", "0001"),
    ("R/+12026-01-01T00:00:00Z/P1D", "+12026", "four digits and no sign", "9999"),
    ("R/2026-01T00:00:00Z/P1D", "T00", "no day", "whole date"),
    ("R/2026-1-1T00:00:00Z/P1D", "2026", "is not a date", "2026-01-31T"),
    ("R/2026-01-01T25:00:00Z/P1D", "25:", "no hour 25", "24:00:00"),
    ("R/2026-01-01T24:00:01Z/P1D", "24:", "hour 24 is only allowed as 24:00:00", "next day"),
    ("R/2026-01-01T24:00:00.5Z/P1D", "24:", "hour 24 is only allowed as 24:00:00", "next day"),
    ("R/2026-01-01T00:60:00Z/P1D", "60:", "no minute 60", "59"),
    ("R/2026-06-30T23:59:60Z/P1D", "60Z", "leap second", "59"),
    ("R/2026-01-01T0:00:00Z/P1D", "0:00", "is not a time of day", "09:00:00"),
    ("R/2026-01-01TZ/P1D", "Z/", "missing", "after the T"),
    ("R/2026-01-01T/P1D", "/P1D", "missing", "after the T"),
    ("R/2026-01-01 00:00:00Z/P1D", " 00", "white space", "write a T"),
    ("R/2026-01-01T000000Z/P1D", "000000Z", "extended form", "2026-01-31T09:00:00Z"),
    ("R/20260101T00:00:00Z/P1D", "00:00", "basic form", "20260131T090000Z"),
    ("R/2026-01-01T00:00:00.1234567Z/P1D", "1234567", "microsecond", "six decimals"),
    ("R/2026-01-01T00:00:00ZZ/P1D", "Z/", "follow the Z", "remove it"),
    ("R/2026-01-01T00:00:00+1/P1D", "+1/", "is not an offset", "+01:00"),
    ("R/2026-01-01T00:00:00+24:00/P1D", "+24", "out of range", "23:59"),
    ("R/2026-01-01T00:00:00+01:60/P1D", "+01:60", "out of range", "23:59"),
    ("R/2026-01-01T00:00:00−01:00/P1D", "−01", "is not an ASCII character", "ASCII"),
    ("R/9999-12-31T24:00:00Z/P1D", "9999", "after the year 9999", "1 and 9999"),
    ("R/9999-12-31T23:59:59-01:00/P1D", "9999", "after the year 9999", "1 and 9999"),
    ("R/0001-01-01T00:00:00+01:00/P1D", "0001", "before the year 1", "1 and 9999"),
    # Ends.
    (f"R/{S}/2025-12-31T00:00:00Z", "2025", "before the start", "earlier"),
    (f"R/{S}/{S}", None, "zero", "R1"),
    (f"R/{S}/2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.5Z", "shorter than one second", "one second later"),
    (f"R/{S}/01-02", "01-02", "abbreviated", "whole moment"),
    (f"R/{S}/00:30", "00:30", "date is missing", "whole moment"),
    # Crontab.
    ("* * * *", "", "4 fields", "minute, hour"),
    ("* * * * * *", None, "6 fields", "R//PT10S"),
    ("*/5 * * * * echo", "echo", "6 fields", "commands"),
    ("60 * * * *", "60", "minute 60 is out of range", "0 to 59"),
    ("0 24 * * *", "24", "hour 24", "0 to 23"),
    ("0 0 0 * *", "0 * *", "day of month 0", "1 to 31"),
    ("0 0 32 * *", "32", "day of month 32", "1 to 31"),
    ("0 0 * 13 *", "13", "month 13", "JAN"),
    ("0 0 * * 8", "8", "day of week 8", "SUN"),
    ("0 0 * * MONDAY", "MONDAY", "not a valid day of week", "MON"),
    ("0 0 * FOO *", "FOO", "not a valid month", "JAN"),
    ("0 0 * * MON-", "", "missing", "0 to 7"),
    ("0 0 * * 5-1", "1", "ends before it starts", "5-7,0-1"),
    ("0 0 * * FRI-MON", "MON", "ends before it starts", "FRI-7,0-MON"),
    ("*/0 * * * *", "0 *", "zero", "at least 1"),
    ("*/ * * * *", " * *", "not a number", "*/5"),
    ("*/-5 * * * *", "-5", "not a number", "*/5"),
    (", * * * *", ", *", "empty entry", ""),
    ("1,,2 * * * *", ",2", "empty entry", ""),
    ("-5 * * * *", "-5", "missing", "0 to 59"),
    ("+5 * * * *", "+5", "not a valid minute", "0 to 59"),
    ("1-5-9 * * * *", "-9", "not a valid minute", ""),
    ("1.5 * * * *", ".5", "not a valid minute", "0 to 59"),
    ("0 0 31 2 *", "31", "never runs", "exists in at least one"),
    ("0 0 30 2 */2", "30", "never runs", ""),
    ("0 0 31 4,6,9,11 *", "31", "never runs", ""),
    ("0 0 L * *", "L", "crontab does not support", "P1M"),
    ("0 0 15W * *", "15W", "crontab does not support", ""),
    ("0 0 * * 5L", "5L", "crontab does not support", ""),
    ("0 0 * * MON#2", "MON#2", "crontab does not support", ""),
    ("0 0 ? * MON", "?", "crontab does not support", "*"),
    ("H * * * *", "H", "crontab does not support", ""),
    ("1~5 * * * *", "1~5", "not supported", ""),
    ("@reboot", "@", "does not name a time", "R1//"),
    ("@every 5m", "@", "crontab does not support", "R//PT5M"),
    ("@Daily", "Daily", "lower case", "@daily"),
    ("@fortnightly", "@", "is unknown", "@weekly"),
    ("@daily ", " ", "white space", ""),
    ("0 0 * * *\n", "\n", "", ""),
    ("0\u00a00 * * *", "\u00a0", "", "ASCII"),
    ("hello", "hello", "", ""),
    ("hello world", "", "2 fields", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wrong", "message", "remedy"), REFUSALS)
def test_a_refusal_says_what_is_wrong_where_and_what_to_write(text, wrong, message, remedy):
    """The position points at the first wrong character; message and remedy are sentences for people."""
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)
    error = caught.value
    assert error.text == text
    assert message in error.message
    assert remedy in error.remedy
    assert 0 <= error.position <= len(text)
    if wrong is not None:
        assert text[error.position :].startswith(wrong), (error.position, text[error.position :])
        assert wrong or error.position == len(text) or not text


def test_the_remedy_for_a_misplaced_hour_is_itself_accepted():
    """'P1H' is answered with 'hours must be after the T' and 'PT1H'."""
    with pytest.raises(ScheduleError, match=r"hours must be after the T .*PT1H"):
        parse_schedule(f"R/{S}/P1H")
    assert parse_schedule(f"R/{S}/PT1H").next_after(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "R5/" + "1" * 10_000,
        "R" + "9" * 5_000 + f"/{S}/P1D",
        "R//PT" + "9" * 5_000 + "S",
        "1," * 3_000 + "1 * * * *",
    ],
)
def test_an_endless_text_is_refused_at_the_limit(text):
    """Before any of its figures is read; Python itself refuses those of more than 4,300 digits."""
    with pytest.raises(ScheduleError, match="longer than 256"):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/berlin", "'Europe/Berlin'"),
        ("Europe/Berln", "'Europe/Berlin'"),
        ("Berlin", "'Europe/Berlin'"),
        ("America/New York", "'America/New_York'"),
        ("Shanghai", "'Asia/Shanghai'"),
        ("", "use a name such as"),
        ("Europe", "such as"),
        ("../x", "such as"),
        ("/etc/localtime", ""),
        ("Europe/Berlin\0", ""),
        ("\ud800", ""),
        ("Europe/../Europe/Berlin", ""),
        ("right/UTC", ""),
        ("posixrules", ""),
        ("tzdata.zi", ""),
        ("zone.tab", ""),
        ("+02:00", ""),
        ("A" * 10_000, "such as"),
        ("柏林", ""),
        (" UTC", "'UTC'"),
    ],
)
def test_an_unknown_zone_is_one_clear_error_with_near_names(name, hint):
    """Whatever zoneinfo makes of the name, TimezoneError is what comes out."""
    with pytest.raises(TimezoneError) as caught:
        check_timezone(name)
    assert hint in caught.value.remedy
    assert len(str(caught.value)) < 300
    with pytest.raises(ScheduleError):
        parse_schedule("@daily", name)


PIECES = [
    *(
        "R",
        "R5",
        "R0",
        "R/",
        "/",
        "//",
        "P",
        "T",
        "Z",
        "PT1S",
        "P1M",
        "P1Y2M3DT4H5M6S",
        "P1W",
        "PT0.5H",
        "P0.5D",
    ),
    *(
        "2026-01-31T09:00:00Z",
        "20260131T090000",
        "2026-W05-1",
        "2026-031",
        "24:00:00",
        "+01:00",
        "-0330",
        ".446",
    ),
    *(
        "*",
        "*/5",
        "1-5",
        "MON-FRI",
        "@daily",
        " ",
        "\t",
        ",",
        "0",
        "59",
        "60",
        "9" * 30,
        "L",
        "#",
        "?",
        "-",
        "+",
    ),
    *(
        "\0",
        "\n",
        "é",
        "٣",
        "３",
        "−",
        "w",
        "p",
        "t",
        "z",
        "0001-01-01T00:00",
        "9999-12-31T23:59:59",
        "999999999",
    ),
]
VALID = [
    *("R5/2026-01-31T00:00:00Z/P1M", "R/2026-03-28T02:30:00/P1D", "R3/P1M/2026-03-31T00:00:00Z", "R//PT90M"),
    *(
        "R/2026-01-01T00:00:00Z/2026-01-02T00:00:00Z",
        "R1/20260101T24Z/PT0S",
        "R2/2026-W05-1T09:30,5+0545/P1DT2H",
    ),
    *(
        "*/5 * * * *",
        "0 9 * * MON-FRI",
        "0 0 29 2 *",
        "30 2,14 1-15/3 JAN,JUL *",
        "@monthly",
        "59 23 31 12 */6",
    ),
]
ZONES = [None, "UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"]


def mutated(text: str, dice: random.Random) -> str:
    """The text with up to a few characters lost, doubled, swapped or strange."""
    letters = list(text)
    for _ in range(dice.randint(0, 2)):
        at = dice.randrange(len(letters) + 1)
        match dice.randrange(5):
            case 0:
                del letters[at : at + dice.randint(1, 3)]
            case 1:
                letters.insert(at, dice.choice(PIECES))
            case 2:
                letters[at : at + 1] = dice.choice("0123456789RPTZYMWDHS/-+:.,* @#éλ")
            case 3:
                letters[at:at] = letters[at : at + dice.randint(1, 12)]
            case _:
                letters.insert(at, chr(dice.randrange(0x110000)))
    return "".join(letters)


def accept_or_refuse(text: str, zone: str | None) -> bool:
    """Reads a text and asks the schedule everything; whether it was accepted."""
    now = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    refusal = None
    try:
        schedule = parse_schedule(text, zone)
    except ScheduleError as error:
        refusal = error
    if refusal is not None:
        assert refusal.message
        assert refusal.remedy
        assert 0 <= refusal.position <= len(refusal.text)
        return False
    following, previous = schedule.next_after(now), schedule.last_before(now)
    assert following is None or following > now
    assert previous is None or previous < now
    assert describe(schedule, "en")
    assert describe(schedule, "zh")
    return True


#: So many functions may be called for one text; ten milliseconds are enough for more.
MOST_CALLS = 20_000


def fuzz(count: int) -> None:
    """Tries ``count`` texts."""
    for zone in ZONES:
        wall_clock(zone)
    dice = random.Random(8601)  # noqa: S311  repeatable on purpose
    accepted = 0
    for number in range(count):
        if number % 3:
            text = mutated(dice.choice(VALID), dice)
        else:
            text = "".join(dice.choices(PIECES, k=dice.randint(1, 12)))
        zone = dice.choice(ZONES)
        with processor_seconds():
            accepted += accept_or_refuse(text, zone)
        parse_schedule.__globals__["_parse"].cache_clear()
        calls = calls_of(lambda text=text, zone=zone: accept_or_refuse(text, zone))
        assert calls < MOST_CALLS, (text, zone, calls)
    assert 0.02 < accepted / count < 0.9


def test_random_and_mutated_texts_are_accepted_or_refused_and_quickly():
    """20,000 of them; TIMEBALL_FUZZ sets another number."""
    fuzz(int(os.environ.get("TIMEBALL_FUZZ", "20000")))


@pytest.mark.slow
def test_two_hundred_thousand_random_and_mutated_texts_are_accepted_or_refused_and_quickly():
    """Accepted, or a ScheduleError; never another exception, never with much work."""
    fuzz(200_000)


@pytest.mark.parametrize(
    "text",
    [
        "0 0 29 2 */7",
        "59 23 29 2 */6",
        "0 0 */31 */12 */7",
        "59 23 31 12 6",
        "0 * 29 2 */7",
        "*/59 */23 */30 */11 */6",
        "R/0001-01-03T00:00:00/P1D",
        "R/0001-01-03T00:00:00/P0.00002D",
        "R/P0.0125D/9999-12-20T00:00:00",
        "R/0001-01-03T00:00:00/P1MT1S",
        "R" + "9" * 200 + "/1970-01-01T00:00:00Z/PT1S",
        f"R/{S}/PT" + "9" * 200 + "S",
        f"R/{S}/PT1." + "0" * 180 + "S",
        f"R/{S}/PT1." + "3" * 180 + "S",
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_the_worst_texts_take_less_work_than_ten_milliseconds_of_it(text, zone):
    """Rare dates, tiny steps far away, endless figures."""
    with processor_seconds():
        accept_or_refuse(text, zone)
    parse_schedule.__globals__["_parse"].cache_clear()
    assert calls_of(lambda: accept_or_refuse(text, zone)) < MOST_CALLS
