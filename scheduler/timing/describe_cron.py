"""Describes a crontab expression in one plain sentence, in English or Chinese. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from scheduler.timing.cron_fields import CronFields

_MOST_TIMES_LISTED = 6
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_CHINESE_WEEKDAYS = "日一二三四五六"


def describe_cron_in_english(fields: CronFields, zone: str) -> str:
    """One sentence, such as 'Runs at 09:00 on Monday to Friday (Europe/Berlin)'."""
    parts = [_times_in_english(fields)]
    days = _days_in_english(fields)
    if days:
        parts.append(days)
    elif len(fields.hours) < 24:
        parts.append("every day")
    if len(fields.months) < 12:
        parts.append(f"in {_listed(fields.months, lambda m: _MONTHS[m - 1], 'and', ' to ')}")
    return f"Runs {' '.join(parts)} ({zone})."


def _times_in_english(fields: CronFields) -> str:
    minutes, hours = fields.minutes, fields.hours
    if len(hours) == 24:
        step = _even_step(minutes)
        if step is not None:
            return "every minute" if step == 1 else f"every {step} minutes"
        if minutes == {0}:
            return "every hour on the hour"
        what = "minute" if len(minutes) == 1 else "minutes"
        return f"every hour at {what} {_listed(minutes, str, 'and', ' to ')}"
    if len(hours) * len(minutes) <= _MOST_TIMES_LISTED:
        return (
            f"at {_listed_plainly([f'{h:02}:{m:02}' for h in sorted(hours) for m in sorted(minutes)], 'and')}"
        )
    of_hours = f"of the hours {_listed(hours, str, 'and', ' to ')}"
    if len(hours) == 1:
        of_hours = f"of the hour {min(hours)}"
    step = _even_step(minutes)
    if step is not None:
        return f"every minute {of_hours}" if step == 1 else f"every {step} minutes {of_hours}"
    what = "minute" if len(minutes) == 1 else "minutes"
    return f"at {what} {_listed(minutes, str, 'and', ' to ')} {of_hours}"


def _days_in_english(fields: CronFields) -> str:
    all_days, all_weekdays = len(fields.days) == 31, len(fields.weekdays) == 7
    day = "day" if len(fields.days) == 1 else "days"
    days = f"on {day} {_listed(fields.days, str, 'and', ' to ')} of the month"
    weekdays = f"{_listed(_from_monday(fields.weekdays), _weekday_in_english, 'and', ' to ')}"
    if fields.both_days:
        if all_days:
            return "" if all_weekdays else f"on {weekdays}"
        return days if all_weekdays else f"{days} if that is a {_either(weekdays)}"
    # A match of either field suffices, so if one of them matches every day, every day matches.
    return "" if all_days or all_weekdays else f"{days} and on every {weekdays}"


def _either(weekdays: str) -> str:
    return weekdays.replace(" and ", " or ")


def _weekday_in_english(day: int) -> str:
    return _WEEKDAYS[day % 7]


def describe_cron_in_chinese(fields: CronFields, zone: str) -> str:
    """One sentence, such as '每周一至周五 09:00 运行（Europe/Berlin）'."""
    months = ""
    if len(fields.months) < 12:
        months = f"每年 {_listed_in_chinese(fields.months, lambda m: f'{m} 月')}"
    days = _days_in_chinese(fields, each_month="" if months else "每月 ")
    if not days and len(fields.hours) < 24:
        days = "每天"
    of_months = ""
    if months and days[:1].isdigit():
        of_months = " " if len(fields.months) == 1 else "的 "
    elif months and days and days != "每天":
        of_months = "的"
    dates, times = f"{months}{of_months}{days}", _times_in_chinese(fields)
    joint = " " if days == "每天" or ":" in times else "，"
    return f"{dates}{joint if dates else ''}{times}（{zone}）。"


def _times_in_chinese(fields: CronFields) -> str:
    minutes, hours = fields.minutes, fields.hours
    step = _even_step(minutes)
    every = "" if step is None else "每分钟运行一次" if step == 1 else f"每 {step} 分钟运行一次"
    if len(hours) == 24:
        if every:
            return every
        if minutes == {0}:
            return "每小时整点运行一次"
        return f"每小时的第 {_listed_in_chinese(minutes, str)} 分钟运行"
    if len(hours) * len(minutes) <= _MOST_TIMES_LISTED:
        return "、".join(f"{h:02}:{m:02}" for h in sorted(hours) for m in sorted(minutes)) + " 运行"
    of_hours = f"{_listed_in_chinese(hours, str)} 点内"
    return f"{of_hours}{every}" if every else f"{of_hours}的第 {_listed_in_chinese(minutes, str)} 分钟运行"


def _days_in_chinese(fields: CronFields, each_month: str) -> str:
    all_days, all_weekdays = len(fields.days) == 31, len(fields.weekdays) == 7
    days = f"{each_month}{_listed_in_chinese(fields.days, lambda d: f'{d} 日')}"
    weekdays = _listed_in_chinese(_from_monday(fields.weekdays), lambda d: f"周{_CHINESE_WEEKDAYS[d % 7]}")
    if fields.both_days:
        if all_days:
            return "" if all_weekdays else f"每{weekdays}"
        return days if all_weekdays else f"{days}中的{weekdays}"
    return "" if all_days or all_weekdays else f"{days}以及每{weekdays}"


def _even_step(minutes: frozenset[int]) -> int | None:
    """The step n if the minutes are every n-th of an hour, from 0 and without a shorter step at the end."""
    if len(minutes) < 2:
        return None
    step = 60 // len(minutes)
    return step if minutes == frozenset(range(0, 60, step)) and 60 % step == 0 else None


def _from_monday(weekdays: frozenset[int]) -> set[int]:
    """The weekdays with Sunday as 7, so that it is listed last."""
    return {day or 7 for day in weekdays}


def _runs(values: Iterable[int]) -> list[tuple[int, int]]:
    """The values as ascending ranges of neighbours, each as its first and last value."""
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value - 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


def _listed(values: Iterable[int], name: Callable[[int], str], joint: str, to: str) -> str:
    return _listed_plainly(_words(values, name, to), joint)


def _words(values: Iterable[int], name: Callable[[int], str], to: str) -> list[str]:
    """The values by name: neighbours as ranges, long even sequences as their beginning and end."""
    ordered = sorted(values)
    steps = {later - earlier for earlier, later in pairwise(ordered)}
    if len(ordered) > _MOST_TIMES_LISTED and len(steps) == 1 and steps != {1}:
        return [*map(name, ordered[:3]), "…", name(ordered[-1])]
    words: list[str] = []
    for first, last in _runs(ordered):
        if last - first >= 2:
            words.append(f"{name(first)}{to}{name(last)}")
        else:
            words += [name(value) for value in range(first, last + 1)]
    return words


def _listed_plainly(words: list[str], joint: str) -> str:
    if len(words) == 1:
        return words[0]
    joint = "," if words[-2] == "…" else f" {joint}"
    return f"{', '.join(words[:-1])}{joint} {words[-1]}"


def _listed_in_chinese(values: Iterable[int], name: Callable[[int], str]) -> str:
    word = name(1)  # a space separates digits from Chinese characters
    to = " 至 " if word.isdigit() else "至 " if word[0].isdigit() else "至"
    return "、".join(_words(values, name, to))
