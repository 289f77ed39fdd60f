"""`timeball run`: runs a job now and follows it, as if it ran here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.failing import explained
from api.cli.following import Following
from api.cli.printing import print_line
from api.cli.references import exec_path, find_job, variables_of
from api.cli.tables import show

if TYPE_CHECKING:
    from api.client import Client

#: The exit status of a command that somebody interrupts.
INTERRUPTED: Final = 130


@click.command()
@click.argument("reference", metavar="JOB")
@click.option("--follow/--no-follow", "is_followed", default=True, help="Whether to print its log and wait.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable for this run.")
@click.option("--command", help="Another command for this run, split as a shell would.")
@click.option("--tag", help="Another tag of the image for this run.")
@click.option("--size", help="Another resource size for this run.")
@click.option("--force", is_flag=True, help="Run although the job forbids two runs at a time.")
@click.option("--namespace", help="The job's namespace, where its name alone is not clear.")
@click.option("-t", "--times", is_flag=True, help="Print the time of each line.")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers of the run, at its end.")
@click.option("-q", "--quiet", is_flag=True, help="Print the output alone, or without --follow the run's id.")
@explained
def run(
    reference: str,
    *,
    is_followed: bool,
    env: tuple[str, ...],
    command: str | None,
    tag: str | None,
    size: str | None,
    force: bool,
    namespace: str | None,
    times: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run JOB now, print what it writes, and end as it ends: 0 if it succeeds, 1 if not.

    JOB is its id or name. Its standard output is this command's, so that it can be piped on. Ctrl-C asks whether to
    stop the run or only to stop watching.
    """
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    job = find_job(client, reference, namespace)
    given = {
        "runtime_vars": variables_of(env) or None,
        "command": command,
        "docker_image_tag": tag,
        "resource_size": size,
    }
    body = {name: value for name, value in given.items() if value is not None}
    path = f"/v1/jobs/{job['id']}/execs"
    one = client.request("POST", path, query={"force": "true"} if force else None, body=body or None).json()
    if not is_followed:
        if as_json:
            show(one)
        else:
            click.echo(one["id"] if quiet else f"Run {one['id']} of job '{job['name']}' waits to start.")
        return
    if not quiet and not as_json:
        click.secho(f"Run {one['id']} of job '{job['name']}'", fg="bright_black", err=True)
    end = _watch(client, one, times=times, quiet=quiet or as_json, show_lines=not as_json)
    if as_json:
        show(client.request("GET", exec_path(one)).json())
    elif not quiet:
        _say(end)
    sys.exit(0 if end["status"] == "S" else 1)


def _watch(
    client: Client, one: dict[str, Any], *, times: bool, quiet: bool, show_lines: bool
) -> dict[str, Any]:
    """Print the log until the run has ended; answers how it did."""
    asked: dict[str, str] = {"stream": "stdout,stderr"} if quiet else {}
    following = Following(client, exec_path(one) + "/logs", asked)
    has_asked = False
    while True:
        try:
            for kind, data in following.events():
                if kind == "end":
                    return data
                if show_lines:
                    print_line(data, times=times)
        except KeyboardInterrupt:
            if has_asked or not sys.stdin.isatty():
                click.echo(f"\nThe run goes on: timeball logs -f {one['id']}", err=True)
                sys.exit(INTERRUPTED)
            has_asked = True
            click.echo(err=True)
            if click.confirm("Stop the run? (no: only stop watching)", err=True):
                client.request("POST", exec_path(one) + "/stop")
                continue
            click.echo(f"The run goes on: timeball logs -f {one['id']}", err=True)
            sys.exit(INTERRUPTED)


def _say(end: dict[str, Any]) -> None:
    if end["status"] == "S":
        click.secho("The run succeeded.", fg="green", err=True)
    else:
        words = end.get("error") or "It was stopped."
        click.secho(
            f"The run {'failed' if end['status'] == 'F' else 'was stopped'}: {words}", fg="red", err=True
        )
