"""`timeball token …`: hands out tokens and takes them back, as a client of the API."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from api.cli.failing import explained
from api.cli.references import UNITS, local
from api.cli.tables import all_pages, show, show_each, table

ROLES: Final = ("viewer", "operator", "editor", "admin")


class Duration(click.ParamType[int]):
    """A number with a unit, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,9})([smhdw])", value, re.ASCII)
        if match is None:
            self.fail(
                f"{value!r} is no duration: write a number with s, m, h, d or w, such as 30d", param, ctx
            )
        return int(match[1]) * UNITS[match[2]]


_quiet = click.option("-q", "--quiet", is_flag=True, help="Print what is needed alone, or nothing.")


@click.group()
def token() -> None:
    """Hand out access tokens and take them back."""


@token.command()
@click.option("--name", default="", help="What it is for, shown in lists.")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it may do.")
@click.option("--namespace", help="The namespace that it is bound to; the caller's own if not given.")
@click.option("--user", "username", help="The user whose it is, and with whom it ends.")
@click.option(
    "--expires-in", type=Duration(), metavar="DURATION", help="When it ends by itself, such as 30d."
)
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
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
    """Make a token and print it, this once."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    given = {"name": name, "role": role, "namespace": namespace, "username": username}
    body: dict[str, Any] = {key: value for key, value in given.items() if value}
    if expires_in is not None:
        body["expires_in_seconds"] = expires_in
    made = connect().request("POST", "/v1/tokens", body=body).json()
    if as_json:
        show(made)
        return
    click.echo(made["token"])
    if quiet:
        return
    where = f"namespace {made['namespace']}" if made["namespace"] else "all namespaces"
    until = f"until {local(made['expires_at'])}" if made["expires_at"] else "until it is revoked"
    click.echo(f"Token {made['id']}: {made['role']} in {where}, {until}. It is not shown again.", err=True)


@token.command(name="list")
@click.option("--namespace", help="Only those bound to this namespace.")
@click.option("--user", "username", help="Only this user's.")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@_quiet
@explained
def list_(namespace: str | None, username: str | None, *, as_json: bool, quiet: bool) -> None:
    """List tokens, without their secrets."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
    """End the token of that ID, as `timeball token list` shows it."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    connect().request("DELETE", f"/v1/tokens/{token_id}")
    if as_json:
        show({"revoked": token_id})
    elif not quiet:
        click.echo(f"Token {token_id} is revoked.")
