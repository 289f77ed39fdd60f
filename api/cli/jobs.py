"""`timeball job …`: manages jobs, as a client of the API."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import find_job, local, variables_of
from api.cli.tables import all_pages, show, show_each, show_fields, table

F = TypeVar("F", bound=Callable[..., Any])
#: Options whose names differ from those of the fields that they set.
_RENAMED: Final = {"size": "resource_size", "schedule": "schedule_mode", "timezone": "schedule_timezone"}
#: Commands that also exist at the top level, and where they are defined.
_ELSEWHERE: Final = {"export": "api.cli.export:export", "import": "api.cli.import_:import_"}


class _JobGroup(click.Group):
    """Loads the commands that are defined elsewhere only when they are used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all commands of the group."""
        return sorted([*super().list_commands(context), *_ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command with that name."""
        if name not in _ELSEWHERE:
            return super().get_command(context, name)
        module, _, attribute = _ELSEWHERE[name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found


@click.group(cls=_JobGroup)
def job() -> None:
    """Create, update, pause, resume and delete jobs.

    Jobs can also be exported to files and imported from other schedulers.
    """


_in = click.option(
    "--namespace",
    help="The job's namespace, if several namespaces have a job with this name.",
    shell_complete=completing.namespaces,
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print only ids, or nothing.")


def _fields(command: F) -> F:
    """Add the options that define a job."""
    options = [
        click.option("--image", metavar="REPO[:TAG]", help="The image to run."),
        click.option(
            "--command", help="The command to run, split into words like a shell. No shell is started."
        ),
        click.option(
            "-e", "--env", multiple=True, metavar="NAME=VALUE", help="Set a variable. Can be repeated."
        ),
        click.option(
            "-l", "--label", multiple=True, metavar="NAME=VALUE", help="Set a label. Can be repeated."
        ),
        click.option("--size", help="The resource size, such as XXS or M."),
        click.option(
            "--schedule", help="The schedule: ISO 8601 such as R/2026-01-31T09:00:00Z/P1D, or cron."
        ),
        click.option("--timezone", metavar="ZONE", help="The schedule's time zone, such as Europe/Berlin."),
        click.option("--active/--inactive", default=None, help="Switch the schedule on or off."),
        click.option(
            "--set",
            "others",
            multiple=True,
            metavar="FIELD=JSON",
            help='Set any other field, such as max_retries=3 or concurrency_policy="forbid". Can be repeated.',
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@job.command()
@click.argument("name")
@_fields
@click.option("--namespace", help="The job's namespace. Default: the caller's namespace.")
@_json
@_quiet
@explained
def create(name: str, namespace: str | None, *, as_json: bool, quiet: bool, **given: Any) -> None:
    """Create a job named NAME."""
    from api.client import connect

    body = {"name": name, **_body(given)}
    if namespace is not None:
        body["namespace"] = namespace
    _print(connect().request("POST", "/v1/jobs", body=body).json(), "Created", as_json=as_json, quiet=quiet)


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@click.option("--name", help="The new name.")
@_fields
@_in
@_json
@_quiet
@explained
def update(
    reference: str, name: str | None, namespace: str | None, *, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Update a job. JOB is its id or name.

    Only the given fields change.
    """
    from api.client import UsageError, connect

    client = connect()
    body = _body(given) | ({"name": name} if name is not None else {})
    if not body:
        raise UsageError("Nothing to change. Run 'timeball job update --help' for the options.")
    found = find_job(client, reference, namespace)
    updated = client.request("PATCH", f"/v1/jobs/{found['id']}", body=body).json()
    _print(updated, "Updated", as_json=as_json, quiet=quiet)


@job.command(name="list")
@click.option("--namespace", help="Only jobs in this namespace.")
@click.option("-l", "--label", metavar="NAME=VALUE", help="Only jobs with this label.")
@click.option(
    "--state",
    type=click.Choice(["active", "inactive", "finished", "none"]),
    help="Only jobs whose schedule has this state.",
)
@_json
@_quiet
@explained
def list_(namespace: str | None, label: str | None, state: str | None, *, as_json: bool, quiet: bool) -> None:
    """List jobs, oldest first."""
    from api.client import connect

    given = {"namespace": namespace, "label": label, "schedule_state": state}
    found = all_pages(connect(), "/v1/jobs", {name: value for name, value in given.items() if value})
    if as_json:
        show(found)
    elif quiet:
        show_each(found["results"])
    else:
        rows = [
            {
                "id": listed["id"],
                "namespace": listed["namespace"],
                "name": listed["name"],
                "image": f"{listed['docker_image_repo']}:{listed['docker_image_tag']}",
                "schedule": listed["schedule_mode"],
                "state": listed["schedule_state"],
                "next run": local(listed["next_run_at"]),
                "last run": (listed["last_exec"] or {}).get("status"),
            }
            for listed in found["results"]
        ]
        columns = ("id", "namespace", "name", "image", "schedule", "state", "next run", "last run")
        click.echo(table(columns, rows, spare=("namespace", "image")))


@job.command(name="show")
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@_json
@explained
def show_(reference: str, namespace: str | None, *, as_json: bool) -> None:
    """Show a job. JOB is its id or name."""
    from api.client import connect

    found = find_job(connect(), reference, namespace)
    if as_json:
        show(found)
        return
    if (last := found["last_exec"]) is not None:
        found["last_exec"] = f"{last['id']} ({last['status']})"
    first = ("id", "name", "namespace", "schedule_mode", "schedule_timezone", "schedule_state", "next_run_at")
    show_fields(found, first=(*first, "last_exec", "docker_image_repo", "docker_image_tag", "command"))


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@_json
@_quiet
@explained
def delete(reference: str, namespace: str | None, *, yes: bool, as_json: bool, quiet: bool) -> None:
    """Delete a job with its runs and logs. JOB is its id or name."""
    from api.client import connect

    client = connect()
    found = find_job(client, reference, namespace)
    if not yes:
        click.confirm(
            f"Delete job {found['id']} '{found['name']}' with all its runs and logs?", abort=True, err=True
        )
    client.request("DELETE", f"/v1/jobs/{found['id']}")
    if as_json:
        show({"deleted": found["id"]})
    elif not quiet:
        click.echo(f"Deleted job {found['id']} '{found['name']}'.")


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@_json
@_quiet
@explained
def pause(reference: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Switch off a job's schedule. JOB is its id or name.

    Runs in progress continue.
    """
    _switch(reference, namespace, on=False, as_json=as_json, quiet=quiet)


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@_json
@_quiet
@explained
def resume(reference: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Switch on a job's schedule. JOB is its id or name.

    Due times that passed while it was paused are not run.
    """
    _switch(reference, namespace, on=True, as_json=as_json, quiet=quiet)


def _switch(reference: str, namespace: str | None, *, on: bool, as_json: bool, quiet: bool) -> None:
    from api.client import connect

    client = connect()
    found = find_job(client, reference, namespace)
    body = {"is_schedule_active": on}
    updated = client.request("PATCH", f"/v1/jobs/{found['id']}", body=body).json()
    _print(updated, "Resumed" if on else "Paused", as_json=as_json, quiet=quiet)


def _body(given: dict[str, Any]) -> dict[str, Any]:
    """The fields set by options, as the API expects them."""
    body: dict[str, Any] = {}
    if (image := given["image"]) is not None:
        repository, colon, tag = image.rpartition(":")
        if colon and "/" not in tag:
            body |= {"docker_image_repo": repository, "docker_image_tag": tag}
        else:
            body["docker_image_repo"] = image
    if given["command"] is not None:
        body["command"] = given["command"]
    if given["env"]:
        body["runtime_vars"] = variables_of(given["env"])
    if given["label"]:
        body["labels"] = variables_of(given["label"])
    body |= {field: given[name] for name, field in _RENAMED.items() if given[name] is not None}
    if given["active"] is not None:
        body["is_schedule_active"] = given["active"]
    for name, text in variables_of(given["others"]).items():
        try:
            body[name] = json.loads(text)
        except ValueError:
            body[name] = text  # a word needs no quotes
    return body


def _print(found: dict[str, Any], done: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        show(found)
    elif quiet:
        click.echo(found["id"])
    else:
        next_run = found["next_run_at"]
        if next_run:
            details = f" Next run: {local(next_run)}."
        elif found["schedule_state"] == "none":
            details = ""
        else:
            details = f" The schedule is {found['schedule_state']}."
        click.echo(f"{done} job {found['id']} '{found['name']}'.{details}")
