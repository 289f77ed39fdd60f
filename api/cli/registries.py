"""`timeball registry …`: credentials that pulls use and nobody reads, as a client of the API.

A password is asked for without echo, or read from standard input; it is never an argument, which others could see.
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
    help="Whose runs pull with it; the caller's own if not given.",
    shell_complete=completing.namespaces,
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print hosts alone, or nothing.")


@click.group()
def registry() -> None:
    """Manage credentials for registries, with which the runs of a namespace pull private images."""


@registry.command(name="set")
@click.argument("host")
@click.option("--username", required=True, help="As the registry knows it.")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def set_(host: str, username: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Set the credential for a registry; the password is asked for, or read from standard input."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        password = sys.stdin.read().removesuffix("\n")
    body = {"username": username, "password": password}
    made = connect().request("PUT", _path(host, namespace), body=body).json()
    if as_json:
        show(made)
    elif not quiet:
        click.echo(f"Runs of {made['namespace']} pull from {made['host']} as {made['username']}.")


@registry.command(name="list")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def list_(namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """List credentials, without their passwords."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    found = all_pages(connect(), "/v1/registries", {"namespace": namespace} if namespace else {})
    if as_json:
        show(found)
    elif quiet:
        show_each(found["results"], "host")
    else:
        click.echo(table(("host", "namespace", "username", "updated_by", "updated_at"), found["results"]))


@registry.command()
@click.argument("host")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def delete(host: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Delete the credential for a registry; pulls go on without it."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    connect().request("DELETE", _path(host, namespace))
    if as_json:
        show({"deleted": host})
    elif not quiet:
        click.echo(f"The credential for {host} is deleted.")


def _path(host: str, namespace: str | None) -> str:
    where = f"?namespace={quote(namespace, safe='')}" if namespace else ""
    return f"/v1/registries/{quote(host, safe='')}{where}"
