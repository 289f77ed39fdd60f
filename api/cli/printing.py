"""Prints log lines: each stream in its own color on a terminal, and plain lines elsewhere.

A run's output must not control the reader's terminal: it could set the title, overwrite what is shown, or make the
terminal send input. Terminals therefore get colors and no other control sequences. Files, pipes, and terminals with
NO_COLOR set get plain text. The unchanged bytes are printed only on request.
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
# The same as in scheduler.logs.ansi, for text: ECMA-48 and xterm sequences, and control characters except tabs.
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
    """Whether standard output, or standard error, is a terminal and NO_COLOR is not set (https://no-color.org)."""
    return (sys.stderr if err else sys.stdout).isatty() and not os.environ.get("NO_COLOR")


def without_controls(text: str, *, colours: bool) -> str:
    """A line without control sequences. Colors are kept if wanted, and reset at the end of the line."""

    def kept(match: re.Match[str]) -> str:
        return match[0] if colours and _COLOUR.fullmatch(match[0]) else ""

    clean = _CONTROL.sub(kept, text)
    return clean + _RESET if "\x1b" in clean and not clean.endswith(_RESET) else clean


def print_line(line: Mapping[str, Any], *, times: bool = False, run: bool = False, raw: bool = False) -> None:
    """Print a line: the run's standard output on standard output, everything else on standard error.

    Args:
        line: the line as the API returns it.
        times: print its time first, in this machine's time zone.
        run: print the first characters of its run's id first.
        raw: print it unchanged, including terminal control sequences.
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
