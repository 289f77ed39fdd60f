"""`timeball preview`: shows when a schedule runs, without a daemon."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn

import click

from api.cli.tables import width_of

if TYPE_CHECKING:
    from api.schemas.schedules import PreviewAnswer
    from scheduler.domain.errors import ScheduleError
    from scheduler.timing.preview import Language

#: The same value as in `scheduler.timing.preview`, which is loaded only when the command runs.
MOST_OCCURRENCES: Final = 1000
_WRONG_USAGE = 2
_SHOWN_WIDTH = 100
#: Notes on due times that fall into a daylight saving change, by language.
_NOTES: Final = {
    "en": {
        "gap": "moved: this time does not exist (daylight saving)",
        "fold": "this time occurs twice (daylight saving); runs the first time",
    },
    "zh": {
        "gap": "已顺延：因夏令时，当天没有这个时间",
        "fold": "因夏令时，这个时间出现两次，只在第一次运行",
    },
}
_WEEKDAYS: Final = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
}
_NOTHING_DUE: Final = {"en": "Nothing is due after that time.", "zh": "此后没有到期时间。"}


@click.command(name="preview")
@click.argument("text", metavar="SCHEDULE")
@click.option(
    "--count",
    type=click.IntRange(1, MOST_OCCURRENCES),
    default=5,
    show_default=True,
    help="The number of due times to list.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="The schedule's IANA time zone, such as Europe/Berlin. Default: UTC.",
)
@click.option(
    "--after", metavar="TIME", help="List due times after this ISO 8601 date and time. Default: now."
)
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    envvar="TIMEBALL_LANGUAGE",
    help="The language of the description and the notes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API would return it.")
def preview(
    text: str, count: int, timezone: str | None, after: str | None, language: Language, *, as_json: bool
) -> None:
    """Show when SCHEDULE runs, and how daylight saving time affects it.

    SCHEDULE is an ISO 8601 repeating interval, such as 'R5/2026-01-31T09:00:00/P1M', or a crontab expression, such
    as '0 9 * * MON-FRI'. A schedule without a start, such as 'R5//PT1H', is shown as if it were switched on now, or
    at the time of --after. No daemon is required.
    """
    from api.schemas.schedules import PreviewAnswer
    from scheduler.domain.errors import ScheduleError
    from scheduler.timing.preview import parse_moment
    from scheduler.timing.schedule import parse_schedule

    try:
        schedule = parse_schedule(text, timezone)
        moment = datetime.now(UTC) if after is None else parse_moment(after, timezone)
    except ScheduleError as error:
        _refuse(error)
    answer = PreviewAnswer.of(schedule, moment, count, language)
    click.echo(answer.model_dump_json(indent=2) if as_json else _table(answer, timezone or "UTC", language))


def _table(answer: PreviewAnswer, zone: str, language: Language) -> str:
    lines = [answer.description]
    notes = _NOTES[language]
    rows = []
    for number, due in enumerate(answer.occurrences, 1):
        at_home = _readable(due.local, language) + due.local.strftime("%z")
        rows.append([str(number), _readable(due.at, language), at_home, notes.get(due.note or "", "")])
    if not rows:
        return f"{answer.description}\n\n{_NOTHING_DUE[language]}"
    rows.insert(0, ["", "UTC", zone, ""])
    if zone == "UTC":
        rows = [row[:2] for row in rows]
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    lines.append("")
    for first, *cells in rows:
        padded = [
            cell + " " * (width - width_of(cell)) for cell, width in zip(cells, widths[1:], strict=True)
        ]
        lines.append("  ".join([first.rjust(widths[0]), *padded]).rstrip())
    return "\n".join(lines)


def _readable(moment: datetime, language: Language) -> str:
    """Weekday, date and time, with microseconds only if they are not zero."""
    return f"{_WEEKDAYS[language][moment.weekday()]} {moment.replace(tzinfo=None).isoformat(' ')}"


def _refuse(error: ScheduleError) -> NoReturn:
    """Print the text, a caret below the error, and the remedy, and exit with a usage error."""
    start = max(0, error.position - _SHOWN_WIDTH // 2)
    shown = [c if c.isprintable() else "�" for c in error.text[start : start + _SHOWN_WIDTH]]
    before = width_of("".join(shown[: error.position - start]))
    pointer = f"  {''.join(shown)}\n  {' ' * before}^"
    click.echo(f"{pointer}\nError: {error.message}.\nHint: {error.remedy}", err=True)
    raise click.exceptions.Exit(_WRONG_USAGE)
