"""Watches a run that was just made: prints its log as it comes, and ends as the run does.

Shared by the commands that make runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from api.cli.following import Following
from api.cli.printing import print_line
from api.cli.references import exec_path
from api.cli.tables import show

if TYPE_CHECKING:
    from api.client import Client

#: The exit status of a command that somebody interrupts.
INTERRUPTED: Final = 130


def say_made(one: dict[str, Any], job_name: str, *, as_json: bool, quiet: bool) -> None:
    """Say which run was made, where it is not followed."""
    if as_json:
        show(one)
    else:
        click.echo(one["id"] if quiet else f"Run {one['id']} of job '{job_name}' waits to start.")


def watch(
    client: Client, one: dict[str, Any], job_name: str, *, times: bool, raw: bool, as_json: bool, quiet: bool
) -> NoReturn:
    """Follow a run to its end, and end with its success or failure.

    Args:
        client: of the daemon.
        one: the run.
        job_name: whose it is.
        times: print the time of each line.
        raw: print lines as they are, whatever they do to a terminal.
        as_json: print the run at its end alone, as the API answers it.
        quiet: print its output alone.
    """
    if not quiet and not as_json:
        click.secho(f"Run {one['id']} of job '{job_name}'", fg="bright_black", err=True)
    asked: dict[str, str] = {"stream": "stdout,stderr"} if quiet or as_json else {}
    following = Following(client, exec_path(one) + "/logs", asked)
    stopped = False
    while True:
        try:
            for kind, data in following.events():
                if kind == "end":
                    _end(client, one, data, as_json=as_json, quiet=quiet)
                if not as_json:
                    print_line(data, times=times, raw=raw)
        except KeyboardInterrupt:
            if stopped or not _is_to_be_stopped():
                click.echo(f"\nThe run goes on: timeball logs -f {one['id']}", err=True)
                sys.exit(INTERRUPTED)
            stopped = True
            _stop(client, one)


def _is_to_be_stopped() -> bool:
    """Ask, where somebody can answer; another Ctrl-C is a no."""
    if not sys.stdin.isatty():
        return False
    click.echo(err=True)
    try:
        return click.confirm("Stop the run? (no: only stop watching)", err=True)
    except click.Abort:
        return False


def _stop(client: Client, one: dict[str, Any]) -> None:
    from api.client import ApiError  # noqa: PLC0415 - loaded already

    try:
        client.request("POST", exec_path(one) + "/stop")
    except ApiError as error:
        if error.status != 409:  # it has ended meanwhile
            raise


def _end(client: Client, one: dict[str, Any], end: dict[str, Any], *, as_json: bool, quiet: bool) -> NoReturn:
    if as_json:
        show(client.request("GET", exec_path(one)).json())
    elif not quiet:
        _say(end)
    sys.exit(0 if end["status"] == "S" else 1)


def _say(end: dict[str, Any]) -> None:
    if end["status"] == "S":
        click.secho("The run succeeded.", fg="green", err=True)
    else:
        words = end.get("error") or "It was stopped."
        click.secho(
            f"The run {'failed' if end['status'] == 'F' else 'was stopped'}: {words}", fg="red", err=True
        )
