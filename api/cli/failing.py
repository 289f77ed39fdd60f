"""How commands fail: with one line that says why, and the exit status that goes with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
T = TypeVar("T")


def explained(command: Callable[P, T]) -> Callable[P, T]:
    """Have a command say in one line why it fails: 1 refused, 2 wrong usage, 3 no daemon reached."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from api.client import ClientError  # noqa: PLC0415 - loaded when a command runs, not to list it

        try:
            return command(*args, **kwargs)
        except ClientError as error:
            name = click.get_current_context().info_name
            click.echo(f"timeball {name}: {error}", err=True)
            raise click.exceptions.Exit(error.exit_status) from error

    return wrapped
