"""`timeball hook …`: manages webhooks and their deliveries, as a client of the API.

A secret is prompted for without echo, or read from standard input. It is never an argument, which other users of the
machine could see.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import find_job, local
from api.cli.tables import limited, show, show_each, show_fields, table

if TYPE_CHECKING:
    from api.client import Client

F = TypeVar("F", bound=Callable[..., Any])
EVENTS: Final = ("job:start", "job:succeed", "job:fail", "job:cancel", "job:miss")
DELIVERY_STATUSES: Final = ("pending", "delivered", "failed")

_json = click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print only ids, or nothing.")
_id = click.argument("hook_id", metavar="HOOK", shell_complete=completing.hooks)


@click.group()
def hook() -> None:
    """Manage webhooks and their deliveries.

    A webhook posts an event to a URL when a run starts or ends, or when a due time is missed.
    """


def _fields(command: F) -> F:
    """Add the options that define a webhook."""
    options = [
        click.option("--url", help="The URL that events are posted to."),
        click.option(
            "--job",
            "reference",
            metavar="JOB",
            help="Send the events of this job (id or name).",
            shell_complete=completing.jobs,
        ),
        click.option(
            "--namespace",
            help="Send the events of all jobs in this namespace. With --job: the job's namespace.",
            shell_complete=completing.namespaces,
        ),
        click.option(
            "--event",
            "events",
            type=click.Choice(EVENTS),
            multiple=True,
            help="Send this event. Can be repeated.",
        ),
        click.option("--active/--inactive", "is_active", default=None, help="Switch the webhook on or off."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@hook.command()
@click.argument("name")
@_fields
@click.option(
    "--secret",
    "is_signed",
    is_flag=True,
    help="Sign deliveries with a secret that is prompted for, or read from standard input.",
)
@_json
@_quiet
@explained
def create(name: str, *, is_signed: bool, as_json: bool, quiet: bool, **given: Any) -> None:
    """Create a webhook for the runs of a job or of a namespace.

    By default, it sends an event when a run succeeds or fails. With --secret, deliveries are signed; the secret is
    prompted for, or read from standard input without its last line break.
    """
    from api.client import UsageError, connect

    client = connect()
    body = {"name": name, "events": ["job:succeed", "job:fail"], **_body(client, given)}
    for field, option in (("url", "--url"), ("subject", "--job or --namespace")):
        if field not in body:
            raise UsageError(
                f"{option} is missing. A webhook requires a name, --url, and --job or --namespace."
            )
    if is_signed:
        body["secret"] = _read_secret()
    _print(client.request("POST", "/v1/hooks", body=body).json(), "Created", as_json=as_json, quiet=quiet)


@hook.command()
@_id
@click.option("--name", help="The new name.")
@_fields
@click.option(
    "--secret/--no-secret",
    "is_signed",
    default=None,
    help="Sign deliveries with a new secret, which is prompted for or read; or stop signing.",
)
@_json
@_quiet
@explained
def update(
    hook_id: str, name: str | None, *, is_signed: bool | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Update a webhook. HOOK is its id.

    Only the given fields change.
    """
    from api.client import UsageError, connect

    client = connect()
    body = _body(client, given) | ({"name": name} if name is not None else {})
    if is_signed is not None:
        body["secret"] = _read_secret() if is_signed else None
    if not body:
        raise UsageError("Nothing to change. Run 'timeball hook update --help' for the options.")
    updated = client.request("PATCH", _path(hook_id), body=body).json()
    _print(updated, "Updated", as_json=as_json, quiet=quiet)


