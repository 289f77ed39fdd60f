"""`timeball secret …`: values that jobs name and nobody reads, as a client of the API.

A value is asked for without echo, or read from standard input; it is never an argument, which others could see.
"""

from __future__ import annotations

import sys
from urllib.parse import quote

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.tables import all_pages, show, show_each, table

_NAMESPACE = click.option(
    "--namespace", help="Where it lies; the caller's own if not given.", shell_complete=completing.namespaces
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print names alone, or nothing.")


@click.group()
def secret() -> None:
    """Manage secrets, which jobs name as {"secret": NAME} for a variable's value."""


@secret.command(name="set")
@click.argument("name")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def set_(name: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Set a secret; its value is asked for, or read from standard input without the last line break."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    if sys.stdin.isatty():
        value = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    made = connect().request("PUT", _path(name, namespace), body={"value": value}).json()
    if as_json:
        show(made)
    elif not quiet:
        click.echo(f"Secret {made['name']} of {made['namespace']} is set.")


@secret.command(name="list")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def list_(namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """List secrets, without their values."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    found = all_pages(connect(), "/v1/secrets", {"namespace": namespace} if namespace else {})
    if as_json:
        show(found)
    elif quiet:
        show_each(found["results"], "name")
    else:
        columns = ("name", "namespace", "used_by", "updated_by", "updated_at")
        click.echo(table(columns, found["results"]))


@secret.command()
@click.argument("name")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def delete(name: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Delete a secret; runs of jobs that still name it fail."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    connect().request("DELETE", _path(name, namespace))
    if as_json:
        show({"deleted": name})
    elif not quiet:
        click.echo(f"Secret {name} is deleted.")


@secret.command()
@_JSON
@explained
def rotate(*, as_json: bool) -> None:
    """Seal all secrets with a new key, and forget the former one; for administrators of all namespaces."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    made = connect().request("POST", "/v1/secret-key/rotate").json()
    if as_json:
        show(made)
        return
    click.echo(f"The key {made['key']} has taken over; {made['sealed_anew']} values are sealed with it.")
    click.echo("Copy the key file anew; keep the former copy for as long as backups that were taken before.")
    if made["cannot_be_opened"]:
        click.echo(
            f"{made['cannot_be_opened']} values were left that no key opens; the daemon's log names them.",
            err=True,
        )


def _path(name: str, namespace: str | None) -> str:
    where = f"?namespace={quote(namespace, safe='')}" if namespace else ""
    return f"/v1/secrets/{quote(name, safe='')}{where}"
