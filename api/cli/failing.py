"""How commands fail: with one line that says why, and the exit status that goes with it.

With `--json`, the API's problem details are printed on standard output besides, for programs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
T = TypeVar("T")


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
            click.echo(f"timeball {_called(click.get_current_context())}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_status) from error

    return wrapped


def _called(context: click.Context) -> str:
    """The words of the command after the program's own name, such as `job create`."""
    words: list[str] = []
    while context.parent is not None:
        words.insert(0, context.info_name or "")
        context = context.parent
    return " ".join(words)
