"""Describes a schedule in one plain sentence, in English or Chinese. Pure."""

from __future__ import annotations

import re
from typing import Literal

from scheduler.timing.cron import CronSchedule
from scheduler.timing.describe_cron import describe_cron_in_chinese, describe_cron_in_english
from scheduler.timing.instants import HOUR, MINUTE, SECOND, naive_of
from scheduler.timing.interval import IntervalSchedule
from scheduler.timing.progression import Progression
from scheduler.timing.schedule import Schedule

Language = Literal["en", "zh"]

_COMPONENT = re.compile(r"([0-9]+(?:[.,][0-9]+)?)([YMWDHS])")
_ENGLISH = {
    "Y": "year",
    "M": "month",
    "W": "week",
    "D": "day",
    "H": "hour",
    "TM": "minute",
    "S": "second",
}
_CHINESE = {"Y": "年", "M": "个月", "W": "周", "D": "天", "H": "小时", "TM": "分钟", "S": "秒"}
_CHINESE_EVERY = {
    "Y": "每年",
    "M": "每月",
    "W": "每周",
    "D": "每天",
    "H": "每小时",
    "TM": "每分钟",
    "S": "每秒",
}


def describe(schedule: Schedule, language: Language = "en") -> str:
    """One sentence that says when ``schedule`` runs."""
    if isinstance(schedule, CronSchedule):
        words = describe_cron_in_chinese if language == "zh" else describe_cron_in_english
        return words(schedule.fields, schedule.timezone or "UTC")
    if isinstance(schedule, IntervalSchedule):
        return _interval_in_chinese(schedule) if language == "zh" else _interval_in_english(schedule)
    return schedule.text


def _interval_in_english(schedule: IntervalSchedule) -> str:
    count, progression = schedule.interval.count, schedule.progression
    if count == 0:
        return "Never runs."
    if progression is None:
        anchor, clamped = "when the schedule is switched on", ""
    else:
        anchor = f"at {_reading(progression)} {schedule.timezone or 'UTC'}"
        clamped = _clamped_in_english(progression)
    if count == 1:
        return f"Runs once, {anchor}."
    every = _every(_components(schedule))
    backward = progression is not None and progression.direction < 0
    if count is None:
        span = f" until {anchor.removeprefix('at ')}" if backward else f", starting {anchor}"
        return f"Runs {every}{span}{clamped}."
    return f"Runs {count} times, {every}, the {'last' if backward else 'first'} time {anchor}{clamped}."


def _interval_in_chinese(schedule: IntervalSchedule) -> str:
    count, progression = schedule.interval.count, schedule.progression
    if count == 0:
        return "从不运行。"
    if progression is None:
        anchor, clamped = "启用时", ""
    else:
        anchor = f" {_reading(progression)}（{schedule.timezone or 'UTC'}）"
        clamped = _clamped_in_chinese(progression)
    if count == 1 and progression is None:
        return "只在启用时运行一次。"
    if count == 1:
        return f"只在{anchor}运行一次。"
    every = _every_in_chinese(_components(schedule))
    times = "" if count is None else f"，共 {count} 次"
    if progression is None or progression.direction > 0:
        return f"{every}运行一次{times}，从{anchor}开始{clamped}。"
    last = f"，直到{anchor}" if count is None else f"{times}，最后一次在{anchor}"
    return f"{every}运行一次{last}{clamped}。"


def _components(schedule: IntervalSchedule) -> list[tuple[str, str]]:
    """The step's numbers and units, largest first; minutes have the unit ``TM``."""
    duration = schedule.interval.duration
    if duration:
        date_part, _, time_part = duration.partition("T")
        matches = [*_COMPONENT.findall(date_part)]
        matches += [(n, "TM" if unit == "M" else unit) for n, unit in _COMPONENT.findall(time_part)]
        plain = [(n.replace(",", ".").lstrip("0") or "0", unit) for n, unit in matches]
        plain = [("0" + n if n.startswith(".") else n, unit) for n, unit in plain]
        return [(n, unit) for n, unit in plain if n.strip("0.")]
    elapsed = 0 if schedule.progression is None else schedule.progression.step.elapsed
    hours, rest = divmod(elapsed, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, microseconds = divmod(rest, SECOND)
    fraction = f".{microseconds:06}".rstrip("0").rstrip(".")
    parts = [(str(hours), "H"), (str(minutes), "TM"), (f"{seconds}{fraction}", "S")]
    return [(n, unit) for n, unit in parts if n != "0"]


def _every(components: list[tuple[str, str]]) -> str:
    if len(components) == 1 and components[0][0] == "1":
        return f"every {_ENGLISH[components[0][1]]}"
    words = [f"{n} {_ENGLISH[unit]}{'' if n == '1' else 's'}" for n, unit in components]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"every {listed}"


def _every_in_chinese(components: list[tuple[str, str]]) -> str:
    if len(components) == 1 and components[0][0] == "1":
        return _CHINESE_EVERY[components[0][1]]
    return "每 " + " ".join(f"{n} {_CHINESE[unit]}" for n, unit in components)


def _reading(progression: Progression) -> str:
    """The anchor as the zone's clock shows it, without seconds if they are zero."""
    anchor = progression.anchor
    reading = naive_of(anchor.wall)
    if anchor.wall % MINUTE == 0:
        return reading.isoformat(" ", "minutes")
    return reading.isoformat(" ", "seconds" if anchor.wall % SECOND == 0 else "microseconds")


def _clamped_day(progression: Progression) -> int | None:
    """The day of the month that shorter months lack, if the step consists only of months and years."""
    day = naive_of(progression.anchor.wall).day
    step = progression.step
    return day if step.months and not step.wall and not step.elapsed and day > 28 else None


def _clamped_in_english(progression: Progression) -> str:
    day = _clamped_day(progression)
    return "" if day is None else f"; in months without a day {day}, on the last day"


def _clamped_in_chinese(progression: Progression) -> str:
    day = _clamped_day(progression)
    return "" if day is None else f"；没有 {day} 日的月份在最后一天运行"
