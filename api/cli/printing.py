"""Prints lines of logs: each stream in its colour where a terminal looks on, and nothing but the lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from api.cli.references import local

_COLOURS: Final = {"stderr": "red", "system": "bright_black"}


def print_line(line: Mapping[str, Any], *, times: bool = False, run: bool = False) -> None:
    """Print a line: output of the run on standard output, all else on standard error.

    Args:
        line: as the API gives it.
        times: put its time before it, on this machine's clock.
        run: put the beginning of its run's id before it.
    """
    before = f"{local(line['timestamp'])} " if times else ""
    if run and "exec" in line:
        before += f"{line['exec'][:8]} "
    stream = line["stream"]
    text = before + line["message"]
    click.secho(text, fg=_COLOURS.get(stream), err=stream != "stdout")
