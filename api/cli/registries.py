"""`timeball registry …`: manages credentials for pulling images, as a client of the API.

Passwords cannot be read back. A password is prompted for without echo, or read from standard input. It is never an
argument, which other users of the machine could see.
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
    help="The namespace whose runs use the credential. Default: the caller's namespace.",
    shell_complete=completing.namespaces,
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print only hosts, or nothing.")


@click.group()
def registry() -> None:
    """Manage credentials for pulling images from registries.

    The runs of a namespace use them to pull private images.
    """


@registry.command(name="set")
@click.argument("host")
@click.option("--username", required=True, help="The user name at the registry.")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def set_(host: str, username: str, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """Create or replace the credential for a registry.

    The password is prompted for, or read from standard input.
    """
    from api.client import connect

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    else:
        password = sys.stdin.read().removesuffix("\n")
    body = {"username": username, "password": password}
    stored = connect().request("PUT", _path(host, namespace), body=body).json()
    if as_json:
        show(stored)
    elif not quiet:
        click.echo(
            f"Set the credential for {stored['host']}: "
            f"runs in namespace {stored['namespace']} pull as {stored['username']}."
        )


@registry.command(name="list")
@_NAMESPACE
@_JSON
@_QUIET
@explained
def list_(namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """List credentials, without their passwords."""
    from api.client import connect

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
    """Delete the credential for a registry.

    Later pulls from this registry use no credential.
    """
    from api.client import connect

    connect().request("DELETE", _path(host, namespace))
    if as_json:
        show({"deleted": host})
    elif not quiet:
        click.echo(f"Deleted the credential for {host}.")


def _path(host: str, namespace: str | None) -> str:
    where = f"?namespace={quote(namespace, safe='')}" if namespace else ""
    return f"/v1/registries/{quote(host, safe='')}{where}"
