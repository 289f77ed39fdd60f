"""What people are shown: the description, the API's shape, the command."""

# ruff: noqa: E501  the table of sentences reads best with one case a line
from __future__ import annotations

import calendar
import json
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from api.cli.preview import preview as command
from api.schemas.schedules import PreviewAnswer
from scheduler.domain.errors import ScheduleError
from scheduler.timing.preview import describe, parse_moment, preview
from scheduler.timing.schedule import parse_schedule
from tests.lab.work import calls_of

SENTENCES = [
    ("R5/2026-01-31T00:00:00Z/P1M", None, "Runs 5 times, every month, the first time at 2026-01-31 00:00 UTC; in months without a day 31, on the last day.", "每月运行一次，共 5 次，从 2026-01-31 00:00（UTC）开始；没有 31 日的月份在最后一天运行。"),
    ("R/2026-01-01T09:00:00/P1D", "Asia/Shanghai", "Runs every day, starting at 2026-01-01 09:00 Asia/Shanghai.", "每天运行一次，从 2026-01-01 09:00（Asia/Shanghai）开始。"),
    ("R1/2026-01-01T09:00:30Z/P1D", None, "Runs once, at 2026-01-01 09:00:30 UTC.", "只在 2026-01-01 09:00:30（UTC）运行一次。"),
    ("R0/2026-01-01T09:00:30Z/P1D", None, "Never runs.", "从不运行。"),
    ("R3//PT90M", None, "Runs 3 times, every 90 minutes, the first time when the schedule is switched on.", "每 90 分钟运行一次，共 3 次，从启用时开始。"),
    ("R//PT1H", None, "Runs every hour, starting when the schedule is switched on.", "每小时运行一次，从启用时开始。"),
    ("R1//PT0S", None, "Runs once, when the schedule is switched on.", "只在启用时运行一次。"),
    ("R/P1W/2026-03-01T00:00:00Z", None, "Runs every week until 2026-03-01 00:00 UTC.", "每周运行一次，直到 2026-03-01 00:00（UTC）。"),
    ("R3/P1Y2M3DT4H/2026-03-01T00:00:00Z", None, "Runs 3 times, every 1 year, 2 months, 3 days and 4 hours, the last time at 2026-03-01 00:00 UTC.", "每 1 年 2 个月 3 天 4 小时运行一次，共 3 次，最后一次在 2026-03-01 00:00（UTC）。"),
    ("R/2026-01-01T00:00Z/2026-01-02T01:30:00.5Z", None, "Runs every 25 hours, 30 minutes and 0.5 seconds, starting at 2026-01-01 00:00 UTC.", "每 25 小时 30 分钟 0.5 秒运行一次，从 2026-01-01 00:00（UTC）开始。"),
    ("* * * * *", None, "Runs every minute (UTC).", "每分钟运行一次（UTC）。"),
    ("*/5 * * * *", None, "Runs every 5 minutes (UTC).", "每 5 分钟运行一次（UTC）。"),
    ("*/7 * * * *", None, "Runs every hour at minutes 0, 7, 14, …, 56 (UTC).", "每小时的第 0、7、14、…、56 分钟运行（UTC）。"),
    ("@hourly", None, "Runs every hour on the hour (UTC).", "每小时整点运行一次（UTC）。"),
    ("0 9 * * MON-FRI", "Europe/Berlin", "Runs at 09:00 on Monday to Friday (Europe/Berlin).", "每周一至周五 09:00 运行（Europe/Berlin）。"),
    ("@daily", None, "Runs at 00:00 every day (UTC).", "每天 00:00 运行（UTC）。"),
    ("@weekly", None, "Runs at 00:00 on Sunday (UTC).", "每周日 00:00 运行（UTC）。"),
    ("@yearly", None, "Runs at 00:00 on day 1 of the month in January (UTC).", "每年 1 月 1 日 00:00 运行（UTC）。"),
    ("30 9,12 1,15 * *", None, "Runs at 09:30 and 12:30 on days 1 and 15 of the month (UTC).", "每月 1 日、15 日 09:30、12:30 运行（UTC）。"),
    ("0 0 13 * FRI", None, "Runs at 00:00 on day 13 of the month and on every Friday (UTC).", "每月 13 日以及每周五 00:00 运行（UTC）。"),
    ("0 0 1-7,*/30 * FRI", None, "Runs at 00:00 on days 1 to 7 and 31 of the month and on every Friday (UTC).", "每月 1 日至 7 日、31 日以及每周五 00:00 运行（UTC）。"),
    ("*/10 9-17 * 6-8 1-5", None, "Runs every 10 minutes of the hours 9 to 17 on Monday to Friday in June to August (UTC).", "每年 6 月至 8 月的每周一至周五，9 至 17 点内每 10 分钟运行一次（UTC）。"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "zone", "english", "chinese"), SENTENCES)
