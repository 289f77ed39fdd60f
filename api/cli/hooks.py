"""`timeball hook …`: who is told of how runs end, as a client of the API.

A secret is asked for without echo, or read from standard input; it is never an argument, which others could see.
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
from api.cli.tables import show, show_each, show_fields, table

if TYPE_CHECKING:
    from api.client import Client

F = TypeVar("F", bound=Callable[..., Any])
EVENTS: Final = ("job:start", "job:succeed", "job:fail", "job:cancel", "job:miss")
DELIVERY_STATUSES: Final = ("pending", "delivered", "failed")

_json = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print ids alone, or nothing.")
_id = click.argument("hook_id", metavar="HOOK", shell_complete=completing.hooks)


@click.group()
def hook() -> None:
    """Have a URL told of how runs end, and look whether it was."""


def _fields(command: F) -> F:
    """The options that say what a hook is."""
    options = [
        click.option("--url", help="Where events are posted."),
        click.option(
            "--job",
            "reference",
            metavar="JOB",
            help="The job that it watches, by its id or name.",
            shell_complete=completing.jobs,
        ),
        click.option(
            "--namespace",
            help="The namespace whose jobs it watches all; with --job, the job's.",
            shell_complete=completing.namespaces,
        ),
        click.option(
            "--event", "events", type=click.Choice(EVENTS), multiple=True, help="Of what; can be repeated."
        ),
        click.option("--active/--inactive", "is_active", default=None, help="Whether new events are sent."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@hook.command()
@click.argument("name")
@_fields
@click.option(
    "--secret", "is_signed", is_flag=True, help="Sign what is sent; the secret is asked for or read."
)
@_json
@_quiet
@explained
def create(name: str, *, is_signed: bool, as_json: bool, quiet: bool, **given: Any) -> None:
    """Have a URL told of a job's runs, or of all runs of a namespace: by default of those that succeed or fail.

    With --secret, what signs the deliveries is asked for, or read from standard input without the last line break.
    """
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    body = {"name": name, "events": ["job:succeed", "job:fail"], **_body(client, given)}
    for field, option in (("url", "--url"), ("subject", "--job or --namespace")):
        if field not in body:
            raise UsageError(
                f"{option} is missing: a hook needs a name, a --url, and a --job or a --namespace"
            )
    if is_signed:
        body["secret"] = _read_secret()
    _print(client.request("POST", "/v1/hooks", body=body).json(), "made", as_json=as_json, quiet=quiet)


@hook.command()
@_id
@click.option("--name", help="Its new name.")
@_fields
@click.option(
    "--secret/--no-secret",
    "is_signed",
    default=None,
    help="Sign with a new secret, which is asked for or read; or no more.",
)
@_json
@_quiet
@explained
def update(
    hook_id: str, name: str | None, *, is_signed: bool | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Change what is given of a hook, and keep the rest. HOOK is its id."""
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    body = _body(client, given) | ({"name": name} if name is not None else {})
    if is_signed is not None:
        body["secret"] = _read_secret() if is_signed else None
    if not body:
        raise UsageError("Nothing to change was given; 'timeball hook update --help' lists what can be")
    changed = client.request("PATCH", _path(hook_id), body=body).json()
    _print(changed, "changed", as_json=as_json, quiet=quiet)


@hook.command(name="list")
@click.option(
    "--job",
    "reference",
    metavar="JOB",
    help="Only those that watch this job, by its id or name.",
    shell_complete=completing.jobs,
)
@click.option(
    "--namespace",
    help="Only those that watch this namespace; with --job, the job's.",
    shell_complete=completing.namespaces,
)
@_json
@_quiet
@explained
def list_(reference: str | None, namespace: str | None, *, as_json: bool, quiet: bool) -> None:
    """List hooks, the oldest first."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
                "id": one["id"],
                "name": one["name"],
                "watches": f"{one['subject_type']} {one['subject']}",
                "events": " ".join(one["events"]),
                "active": one["is_active"],
                "signed": one["has_secret"],
                "url": one["url"],
            }
            for one in found
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
    """Show a hook; its secret is never shown. HOOK is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    found = connect().request("GET", _path(hook_id)).json()
    (show if as_json else show_fields)(found)


