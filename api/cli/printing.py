"""Prints lines of logs: each stream in its colour where a terminal looks on, and nothing but the lines elsewhere.

What a run prints is not to be trusted with the terminal of who reads it: it could set its title, write over what
stands there, or have it type. A terminal gets the colours of a line and nothing else that it would act upon; files
and pipes, and terminals with NO_COLOR, get the text alone. Whoever wants the bytes asks for them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from api.cli.references import local

_COLOURS: Final = {"stderr": "red", "system": "bright_black"}
_RESET: Final = "\x1b[0m"
# As scheduler.logs.ansi has it, for text: sequences of ECMA-48 and xterm, and lone control characters but for tabs.
_CONTROL: Final = re.compile(
    r"""
      (?: \x1b \[ | \x9b ) [0-?]* [\x20-/]* (?: [@-~] | \Z )?
    | (?: \x1b [\]PX^_] | [\x90\x98\x9d\x9e\x9f] ) (?: [^\x07\x1b\x80-\x9f]* (?: \x07 | \x1b\\ | \x9c ) )?
    | \x1b [\x20-/]* [0-~]?
    | [\x00-\x08\x0a-\x1f\x7f-\x9f]
    """,
    re.VERBOSE,
)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m", re.ASCII)


def shows_colours(*, err: bool = False) -> bool:
    """Whether standard output, or error, is a terminal whose user has not asked for none (https://no-color.org)."""
    return (sys.stderr if err else sys.stdout).isatty() and not os.environ.get("NO_COLOR")


def without_controls(text: str, *, colours: bool) -> str:
    """A line without what a terminal would act upon; its colours stay if wanted, and end with it."""

    def kept(match: re.Match[str]) -> str:
        return match[0] if colours and _COLOUR.fullmatch(match[0]) else ""

    clean = _CONTROL.sub(kept, text)
    return clean + _RESET if "\x1b" in clean and not clean.endswith(_RESET) else clean


def print_line(line: Mapping[str, Any], *, times: bool = False, run: bool = False, raw: bool = False) -> None:
    """Print a line: output of the run on standard output, all else on standard error.

    Args:
        line: as the API gives it.
        times: put its time before it, on this machine's clock.
        run: put the beginning of its run's id before it.
        raw: print it as the run printed it, whatever that does to a terminal.
    """
    before = f"{local(line['timestamp'])} " if times else ""
    if run and "exec" in line:
        before += f"{line['exec'][:8]} "
    err = line["stream"] != "stdout"
    if raw:
        click.echo(before + line["message"], err=err, color=True)
        return
    colours = shows_colours(err=err)
    text = before + without_controls(line["message"], colours=colours)
    colour = _COLOURS.get(line["stream"])
    click.echo(click.style(text, fg=colour) if colours and colour else text, err=err)
