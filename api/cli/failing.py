"""How commands fail: with an error message on standard error, and the matching exit status.

With `--json`, the API's problem details are also printed on standard output, for programs.
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
#: The start of click's message for a value that is not one of the choices.
_NO_CHOICE: Final = re.compile(r"('[^']*'|\"[^\"]*\") is not (?:one of )?'")


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """Print a command's error and set its exit status: 1 refused, 2 usage or input error, 3 daemon unreachable."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from api.client import ApiError, ClientError

        try:
            return command(*args, **kwargs)
        except ClientError as error:
            if isinstance(error, ApiError) and error.problem and kwargs.get("as_json"):
                click.echo(json.dumps(error.problem, indent=2, ensure_ascii=False))
            # The command without the program's name, which depends on how it was started.
            name = click.get_current_context().command_path.partition(" ")[2]
            click.echo(f"timeball {name}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_status) from error

    return wrapped


def did_you_mean(text: str, possible: Iterable[str]) -> str:
    """A sentence that suggests a similar word, with a space before it; empty if there is none."""
    near = difflib.get_close_matches(text, list(possible), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def hinted(error: click.UsageError) -> click.UsageError:
    """The same error; if its value is not one of the choices, with a similar choice as a suggestion."""
    if not isinstance(error, click.BadParameter) or error.param is None:
        return error
    kind, match = error.param.type, _NO_CHOICE.match(error.message)
    if not isinstance(kind, click.Choice) or match is None:
        return error
    hint = did_you_mean(str(ast.literal_eval(match[1])), map(str, kind.choices))
    return click.BadParameter(error.message + hint, ctx=error.ctx, param=error.param)
