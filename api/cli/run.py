"""`timeball run`: runs a job now and follows it, as if it ran here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import find_job, variables_of
from api.cli.watching import say_made, watch

F = TypeVar("F", bound=Callable[..., Any])


def making_options(command: F) -> F:
    """The options of commands that make a run: what it does otherwise, and how it is watched."""
    options = [
        click.option(
            "--follow/--no-follow", "is_followed", default=True, help="Whether to print its log and wait."
        ),
        click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable for this run."),
        click.option("--command", help="Another command for this run, split as a shell would."),
        click.option("--tag", help="Another tag of the image for this run."),
        click.option("--size", help="Another resource size for this run."),
        click.option("--force", is_flag=True, help="Run although the job forbids two runs at a time."),
        click.option("-t", "--times", is_flag=True, help="Print the time of each line."),
        click.option("--raw", is_flag=True, help="Print lines as they are, also what steers a terminal."),
        click.option(
            "--json", "as_json", is_flag=True, help="Print what the API answers of the run, at its end."
        ),
        click.option(
            "-q", "--quiet", is_flag=True, help="Print the output alone, or without --follow the run's id."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def overrides_of(
    *, env: tuple[str, ...], command: str | None, tag: str | None, size: str | None
) -> dict[str, Any] | None:
    """What a run does otherwise, as the API takes it; None if nothing.

    Raises:
        click.BadParameter: a variable is malformed.
    """
    given = {
        "runtime_vars": variables_of(env) or None,
        "command": command,
        "docker_image_tag": tag,
        "resource_size": size,
    }
    return {name: value for name, value in given.items() if value is not None} or None


@click.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@making_options
@click.option(
    "--namespace",
    help="The job's namespace, where its name alone is not clear.",
    shell_complete=completing.namespaces,
)
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
    raw: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run JOB now, print what it writes, and end as it ends: 0 if it succeeds, 1 if not.

    JOB is its id or name. Its standard output is this command's, so that it can be piped on. Ctrl-C asks whether to
    stop the run or only to stop watching.
    """
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    body = overrides_of(env=env, command=command, tag=tag, size=size)
    client = connect()
    job = find_job(client, reference, namespace)
    path = f"/v1/jobs/{job['id']}/execs"
    one = client.request("POST", path, query={"force": "true"} if force else None, body=body).json()
    if not is_followed:
        say_made(one, job["name"], as_json=as_json, quiet=quiet)
        return
    watch(client, one, job["name"], times=times, raw=raw, as_json=as_json, quiet=quiet)
