"""`timeball user …`: manages users who log in with a password, as a client of the API.

Passwords are prompted for without echo, or read from standard input. They are never arguments, which other users of
the machine could see.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from api.cli.failing import explained
from api.cli.tables import all_pages, show, show_each, show_fields, table
from api.cli.tokens import ROLES

if TYPE_CHECKING:
    from api.client import Client

_quiet = click.option("-q", "--quiet", is_flag=True, help="Print only names, or nothing.")


@click.group()
def user() -> None:
    """Manage users who log in with a password."""


@user.command()
@click.argument("username")
@click.option(
    "--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="The user's role."
)
@click.option("--namespace", help="Limit the user to this namespace. Default: all namespaces.")
@click.option("--email", help="The user's email address.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@_quiet
@explained
def create(
    username: str, role: str, namespace: str | None, email: str | None, *, as_json: bool, quiet: bool
) -> None:
    """Create a user.

    The password is prompted for, or read from standard input.
    """
    from api.client import connect

    body = {"username": username, "role": role, "password": _new_password()}
    body |= {key: value for key, value in (("namespace", namespace), ("email", email)) if value}
    created = connect().request("POST", "/v1/users", body=body).json()
    if as_json:
        show(created)
    elif not quiet:
        where = created["namespace"] or "all namespaces"
        click.echo(f"Created user {created['username']}: {created['role']} in {where}.")


@user.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@_quiet
@explained
def list_(*, as_json: bool, quiet: bool) -> None:
    """List users."""
    from api.client import connect

    found = all_pages(connect(), "/v1/users", {})
    if as_json:
        show(found)
    elif quiet:
        show_each(found["results"], "username")
    else:
        click.echo(
            table(("username", "role", "namespace", "is_active", "email", "created_at"), found["results"])
        )


@user.command(name="show")
@click.argument("username")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@explained
def show_(username: str, *, as_json: bool) -> None:
    """Show a user."""
    from api.client import connect

    found = connect().request("GET", _path(username)).json()
    (show if as_json else show_fields)(found)


@user.command(name="set")
@click.argument("username")
@click.option("--role", type=click.Choice(ROLES), help="The new role.")
@click.option("--namespace", help="Limit the user to this namespace.")
@click.option("--all-namespaces", is_flag=True, help="Give the user access to all namespaces.")
@click.option("--email", help="The new email address.")
@click.option("--active/--disabled", default=None, help="Enable or disable the user and all of their tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@_quiet
@explained
def set_(
    username: str,
    role: str | None,
    namespace: str | None,
    email: str | None,
    active: bool | None,
    *,
    all_namespaces: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Update a user's role, namespace, email address or status.

    The change also applies to the user's tokens.
    """
    from api.client import UsageError, connect

    given = {"role": role, "namespace": namespace, "email": email, "is_active": active}
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if all_namespaces:
        if namespace:
            raise UsageError("--namespace and --all-namespaces cannot be combined. Use one of them.")
        body["namespace"] = None
    if not body:
        raise UsageError("Nothing to change. Run 'timeball user set --help' for the options.")
    updated = connect().request("PUT", _path(username), body=body).json()
    if as_json:
        show(updated)
    elif not quiet:
        click.echo(f"Updated user {updated['username']}.")


@user.command()
@click.argument("username")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@_quiet
@explained
def passwd(username: str, *, as_json: bool, quiet: bool) -> None:
    """Change a user's password and revoke the tokens of earlier logins.

    Users who are not administrators must enter their current password first. On standard input, it is the first of
    two lines.
    """
    from api.client import connect

    client = connect()
    body = {}
    if _needs_current_password(client):
        body["current_password"] = _read("Current password", confirm=False)
    body["password"] = _new_password()
    updated = client.request("PUT", _path(username), body=body).json()
    if as_json:
        show(updated)
    elif not quiet:
        click.echo(f"Changed the password of {updated['username']}.")


@user.command()
@click.argument("username")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_quiet
@explained
def delete(username: str, *, as_json: bool, quiet: bool) -> None:
    """Delete a user and all of their tokens.

    Jobs and runs are kept.
    """
    from api.client import connect

    connect().request("DELETE", _path(username))
    if as_json:
        show({"deleted": username})
    elif not quiet:
        click.echo(f"Deleted user {username} and all of their tokens.")


def _path(username: str) -> str:
    return f"/v1/users/{quote(username, safe='')}"


def _needs_current_password(client: Client) -> bool:
    """Whether the caller is a user who can change only their own password."""
    me = client.request("GET", "/v1/me").json()
    return bool(me["is_user"] and (me["role"] != "admin" or me["namespace"] is not None))


def _new_password() -> str:
    return _read("New password", confirm=True)


def _read(prompt: str, *, confirm: bool) -> str:
    from api.client import UsageError

    if sys.stdin.isatty():
        typed: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return typed
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError(
            f"{prompt} is missing on standard input. Write it there as a line, or use a terminal."
        )
    return line
