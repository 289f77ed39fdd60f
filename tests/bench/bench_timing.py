"""How fast schedules are read and asked, beside the libraries that could have been used instead.

Run it as a script (``python tests/bench/bench_timing.py``): it prints microseconds a call, and the ratio to the
library's time for the same question. A library that walks from the start is asked from near by only.
"""

# ruff: noqa: T201  a script that prints its figures
from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim
from dateutil import rrule

from scheduler.timing import schedule as timing
from scheduler.timing.schedule import parse_schedule

NOW = datetime(2026, 5, 1, 3, 4, 5, tzinfo=UTC)
YEAR_AGO = NOW - timedelta(days=365)
BERLIN = ZoneInfo("Europe/Berlin")

# What a schedule's next run may cost, in microseconds.
LIMIT = 100.0
NEXT_RUNS = [
    ("R/1970-01-01T00:00:00Z/PT1S", None),
    ("R1000000000000/1970-01-01T00:00:00Z/PT1S", None),
    ("R/1970-01-31T00:00:00Z/P1M", None),
    ("R/1970-01-31T00:00:00/P1M", "Europe/Berlin"),
    ("R/1970-01-01T00:00:00/P1D", "Europe/Berlin"),
    ("R/1970-01-01T00:00:00/P1DT2H", "Europe/Berlin"),
    ("R/PT1S/2100-01-01T00:00:00Z", None),
    ("*/5 * * * *", None),
    ("*/5 * * * *", "Europe/Berlin"),
    ("0 9 * * MON-FRI", "Europe/Berlin"),
]


def microseconds(call: Callable[[], object]) -> float:
    """The best of five averages of processor time, each over at least 20 ms."""
    best = float("inf")
    for _ in range(5):
        calls, began = 0, time.process_time()
        while (spent := time.process_time() - began) < 0.02:
            call()
            calls += 1
        best = min(best, spent / calls)
    return best * 1e6


def fresh_parse(text: str, zone: str | None) -> Callable[[], object]:
    """Reads a text anew, without the cache of what was read before."""

    def parse() -> object:
        timing._parse.cache_clear()
        return parse_schedule(text, zone)

    return parse


def bench_next_runs() -> bool:
    """The next run of each schedule; whether all stay within the limit."""
    within = True
    for text, zone in NEXT_RUNS:
        schedule = parse_schedule(text, zone)
        took = microseconds(lambda schedule=schedule: schedule.next_after(NOW))
        read = microseconds(fresh_parse(text, zone))
        mark = "" if took < LIMIT else f"  over {LIMIT:.0f} µs"
        within = within and took < LIMIT
        print(f"{text:45} {zone or 'UTC':14} next {took:7.1f} µs   read {read:7.1f} µs{mark}")
    return within


def bench_against_libraries() -> None:
    """The same question asked of each."""
    hourly = parse_schedule("R/2025-05-01T03:04:05Z/PT1H")
    rule = rrule.rrule(rrule.HOURLY, dtstart=YEAR_AGO)
    daily = parse_schedule("0 9 * * MON-FRI", "Europe/Berlin")
    local = NOW.astimezone(BERLIN)
    trigger = CronTrigger.from_crontab("0 9 * * MON-FRI", timezone=BERLIN)
    rows: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "an hourly interval begun a year ago: dateutil.rrule",
            lambda: hourly.next_after(NOW),
            lambda: rule.after(NOW),
        ),
        (
            "0 9 * * MON-FRI in Berlin: croniter",
            lambda: daily.next_after(NOW),
            lambda: croniter("0 9 * * MON-FRI", local).get_next(datetime),
        ),
        (
            "0 9 * * MON-FRI in Berlin: cronsim alone",
            lambda: daily.next_after(NOW),
            lambda: next(CronSim("0 9 * * MON-FRI", local)),
        ),
        (
            "0 9 * * MON-FRI in Berlin: APScheduler's CronTrigger",
            lambda: daily.next_after(NOW),
            lambda: trigger.get_next_fire_time(None, NOW),
        ),
    ]
    for name, ours, theirs in rows:
        mine, other = microseconds(ours), microseconds(theirs)
        print(f"{name:55} {other:8.1f} µs   here {mine:6.1f} µs   ratio {other / mine:7.1f}")


if __name__ == "__main__":
    within_limit = bench_next_runs()
    print()
    bench_against_libraries()
    raise SystemExit(0 if within_limit else 1)
