"""`timeball run`: runs a job now and follows it, as if it ran locally."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import find_job, variables_of
from api.cli.watching import print_created, watch

F = TypeVar("F", bound=Callable[..., Any])


def run_options(command: F) -> F:
    """Add the options of commands that start a run: its overrides, and how it is followed."""
    options = [
        click.option(
            "--follow/--no-follow",
            "is_followed",
            default=True,
            help="Print the log and wait for the end, or return at once. Default: --follow.",
        ),
        click.option(
            "-e",
            "--env",
            multiple=True,
            metavar="NAME=VALUE",
            help="Set a variable for this run. Can be repeated.",
        ),
        click.option("--command", help="Use another command for this run, split into words like a shell."),
        click.option("--tag", help="Use another image tag for this run."),
        click.option("--size", help="Use another resource size for this run."),
        click.option("--force", is_flag=True, help="Run even if the job forbids concurrent runs."),
        click.option("-t", "--times", is_flag=True, help="Print the time of each line."),
        click.option(
            "--raw", is_flag=True, help="Print lines unchanged, including terminal control sequences."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the run as JSON when it has ended."),
        click.option(
            "-q", "--quiet", is_flag=True, help="Print only the output, or the run's id with --no-follow."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def overrides_of(
    *, env: tuple[str, ...], command: str | None, tag: str | None, size: str | None
) -> dict[str, Any] | None:
    """The request body that overrides a job's settings for a run, or None without overrides.

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
@run_options
@click.option(
    "--namespace",
    help="The job's namespace, if several namespaces have a job with this name.",
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
    """Run JOB now, print its output, and exit with 0 if the run succeeds or 1 if it does not.

    JOB is an id or a name. The run's standard output goes to standard output, so that it can be piped. Ctrl-C asks
    whether to stop the run or only stop following it.
    """
    from api.client import connect

    body = overrides_of(env=env, command=command, tag=tag, size=size)
    client = connect()
    job = find_job(client, reference, namespace)
    path = f"/v1/jobs/{job['id']}/execs"
    created = client.request("POST", path, query={"force": "true"} if force else None, body=body).json()
    if not is_followed:
        print_created(created, job["name"], as_json=as_json, quiet=quiet)
        return
    watch(client, created, job["name"], times=times, raw=raw, as_json=as_json, quiet=quiet)