@hook.command()
@_id
@_json
@_quiet
@explained
def delete(hook_id: str, *, as_json: bool, quiet: bool) -> None:
    """Remove a hook with the list of its deliveries. HOOK is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    connect().request("DELETE", _path(hook_id))
    if as_json:
        show({"deleted": int(hook_id)})
    elif not quiet:
        click.echo(f"Hook {hook_id} is removed.")


@hook.command()
@_id
@_json
@_quiet
@explained
def test(hook_id: str, *, as_json: bool, quiet: bool) -> None:
    """Send a test now, and say what came of it: ends with 1 unless it was delivered. HOOK is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    found = connect().request("POST", _path(hook_id) + "/test").json()
    if as_json:
        show(found)
    elif not quiet:
        click.echo(f"Delivery {found['id']} is {found['status']}: {_outcome(found) or 'no answer yet'}.")
    sys.exit(0 if found["status"] == "delivered" else 1)


@hook.command()
@_id
@click.option("--status", type=click.Choice(DELIVERY_STATUSES), help="Only those that stand so.")
@click.option("-n", "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@_json
@_quiet
@explained
def deliveries(hook_id: str, *, status: str | None, limit: int, as_json: bool, quiet: bool) -> None:
    """List what was sent to a hook, the newest first, and what came of it. HOOK is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
            "delivery": one["id"],
            "event": one["event"],
            "at": local(one["event_time"]),
            "status": one["status"],
            "tries": len(one["attempts"]),
            "answer": _outcome(one),
            "next try": local(one["next_attempt_at"]),
        }
        for one in found["results"]
    ]
    click.echo(
        table(
            ("delivery", "event", "at", "status", "tries", "answer", "next try"),
            rows,
            spare=("next try", "tries", "event"),
        )
    )
    if found["next"] is not None:
        click.echo(f"There are {found['count']} in all; -n or --status choose among them.", err=True)


@hook.command()
@_id
@click.argument("delivery_id", metavar="DELIVERY")
@_json
@_quiet
@explained
def redeliver(hook_id: str, delivery_id: str, *, as_json: bool, quiet: bool) -> None:
    """Send a delivery once more, as it was. HOOK and DELIVERY are ids; 'timeball hook deliveries' lists them."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    path = f"{_path(hook_id)}/deliveries/{quote(delivery_id, safe='')}/redeliver"
    found = connect().request("POST", path).json()
    if as_json:
        show(found)
    elif not quiet:
        click.echo(f"Delivery {found['id']} will be sent once more.")


def _path(hook_id: str) -> str:
    return f"/v1/hooks/{quote(hook_id, safe='')}"


def _subject(client: Client, reference: str | None, namespace: str | None) -> dict[str, Any]:
    """What a hook watches, as the API takes it; empty if that is not given."""
    if reference is not None:
        return {"subject_type": "job", "subject": find_job(client, reference, namespace)["id"]}
    return {} if namespace is None else {"subject_type": "namespace", "subject": namespace}


def _body(client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """The fields that options name, as the API takes them."""
    body = _subject(client, given["reference"], given["namespace"])
    body |= {name: given[name] for name in ("url", "is_active") if given[name] is not None}
    return body | ({"events": list(given["events"])} if given["events"] else {})


def _read_secret() -> str:
    from api.client import UsageError  # noqa: PLC0415 - loaded when the command runs

    if sys.stdin.isatty():
        typed: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    secret = sys.stdin.read().removesuffix("\n")
    if not secret:
        raise UsageError("Secret: standard input holds none; write it there, or use a terminal")
    return secret


def _outcome(delivery: dict[str, Any]) -> str:
    """What the last try came to, for people."""
    if not delivery["attempts"]:
        return delivery["reason"] or ""
    last = delivery["attempts"][-1]
    answered = f"HTTP {last['status_code']}" if last["status_code"] is not None else ""
    return ", ".join(part for part in (answered, last["error"]) if part)


def _print(found: dict[str, Any], what: str, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        show(found)
    elif quiet:
        click.echo(found["id"])
    else:
        events = ", ".join(found["events"])
        click.echo(
            f"Hook {found['id']} '{found['name']}' is {what}: {found['url']} is told of {events} "
            f"of {found['subject_type']} {found['subject']}{'' if found['is_active'] else ', once it is active'}."
        )
