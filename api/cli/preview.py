"""`timeball preview`: what a schedule will do, told without a daemon."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NoReturn

import click

from api.cli.tables import width_of

if TYPE_CHECKING:
    from api.schemas.schedules import PreviewAnswer
    from scheduler.domain.errors import ScheduleError
    from scheduler.timing.preview import Language

#: As `scheduler.timing.preview` has it, which is loaded only when the command runs.
MOST_OCCURRENCES: Final = 1000
_WRONG_USAGE = 2
_SHOWN_WIDTH = 100
_NOTES = {
    "gap": "moved: daylight saving skips this time",
    "fold": "this time comes twice; the first one runs",
}


@click.command(name="preview")
@click.argument("text", metavar="SCHEDULE")
@click.option(
    "--count",
    type=click.IntRange(1, MOST_OCCURRENCES),
    default=5,
    show_default=True,
    help="How many occurrences to list.",
)
@click.option(
    "--timezone", metavar="ZONE", help="IANA zone of the schedule, such as Europe/Berlin; else UTC."
)
@click.option("--after", metavar="MOMENT", help="List what comes after this ISO 8601 moment; else after now.")
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    envvar="TIMEBALL_LANGUAGE",
    help="Language of the description.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what the API would answer.")
def preview(
    text: str, count: int, timezone: str | None, after: str | None, language: Language, *, as_json: bool
) -> None:
    """Show when SCHEDULE runs, and what daylight saving does to it.

    SCHEDULE is an ISO 8601 repeating interval, such as 'R5/2026-01-31T09:00:00/P1M', or a crontab expression,
    such as '0 9 * * MON-FRI'. One without a start, such as 'R5//PT1H', is shown as if it were switched on now,
    or at the moment of --after. Works without a daemon.
    """
    # Loaded when the command runs.
    from api.schemas.schedules import PreviewAnswer  # noqa: PLC0415
    from scheduler.domain.errors import ScheduleError  # noqa: PLC0415
    from scheduler.timing.preview import parse_moment  # noqa: PLC0415
    from scheduler.timing.schedule import parse_schedule  # noqa: PLC0415

    try:
        schedule = parse_schedule(text, timezone)
        moment = datetime.now(UTC) if after is None else parse_moment(after, timezone)
    except ScheduleError as error:
        _refuse(error)
    answer = PreviewAnswer.of(schedule, moment, count, language)
    click.echo(answer.model_dump_json(indent=2) if as_json else _table(answer, timezone or "UTC"))


def _table(answer: PreviewAnswer, zone: str) -> str:
    lines = [answer.description]
    rows = [
        [str(n), _readable(o.at), _readable(o.local) + o.local.strftime("%z"), _NOTES.get(o.note or "", "")]
        for n, o in enumerate(answer.occurrences, 1)
    ]
    if not rows:
        return f"{answer.description}\n\nNothing is due after that moment."
    rows.insert(0, ["", "UTC", zone, ""])
    if zone == "UTC":
        rows = [row[:2] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append("")
    for number, *cells in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([number.rjust(widths[0]), *padded]).rstrip())
    return "\n".join(lines)


def _readable(moment: datetime) -> str:
    """Weekday, date and time, with microseconds only if there are some."""
    return f"{moment:%a} {moment.replace(tzinfo=None).isoformat(' ')}"


def _refuse(error: ScheduleError) -> NoReturn:
    """Shows the text, a caret under what is wrong, and the remedy; ends the command as wrong usage."""
    start = max(0, error.position - _SHOWN_WIDTH // 2)
    shown = [c if c.isprintable() else "�" for c in error.text[start : start + _SHOWN_WIDTH]]
    before = width_of("".join(shown[: error.position - start]))
    pointer = f"  {''.join(shown)}\n  {' ' * before}^"
    click.echo(f"{pointer}\nError: {error.message}.\nRemedy: {error.remedy}", err=True)
    raise click.exceptions.Exit(_WRONG_USAGE)