def test_a_description_is_one_plain_sentence(text, zone, english, chinese):
    """In English and in Chinese."""
    schedule = parse_schedule(text, zone)
    assert describe(schedule) == english
    assert describe(schedule, "zh") == chinese


def test_the_answer_has_exactly_the_shape_of_the_contract():
    """Times with microseconds and an offset; the local one on the zone's wall clock; the note null, gap or fold."""
    schedule = parse_schedule("R3/2026-03-28T02:30:00/P1D", "Europe/Berlin")
    answer = json.loads(PreviewAnswer.of(schedule, datetime(2026, 1, 1, tzinfo=UTC), 2).model_dump_json())
    assert answer == {
        "occurrences": [
            {
                "at": "2026-03-28T01:30:00.000000+00:00",
                "local": "2026-03-28T02:30:00.000000+01:00",
                "note": None,
            },
            {
                "at": "2026-03-29T01:00:00.000000+00:00",
                "local": "2026-03-29T03:00:00.000000+02:00",
                "note": "gap",
            },
        ],
        "description": "Runs 3 times, every day, the first time at 2026-03-28 02:30 Europe/Berlin.",
    }


def test_a_moment_without_an_offset_is_in_the_zone():
    """Those of ``--after`` and ``after=``."""
    assert parse_moment("2026-07-01T00:00", "Europe/Berlin") == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert parse_moment("2026-07-01T00:00:00.5Z", "Europe/Berlin").microsecond == 500_000
    with pytest.raises(ScheduleError):
        parse_moment("yesterday")


