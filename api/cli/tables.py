"""Output of commands: JSON as the API returns it, and plain tables for people.

Tables fit the width of the terminal; elsewhere nothing is shortened. Times are shown in this machine's time zone.
Terminal control characters are replaced.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.references import local

if TYPE_CHECKING:
    from api.client import Client

#: Columns that are never shortened.
_WHOLE: Final = frozenset(
    {"id", "run", "delivery", "status", "state", "outcome", "duration", "created", "started", "due", "at"}
    | {"next run", "last run", "next attempt", "created_at", "updated_at", "expires_at", "last_used_at"}
)
#: The smallest width to which a column is shortened.
_NARROWEST: Final = 8
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def limited(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``-n`` of a list, which limits how many things are shown."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(1, 1_000),
        default=20,
        show_default=True,
        help=f"The number of {what} to show.",
    )


def show(found: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


def show_each(found: Sequence[Mapping[str, Any]], name: str = "id") -> None:
    """Print one field of each item, one per line, as input for other commands."""
    click.echo("".join(f"{item[name]}\n" for item in found), nl=False)


def show_fields(found: Mapping[str, Any], *, first: Sequence[str] = ()) -> None:
    """Print the fields of an item, one per line, the most important ones first."""
    width = max(map(len, found), default=0)
    for name in dict.fromkeys((*first, *found)):
        click.echo(f"{name.ljust(width)}  {readable(found[name])}")


def all_pages(client: Client, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A list response with the results of all pages."""
    page, found = 1, client.request("GET", path, query={**query, "page_size": "1000"}).json()
    everything: dict[str, Any] = found
    while found["next"] is not None:
        page += 1
        found = client.request("GET", path, query={**query, "page_size": "1000", "page": str(page)}).json()
        everything["results"] += found["results"]
    return {**everything, "previous": None, "next": None}


def table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    spare: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """A table with a header line.

    Args:
        columns: the names of the columns, in order.
        rows: the rows, with a value for each column.
        spare: columns that may be left out on a narrow terminal, the least important first.
        width: the width to fit; None for the width of the terminal, or no limit if there is none.
    """
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    cells = [list(columns), *([readable(row[name]) for name in columns] for row in rows)]
    widths = [max(width_of(line[place]) for line in cells) for place in range(len(columns))]
    if width is not None:
        fitting = _fitting(columns, widths, width)
        if spare and sum(fitting) + 2 * (len(fitting) - 1) > width:
            kept = [name for name in columns if name != spare[0]]
            return table(kept, rows, spare=spare[1:], width=width)
        widths = fitting
    return "\n".join(
        "  ".join(_padded(cell, size) for cell, size in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def readable(value: object) -> str:
    """A value of the API as a single line for people."""
    if value is None or value == "":
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, str):
        text = local(value) if _MOMENT.fullmatch(value) else value
    elif isinstance(value, list | dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return "".join(character if character.isprintable() else "�" for character in text)


def width_of(text: str) -> int:
    """Terminal columns that a text takes: two for East Asian wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _padded(text: str, width: int) -> str:
    """A text padded to a width; a longer one is cut and ends in '…'."""
    if width_of(text) > width:
        kept, taken = "", 1
        for character in text:
            taken += _character_width(character)
            if taken > width:
                break
            kept += character
        text = kept + "…"
    return text + " " * (width - width_of(text))


def _fitting(columns: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit the room if possible: the widest columns are shortened first, those in `_WHOLE` never."""
    found = list(widths)
    least = [
        size if name in _WHOLE else min(size, max(_NARROWEST, width_of(name)))
        for name, size in zip(columns, widths, strict=True)
    ]
    while sum(found) + 2 * (len(found) - 1) > room:
        place = max(range(len(found)), key=lambda at: (found[at] > least[at], found[at]), default=0)
        if found[place] <= least[place]:
            break
        found[place] -= 1
    return found
