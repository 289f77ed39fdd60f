"""How commands fail: with one line that says why, and the exit status that goes with it.

With `--json`, the API's problem details are printed on standard output besides, for programs.
"""

from __future__ import annotations

import ast
import difflib
import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Final, ParamSpec, TypeVar

import click

P = ParamSpec("P")
T = TypeVar("T")
#: How click says that a value is none of the possible ones.
_NO_CHOICE: Final = re.compile(r"('[^']*'|\"[^\"]*\") is not (?:one of )?'")


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """Have a command say in one line why it fails: 1 refused, 2 wrong usage or bad input, 3 no daemon reached."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from api.client import ApiError, ClientError  # noqa: PLC0415 - loaded when a command runs, not to list it

        try:
            return command(*args, **kwargs)
        except ClientError as error:
            if isinstance(error, ApiError) and error.problem and kwargs.get("as_json"):
                click.echo(json.dumps(error.problem, indent=2, ensure_ascii=False))
            # The words after the program's own name, which is whatever it was called by.
            name = click.get_current_context().command_path.partition(" ")[2]
            click.echo(f"timeball {name}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_status) from error

    return wrapped


def did_you_mean(text: str, possible: Iterable[str]) -> str:
    """A sentence that names what comes close, with a space before it; empty if nothing does."""
    near = difflib.get_close_matches(text, list(possible), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def hinted(error: click.UsageError) -> click.UsageError:
    """An error about a value that is none of the possible ones, with the one that may have been meant."""
    if not isinstance(error, click.BadParameter) or error.param is None:
        return error
    kind, match = error.param.type, _NO_CHOICE.match(error.message)
    if not isinstance(kind, click.Choice) or match is None:
        return error
    hint = did_you_mean(str(ast.literal_eval(match[1])), map(str, kind.choices))
    return click.BadParameter(error.message + hint, ctx=error.ctx, param=error.param)
