"""What commands print: JSON as the API answers it, and plain tables for people.

Tables fit the terminal that they are printed to; elsewhere nothing is shortened. Moments are shown on this machine's
clock. What would steer a terminal is written out.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.references import local

if TYPE_CHECKING:
    from api.client import Client

#: Columns that are of no use unless they are whole.
_WHOLE: Final = frozenset(
    {"id", "run", "delivery", "status", "state", "outcome", "took", "made", "started", "due", "at"}
    | {"next run", "last run", "next try", "created_at", "updated_at", "expires_at", "last_used_at"}
)
#: No column is made narrower than this.
_NARROWEST: Final = 8
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


def show(found: object) -> None:
    """Print as JSON."""
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


def show_each(found: Sequence[Mapping[str, Any]], name: str = "id") -> None:
    """Print one value of each, a line each, for other commands to take."""
    click.echo("".join(f"{one[name]}\n" for one in found), nl=False)


def show_fields(found: Mapping[str, Any], *, first: Sequence[str] = ()) -> None:
    """Print the fields of one thing, a line each, those that are looked for most before all others."""
    width = max(map(len, found), default=0)
    for name in dict.fromkeys((*first, *found)):
        click.echo(f"{name.ljust(width)}  {readable(found[name])}")


def all_pages(client: Client, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A list with the results of all its pages."""
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
    """Rows under their columns' names.

    Args:
        columns: their names, in order.
        rows: with a value for each of them.
        spare: columns that are left out where the place is narrow, that which is missed least first.
        width: of the place where it is to fit; that of the terminal on standard output, if it is one.
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
    """A value of the API for people, on one line."""
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
    return "".join(one if one.isprintable() else "�" for one in text)


def width_of(text: str) -> int:
    """Columns of a terminal that a text takes: East Asian wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_width_of_one(one) for one in text)


def _width_of_one(one: str) -> int:
    if unicodedata.category(one) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(one) in {"W", "F"} else 1


def _padded(text: str, width: int) -> str:
    """A text that takes exactly so many columns; one that is too long ends in '…'."""
    if width_of(text) > width:
        kept, taken = "", 1
        for one in text:
            taken += _width_of_one(one)
            if taken > width:
                break
            kept += one
        text = kept + "…"
    return text + " " * (width - width_of(text))


def _fitting(columns: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit where they can: the widest columns give way first, those that have to be whole never."""
    found = list(widths)
    least = [
        size if name in _WHOLE else min(size, max(_NARROWEST, width_of(name)))
        for name, size in zip(columns, widths, strict=True)
    ]
    while sum(found) + 2 * (len(found) - 1) > room:
        place = max(range(len(found)), key=lambda one: (found[one] > least[one], found[one]), default=0)
        if found[place] <= least[place]:
            break
        found[place] -= 1
    return found
