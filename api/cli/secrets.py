"""`timeball secret …`: manages the secrets that jobs use, as a client of the API. Values cannot be read back.

A value is prompted for without echo, or read from standard input. It is never an argument, which other users of the
machine could see.
"""

from __future__ import annotations

import sys
from urllib.parse import quote

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.tables import all_pages, show, show_each, table

_NAMESPACE = click.option(
    "--namespace",
    help="The secret's namespace. Default: the caller's namespace.",
    shell_complete=completing.namespaces,
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print only names, or nothing.")


@click.group()
def secret() -> None:
    """Manage the secrets that jobs use.

    A job refers to a secret with {"secret": NAME} as the value of a variable.
    """


@secret.command(name="set")
@click.argument("name")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def set_(name: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Create or replace a secret.

    The value is prompted for, or read from standard input without its last line break.
    """
    from api.client import connect

    if sys.stdin.isatty():
        value = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    stored = connect().request("PUT", _path(name, namespace), body={"value": value}).json()
    if as_json:
        show(stored)
    elif not quiet:
        click.echo(f"Set secret {stored['name']} in namespace {stored['namespace']}.")


@secret.command(name="list")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def list_(namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """List secrets, without their values."""
    from api.client import connect

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
    """Delete a secret.

    Runs of jobs that still refer to it fail.
    """
    from api.client import connect

    connect().request("DELETE", _path(name, namespace))
    if as_json:
        show({"deleted": name})
    elif not quiet:
        click.echo(f"Deleted secret {name}.")


@secret.command()
@_JSON
@explained
def rotate(*, as_json: bool) -> None:
    """Encrypt all secrets with a new key and discard the old key.

    Requires an administrator of all namespaces.
    """
    from api.client import connect

    rotated = connect().request("POST", "/v1/secret-key/rotate").json()
    if as_json:
        show(rotated)
        return
    click.echo(f"The new key is {rotated['key']}. Encrypted {rotated['sealed_anew']} values with it.")
    click.echo("Back up the key file again. Keep the old copy as long as you keep backups made before now.")
    if rotated["cannot_be_opened"]:
        click.echo(
            f"{rotated['cannot_be_opened']} values could not be decrypted with any key and were left unchanged. "
            "The daemon's log names them.",
            err=True,
        )


def _path(name: str, namespace: str | None) -> str:
    where = f"?namespace={quote(namespace, safe='')}" if namespace else ""
    return f"/v1/secrets/{quote(name, safe='')}{where}"
