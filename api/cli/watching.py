"""Follows a run that was just created: prints its log, and exits with the run's result.

Shared by the commands that start runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from api.cli.following import Following
from api.cli.printing import print_line
from api.cli.references import run_path
from api.cli.tables import show

if TYPE_CHECKING:
    from api.client import Client

#: The exit status of a command that is interrupted.
INTERRUPTED: Final = 130


def print_created(run: dict[str, Any], job_name: str, *, as_json: bool, quiet: bool) -> None:
    """Print a created run that is not followed."""
    if as_json:
        show(run)
    else:
        click.echo(run["id"] if quiet else f"Created run {run['id']} of job '{job_name}'.")


def watch(
    client: Client, run: dict[str, Any], job_name: str, *, times: bool, raw: bool, as_json: bool, quiet: bool
) -> NoReturn:
    """Follow a run to its end, and exit with its success or failure.

    Args:
        client: the client of the daemon.
        run: the run.
        job_name: the name of its job.
        times: print the time of each line.
        raw: print lines unchanged, including terminal control sequences.
        as_json: print only the ended run, as the API returns it.
        quiet: print only the run's output.
    """
    if not quiet and not as_json:
        click.secho(f"Run {run['id']} of job '{job_name}'", fg="bright_black", err=True)
    query: dict[str, str] = {"stream": "stdout,stderr"} if quiet or as_json else {}
    following = Following(client, run_path(run) + "/logs", query)
    stopped = False
    while True:
        try:
            for kind, data in following.events():
                if kind == "end":
                    _end(client, run, data, as_json=as_json, quiet=quiet)
                if not as_json:
                    print_line(data, times=times, raw=raw)
        except KeyboardInterrupt:
            if stopped or not _confirm_stop():
                click.echo(f"\nThe run continues. Follow it with: timeball logs -f {run['id']}", err=True)
                sys.exit(INTERRUPTED)
            stopped = True
            _stop(client, run)


def _confirm_stop() -> bool:
    """Ask whether to stop the run, if there is a terminal; a second Ctrl-C means no."""
    if not sys.stdin.isatty():
        return False
    click.echo(err=True)
    try:
        return click.confirm("Stop the run? (no: only stop following it)", err=True)
    except click.Abort:
        return False


def _stop(client: Client, run: dict[str, Any]) -> None:
    from api.client import ApiError

    try:
        client.request("POST", run_path(run) + "/stop")
    except ApiError as error:
        if error.status != 409:  # the run has ended in the meantime
            raise


def _end(client: Client, run: dict[str, Any], end: dict[str, Any], *, as_json: bool, quiet: bool) -> NoReturn:
    if as_json:
        show(client.request("GET", run_path(run)).json())
    elif not quiet:
        _print_result(end)
    sys.exit(0 if end["status"] == "S" else 1)


def _print_result(end: dict[str, Any]) -> None:
    if end["status"] == "S":
        click.secho("The run succeeded.", fg="green", err=True)
        return
    text = "The run failed" if end["status"] == "F" else "The run was stopped"
    error = end.get("error")
    click.secho(f"{text}: {error}" if error else f"{text}.", fg="red", err=True)
