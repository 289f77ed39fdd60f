"""`timeball token …`: creates, lists and revokes access tokens, as a client of the API."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from api.cli.failing import explained
from api.cli.references import UNITS, local
from api.cli.tables import all_pages, show, show_each, table

ROLES: Final = ("viewer", "operator", "editor", "admin")


class Duration(click.ParamType[int]):
    """A number with a unit, converted to seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The duration in seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,9})([smhdw])", value, re.ASCII)
        if match is None:
            self.fail(
                f"{value!r} is not a duration. Use a number with s, m, h, d or w, such as 30d.", param, ctx
            )
        return int(match[1]) * UNITS[match[2]]


_quiet = click.option("-q", "--quiet", is_flag=True, help="Print only tokens or ids, or nothing.")


@click.group()
def token() -> None:
    """Create, list and revoke access tokens."""


@token.command()
@click.option("--name", default="", help="A name that is shown in lists.")
@click.option(
    "--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="The token's role."
)
@click.option("--namespace", help="Limit the token to this namespace. Default: the caller's namespace.")
@click.option("--user", "username", help="The user who owns the token. Deleting the user revokes it.")
@click.option(
    "--expires-in", type=Duration(), metavar="DURATION", help="How long the token is valid, such as 30d."
)
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@_quiet
@explained
def create(
    name: str,
    role: str,
    namespace: str | None,
    username: str | None,
    expires_in: int | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Create a token and print it.

    The token cannot be shown again.
    """
    from api.client import connect

    given = {"name": name, "role": role, "namespace": namespace, "username": username}
    body: dict[str, Any] = {key: value for key, value in given.items() if value}
    if expires_in is not None:
        body["expires_in_seconds"] = expires_in
    created = connect().request("POST", "/v1/tokens", body=body).json()
    if as_json:
        show(created)
        return
    click.echo(created["token"])
    if quiet:
        return
    where = f"namespace {created['namespace']}" if created["namespace"] else "all namespaces"
    until = f"until {local(created['expires_at'])}" if created["expires_at"] else "until revoked"
    click.echo(
        f"Created token {created['id']}: {created['role']} in {where}, valid {until}. It cannot be shown again.",
        err=True,
    )


@token.command(name="list")
@click.option("--namespace", help="Only tokens limited to this namespace.")
@click.option("--user", "username", help="Only tokens of this user.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@_quiet
@explained
def list_(namespace: str | None, username: str | None, *, as_json: bool, quiet: bool) -> None:
    """List tokens, without their secret part."""
    from api.client import connect

    query = {key: value for key, value in (("namespace", namespace), ("username", username)) if value}
    found = all_pages(connect(), "/v1/tokens", query)
    if as_json:
        show(found)
        return
    if quiet:
        show_each(found["results"])
        return
    columns = ("id", "prefix", "name", "username", "role", "namespace", "kind", "expires_at", "last_used_at")
    click.echo(table(columns, found["results"], spare=("last_used_at", "kind", "username")))


@token.command()
@click.argument("token_id", metavar="ID", type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_quiet
@explained
def revoke(token_id: int, *, as_json: bool, quiet: bool) -> None:
    """Revoke the token with this ID.

    Run `timeball token list` to see the ids.
    """
    from api.client import connect

    connect().request("DELETE", f"/v1/tokens/{token_id}")
    if as_json:
        show({"revoked": token_id})
    elif not quiet:
        click.echo(f"Revoked token {token_id}.")
