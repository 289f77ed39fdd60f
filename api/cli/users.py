"""`timeball user …`: who can log in with a password, as a client of the API.

A password is asked for without echo, or read from standard input; it is never an argument, which others could see.
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

_quiet = click.option("-q", "--quiet", is_flag=True, help="Print names alone, or nothing.")


@click.group()
def user() -> None:
    """Manage who can log in with a password."""


@user.command()
@click.argument("username")
@click.option(
    "--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What they may do."
)
@click.option("--namespace", help="The namespace that they are bound to; all if not given.")
@click.option("--email", help="Their address.")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@_quiet
@explained
def create(
    username: str, role: str, namespace: str | None, email: str | None, *, as_json: bool, quiet: bool
) -> None:
    """Make a user; the password is asked for, or read from standard input."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    body = {"username": username, "role": role, "password": _new_password()}
    body |= {key: value for key, value in (("namespace", namespace), ("email", email)) if value}
    made = connect().request("POST", "/v1/users", body=body).json()
    if as_json:
        show(made)
    elif not quiet:
        click.echo(f"User {made['username']}: {made['role']} in {made['namespace'] or 'all namespaces'}.")


@user.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@_quiet
@explained
def list_(*, as_json: bool, quiet: bool) -> None:
    """List users."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@explained
def show_(username: str, *, as_json: bool) -> None:
    """Show a user."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    found = connect().request("GET", _path(username)).json()
    (show if as_json else show_fields)(found)


@user.command(name="set")
@click.argument("username")
@click.option("--role", type=click.Choice(ROLES), help="What they may do from now on.")
@click.option("--namespace", help="The namespace that they are bound to from now on.")
@click.option("--all-namespaces", is_flag=True, help="Bind them to none.")
@click.option("--email", help="Their address.")
@click.option("--active/--disabled", default=None, help="Whether they, and their tokens, are let in.")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
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
    """Change a user's role, namespace, address or state; all their tokens follow."""
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    given = {"role": role, "namespace": namespace, "email": email, "is_active": active}
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if all_namespaces:
        if namespace:
            raise UsageError("--namespace and --all-namespaces contradict each other; give one of them")
        body["namespace"] = None
    if not body:
        raise UsageError("nothing is to be changed; see 'timeball user set --help'")
    made = connect().request("PUT", _path(username), body=body).json()
    if as_json:
        show(made)
    elif not quiet:
        click.echo(f"User {made['username']} is changed.")


@user.command()
@click.argument("username")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@_quiet
@explained
def passwd(username: str, *, as_json: bool, quiet: bool) -> None:
    """Change a password; tokens from earlier log-ins end.

    Who is no administrator is asked for the present password first; on standard input it is the first line of two.
    """
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    body = {}
    if _is_own_business(client):
        body["current_password"] = _read("Present password", confirm=False)
    body["password"] = _new_password()
    made = client.request("PUT", _path(username), body=body).json()
    if as_json:
        show(made)
    elif not quiet:
        click.echo(f"The password of {made['username']} is changed.")


@user.command()
@click.argument("username")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_quiet
@explained
def delete(username: str, *, as_json: bool, quiet: bool) -> None:
    """Remove a user with all tokens; jobs and runs stay."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    connect().request("DELETE", _path(username))
    if as_json:
        show({"deleted": username})
    elif not quiet:
        click.echo(f"User {username} is deleted, and all tokens with it.")


def _path(username: str) -> str:
    return f"/v1/users/{quote(username, safe='')}"


def _is_own_business(client: Client) -> bool:
    """Whether the caller is a user who may change nobody's password but their own."""
    me = client.request("GET", "/v1/me").json()
    return bool(me["is_user"] and (me["role"] != "admin" or me["namespace"] is not None))


def _new_password() -> str:
    return _read("New password", confirm=True)


def _read(prompt: str, *, confirm: bool) -> str:
    from api.client import UsageError  # noqa: PLC0415 - loaded when the command runs

    if sys.stdin.isatty():
        typed: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return typed
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError(f"{prompt}: standard input holds none; write it there as a line, or use a terminal")
    return line