@hook.command(name="list")
@click.option(
    "--job",
    "reference",
    metavar="JOB",
    help="Only webhooks of this job (id or name).",
    shell_complete=completing.jobs,
)
@click.option(
    "--namespace",
    help="Only webhooks of this namespace. With --job: the job's namespace.",
    shell_complete=completing.namespaces,
)
@_json
@_quiet
@explained
def list_(reference: str | None, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """List webhooks, oldest first."""
    from api.client import connect

    client = connect()
    query = {name: str(value) for name, value in _subject(client, reference, namespace).items()}
    found = client.request("GET", "/v1/hooks", query=query).json()
    if as_json:
        show(found)
    elif quiet:
        show_each(found)
    else:
        rows = [
            {
                "id": listed["id"],
                "name": listed["name"],
                "watches": f"{listed['subject_type']} {listed['subject']}",
                "events": " ".join(listed["events"]),
                "active": listed["is_active"],
                "signed": listed["has_secret"],
                "url": listed["url"],
            }
            for listed in found
        ]
        click.echo(
            table(
                ("id", "name", "watches", "events", "active", "signed", "url"),
                rows,
                spare=("signed", "events"),
            )
        )


@hook.command(name="show")
@_id
@_json
@explained
def show_(hook_id: str, *, as_json: bool) -> None:
    """Show a webhook, without its secret. HOOK is its id."""
    from api.client import connect

    found = connect().request("GET", _path(hook_id)).json()
    (show if as_json else show_fields)(found)


@hook.command()
@_id
@_json
@_quiet
@explained
def delete(hook_id: str, *, as_json: bool, quiet: bool) -> None:
    """Delete a webhook and its list of deliveries. HOOK is its id."""
    from api.client import connect

    connect().request("DELETE", _path(hook_id))
    if as_json:
        show({"deleted": int(hook_id)})
    elif not quiet:
        click.echo(f"Deleted webhook {hook_id}.")


@hook.command()
@_id
@_json
@_quiet
@explained
def test(hook_id: str, *, as_json: bool, quiet: bool) -> None:
    """Send a test event and print the result. HOOK is its id.

    Exits with 1 if the event is not delivered.
    """
    from api.client import connect

    found = connect().request("POST", _path(hook_id) + "/test").json()
    if as_json:
        show(found)
    elif not quiet:
        click.echo(f"Delivery {found['id']} is {found['status']}: {_outcome(found) or 'no response yet'}.")
    sys.exit(0 if found["status"] == "delivered" else 1)


@hook.command()
@_id
@click.option("--status", type=click.Choice(DELIVERY_STATUSES), help="Only deliveries with this status.")
@limited("deliveries")
@_json
@_quiet
@explained
def deliveries(hook_id: str, *, status: str | None, limit: int, as_json: bool, quiet: bool) -> None:
    """List a webhook's deliveries and their results, newest first. HOOK is its id."""
    from api.client import connect

    query = {"page_size": str(limit)} | ({"status": status} if status else {})
    found = connect().request("GET", _path(hook_id) + "/deliveries", query=query).json()
    if as_json:
        show(found)
        return
    if quiet:
        show_each(found["results"])
        return
    rows = [
        {
            "delivery": delivery["id"],
            "event": delivery["event"],
            "at": local(delivery["event_time"]),
            "status": delivery["status"],
            "attempts": len(delivery["attempts"]),
            "response": _outcome(delivery),
            "next attempt": local(delivery["next_attempt_at"]),
        }
        for delivery in found["results"]
    ]
    click.echo(
        table(
            ("delivery", "event", "at", "status", "attempts", "response", "next attempt"),
            rows,
            spare=("next attempt", "attempts", "event"),
        )
    )
    if found["next"] is not None:
        click.echo(
            f"There are {found['count']} deliveries in total. Use -n or --status to see others.", err=True
        )


@hook.command()
@_id
@click.argument("delivery_id", metavar="DELIVERY")
@_json
@_quiet
@explained
def redeliver(hook_id: str, delivery_id: str, *, as_json: bool, quiet: bool) -> None:
    """Send a delivery again, unchanged.

    HOOK and DELIVERY are ids. Run 'timeball hook deliveries' to see them.
    """
    from api.client import connect

    path = f"{_path(hook_id)}/deliveries/{quote(delivery_id, safe='')}/redeliver"
    found = connect().request("POST", path).json()
    if as_json:
        show(found)
    elif not quiet:
        click.echo(f"Delivery {found['id']} will be sent again.")


def _path(hook_id: str) -> str:
    return f"/v1/hooks/{quote(hook_id, safe='')}"


def _subject(client: Client, reference: str | None, namespace: str | None) -> dict[str, Any]:
    """The job or namespace that a webhook watches, as API fields; empty if neither is given."""
    if reference is not None:
        return {"subject_type": "job", "subject": find_job(client, reference, namespace)["id"]}
    return {} if namespace is None else {"subject_type": "namespace", "subject": namespace}


def _body(client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """The fields set by options, as the API expects them."""
    body = _subject(client, given["reference"], given["namespace"])
    body |= {name: given[name] for name in ("url", "is_active") if given[name] is not None}
    return body | ({"events": list(given["events"])} if given["events"] else {})


def _read_secret() -> str:
    from api.client import UsageError

    if sys.stdin.isatty():
        typed: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    secret = sys.stdin.read().removesuffix("\n")
    if not secret:
        raise UsageError("The secret is missing on standard input. Write it there, or use a terminal.")
    return secret


def _outcome(delivery: dict[str, Any]) -> str:
    """The result of the last attempt, for people."""
    if not delivery["attempts"]:
        return delivery["reason"] or ""
    last = delivery["attempts"][-1]
    answered = f"HTTP {last['status_code']}" if last["status_code"] is not None else ""
    return ", ".join(part for part in (answered, last["error"]) if part)


def _print(found: dict[str, Any], done: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        show(found)
    elif quiet:
        click.echo(found["id"])
    else:
        click.echo(
            f"{done} webhook {found['id']} '{found['name']}': sends {', '.join(found['events'])} "
            f"of {found['subject_type']} {found['subject']} to {found['url']}"
            f"{'' if found['is_active'] else ' once it is active'}."
        )