def test_a_thousand_rare_occurrences_are_found_without_walking_through_the_days_between():
    """Leap days on a Saturday or a Sunday are eight years apart and more; the search leaps from one to the next."""
    schedule = parse_schedule("0 0 29 2 */6", "Europe/Berlin")
    after = datetime(2026, 1, 1, tzinfo=UTC)
    found = preview(schedule, after, 1000)
    assert calls_of(lambda: preview(schedule, after, 1000)) < 300_000
    assert all((one.local.month, one.local.day) == (2, 29) for one in found)
    assert {one.local.isoweekday() for one in found} == {6, 7}
    leap_days = [date(year, 2, 29) for year in range(2026, 10_000) if calendar.isleap(year)]
    assert [one.local.date() for one in found] == [d for d in leap_days if d.isoweekday() in {6, 7}][:1000]
    assert schedule.last_before(found[1].at) == found[0].at


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_schedule_without_a_start_is_previewed_as_if_it_were_switched_on_then(zone):
    """The moment itself is the first occurrence, rounded up to the millisecond as the start will be."""
    after = datetime(2026, 5, 1, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert [one.at for one in preview(parse_schedule("R3//PT1H", zone), after, 5)] == [
        *(after, after + hour, after + 2 * hour)
    ]
    odd = after + timedelta(microseconds=1)
    (first,) = preview(parse_schedule("R//PT1H", zone), odd, 1)
    assert first.at == after + timedelta(milliseconds=1)
    assert preview(parse_schedule("R0//PT1H", zone), after, 5) == []


@pytest.mark.parametrize("zone", [None, "Asia/Kathmandu", "America/New_York"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_a_schedule_without_a_start_is_previewed_at_the_ends_of_the_calendar(text, zone):
    """As many occurrences as are left, and no error."""
    schedule = parse_schedule("R//PT1H", zone)
    assert len(preview(schedule, parse_moment(text, zone), 3)) <= 3
    assert len(preview(schedule, datetime.fromisoformat(text), 3)) <= 3


def run(*arguments: str):
    """The command, as from a shell."""
    return CliRunner().invoke(command, list(arguments))


def test_the_command_prints_the_answer_as_json():
    """The example of the manual."""
    result = run("R5/2026-01-31T00:00:00Z/P1M", "--count", "5", "--after", "2026-01-01T00:00:00Z", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert [o["at"][:10] for o in answer["occurrences"]] == [
        *("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31")
    ]
    assert answer["description"].startswith("Runs 5 times")


def test_the_command_prints_a_table_that_explains_daylight_saving():
    """One line an occurrence, aligned."""
    result = run("30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2026-03-28T12:00", "--count", "2")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Runs at 02:30 every day (Europe/Berlin).",
        "",
        "   UTC                      Europe/Berlin",
        "1  Sun 2026-03-29 01:00:00  Sun 2026-03-29 03:00:00+0200  moved: this time does not exist (daylight saving)",
        "2  Mon 2026-03-30 00:30:00  Mon 2026-03-30 02:30:00+0200",
    ]


def test_the_command_explains_daylight_saving_in_chinese():
    """In the table; the values of the API stay as they are."""
    words = ("30 2 * * *", "--timezone", "Europe/Berlin", "--language", "zh", "--count", "1")
    gap = run(*words, "--after", "2026-03-28T12:00")
    assert gap.stdout.splitlines() == [
        "每天 02:30 运行（Europe/Berlin）。",
        "",
        "   UTC                       Europe/Berlin",
        "1  周日 2026-03-29 01:00:00  周日 2026-03-29 03:00:00+0200  已顺延：因夏令时，当天没有这个时间",
    ]
    fold = run(*words, "--after", "2026-10-24T12:00")
    assert fold.stdout.splitlines()[-1].endswith("  因夏令时，这个时间出现两次，只在第一次运行")
    assert '"note": "fold"' in run(*words, "--after", "2026-10-24T12:00", "--json").stdout
    assert run("R1/2020-01-01T00:00:00Z/P1D", "--language", "zh").stdout.endswith("此后没有到期时间。\n")


def test_the_command_shows_a_schedule_without_a_start_from_the_moment_given():
    """The sentence keeps saying that it begins when it is switched on."""
    result = run("R2//PT1H", "--after", "2026-05-01T12:00:00Z")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Runs 2 times, every hour, the first time when the schedule is switched on.",
        "",
        "   UTC",
        "1  Fri 2026-05-01 12:00:00",
        "2  Fri 2026-05-01 13:00:00",
    ]


def test_the_command_says_when_nothing_is_left():
    """A finished schedule is no error."""
    result = run("R1/2020-01-01T00:00:00Z/P1D")
    assert result.exit_code == 0
    assert "Nothing is due after that time." in result.stdout


def test_the_command_points_at_what_is_wrong_and_ends_with_status_two():
    """On the standard error stream, with the remedy."""
    result = run("R/2026-01-01T00:00:00Z/P1H")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "  R/2026-01-01T00:00:00Z/P1H",
        "                           ^",
        "Error: hours must be after the T.",
        "Hint: write PT1H",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("@daily", "--count", "0"),
        ("@daily", "--count", "1001"),
        ("@daily", "--timezone", "Europe/Berln"),
        ("@daily", "--after", "noon"),
        ("R/" + "1" * 5000,),
        ("柏林\0",),
        ("",),
        (),
    ],
)
def test_wrong_usage_of_the_command_ends_with_status_two(arguments):
    """Whatever is wrong, the standard output stays empty."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
