"""What commands print: JSON as the API answers it, and plain tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from api.client import Client


def show(found: object) -> None:
    """Print as JSON."""
    click.echo(json.dumps(found, ensure_ascii=False, indent=2))


def all_pages(client: Client, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A list with the results of all its pages."""
    page, found = 1, client.request("GET", path, query={**query, "page_size": "1000"}).json()
    everything: dict[str, Any] = found
    while found["next"] is not None:
        page += 1
        found = client.request("GET", path, query={**query, "page_size": "1000", "page": str(page)}).json()
        everything["results"] += found["results"]
    return {**everything, "previous": None, "next": None}


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under their columns' names; what would steer a terminal is written out."""
    cells = [list(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    text = "-" if value in (None, "") else "yes" if value is True else "no" if value is False else str(value)
    return "".join(one if one.isprintable() else "�" for one in text)
