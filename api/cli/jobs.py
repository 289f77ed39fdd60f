"""`timeball job …`: defines jobs, as a client of the API."""

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
#: Options that are fields of a job by another name, or in another form.
_RENAMED: Final = {"size": "resource_size", "schedule": "schedule_mode", "timezone": "schedule_timezone"}


#: What is a command of its own as well, and where it is.
_ELSEWHERE: Final = {"export": "api.cli.export:export", "import": "api.cli.import_:import_"}


class _JobGroup(click.Group):
    """Loads what is a command of its own only when it is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Their names."""
        return sorted([*super().list_commands(context), *_ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One of them."""
        if name not in _ELSEWHERE:
            return super().get_command(context, name)
        module, _, attribute = _ELSEWHERE[name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found


@click.group(cls=_JobGroup)
def job() -> None:
    """Define jobs, change them, pause and resume them; write them to files, and take them over from elsewhere."""


_in = click.option(
    "--namespace",
    help="The namespace, where the name alone is not clear.",
    shell_complete=completing.namespaces,
)
_json = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print ids alone, or nothing.")


def _fields(command: F) -> F:
    """The options that say what a job is."""
    options = [
        click.option("--image", metavar="REPO[:TAG]", help="The image that it runs."),
        click.option("--command", help="What it runs, split into words as a shell would; no shell runs."),
        click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="A variable; can be repeated."),
        click.option("-l", "--label", multiple=True, metavar="NAME=VALUE", help="A label; can be repeated."),
        click.option("--size", help="Its resource size, such as XXS or M."),
        click.option(
            "--schedule", help="When it runs: ISO 8601 such as R/2026-01-31T09:00:00Z/P1D, or cron."
        ),
        click.option("--timezone", metavar="ZONE", help="The schedule's zone, such as Europe/Berlin."),
        click.option("--active/--inactive", default=None, help="Whether its schedule is on."),
        click.option(
            "--set",
            "others",
            multiple=True,
            metavar="FIELD=JSON",
            help='Any other field, such as max_retries=3 or concurrency_policy="forbid".',
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@job.command()
@click.argument("name")
@_fields
@click.option("--namespace", help="Where it is made; the caller's own namespace if not given.")
@_json
@_quiet
@explained
def create(name: str, namespace: str | None, *, as_json: bool, quiet: bool, **given: Any) -> None:
    """Define a job called NAME."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    body = {"name": name, **_body(given)}
    if namespace is not None:
        body["namespace"] = namespace
    _print(connect().request("POST", "/v1/jobs", body=body).json(), "made", as_json=as_json, quiet=quiet)


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@click.option("--name", help="Its new name.")
@_fields
@_in
@_json
@_quiet
@explained
def update(
    reference: str, name: str | None, namespace: str | None, *, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Change what is given of a job, and keep the rest. JOB is its id or name."""
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    body = _body(given) | ({"name": name} if name is not None else {})
    if not body:
        raise UsageError("Nothing to change was given; 'timeball job update --help' lists what can be")
    found = find_job(client, reference, namespace)
    changed = client.request("PATCH", f"/v1/jobs/{found['id']}", body=body).json()
    _print(changed, "changed", as_json=as_json, quiet=quiet)


@job.command(name="list")
@click.option("--namespace", help="Only those of this namespace.")
@click.option("-l", "--label", metavar="NAME=VALUE", help="Only those with this label.")
@click.option(
    "--state",
    type=click.Choice(["active", "inactive", "finished", "none"]),
    help="Only those whose schedule stands so.",
)
@_json
@_quiet
@explained
def list_(namespace: str | None, label: str | None, state: str | None, *, as_json: bool, quiet: bool) -> None:
    """List jobs, the oldest first."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    given = {"namespace": namespace, "label": label, "schedule_state": state}
    found = all_pages(connect(), "/v1/jobs", {name: value for name, value in given.items() if value})
    if as_json:
        show(found)
    elif quiet:
        show_each(found["results"])
    else:
        rows = [
            {
                "id": one["id"],
                "namespace": one["namespace"],
                "name": one["name"],
                "image": f"{one['docker_image_repo']}:{one['docker_image_tag']}",
                "schedule": one["schedule_mode"],
                "state": one["schedule_state"],
                "next run": local(one["next_run_at"]),
                "last run": (one["last_exec"] or {}).get("status"),
            }
            for one in found["results"]
        ]
        columns = ("id", "namespace", "name", "image", "schedule", "state", "next run", "last run")
        click.echo(table(columns, rows, spare=("namespace", "image")))


@job.command(name="show")
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@_json
@explained
def show_(reference: str, namespace: str | None, *, as_json: bool) -> None:
    """Show all that is known of a job. JOB is its id or name."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_json
@_quiet
@explained
def delete(reference: str, namespace: str | None, *, yes: bool, as_json: bool, quiet: bool) -> None:
    """Remove a job with its runs and logs. JOB is its id or name."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    found = find_job(client, reference, namespace)
    if not yes:
        click.confirm(
            f"Remove job {found['id']} '{found['name']}' with all its runs and logs?", abort=True, err=True
        )
    client.request("DELETE", f"/v1/jobs/{found['id']}")
    if as_json:
        show({"deleted": found["id"]})
    elif not quiet:
        click.echo(f"Job {found['id']} '{found['name']}' is removed.")


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@_json
@_quiet
@explained
def pause(reference: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Switch a job's schedule off; runs that go on are left alone. JOB is its id or name."""
    _switch(reference, namespace, on=False, as_json=as_json, quiet=quiet)


@job.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@_in
@_json
@_quiet
@explained
def resume(reference: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Switch a job's schedule on; what fell due meanwhile never happened. JOB is its id or name."""
    _switch(reference, namespace, on=True, as_json=as_json, quiet=quiet)


def _switch(reference: str, namespace: str | None, *, on: bool, as_json: bool, quiet: bool) -> None:
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    found = find_job(client, reference, namespace)
    body = {"is_schedule_active": on}
    changed = client.request("PATCH", f"/v1/jobs/{found['id']}", body=body).json()
    _print(changed, "resumed" if on else "paused", as_json=as_json, quiet=quiet)


def _body(given: dict[str, Any]) -> dict[str, Any]:
    """The fields that options name, as the API takes them."""
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


def _print(found: dict[str, Any], what: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        show(found)
    elif quiet:
        click.echo(found["id"])
    else:
        following = found["next_run_at"]
        when = (
            f"; next run {local(following)}" if following else f"; its schedule is {found['schedule_state']}"
        )
        if found["schedule_state"] == "none":
            when = ""
        click.echo(f"Job {found['id']} '{found['name']}' is {what}{when}.")
