"""`timeball exec …`: looks at runs, stops them and removes them, as a client of the API."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import click

from api.cli.failing import explained
from api.cli.references import When, exec_path, find_exec, find_job, local, unix
from api.cli.tables import show, table

STATUSES: Final = {"waiting": "W", "running": "R", "succeeded": "S", "failed": "F", "cancelled": "C"}
_WORDS: Final = {letter: word for word, letter in STATUSES.items()}

_json = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print ids alone, or nothing.")


@click.group(name="exec")
def exec_() -> None:
    """Look at runs, stop them, remove them."""


@exec_.command(name="list")
@click.option("--job", "reference", metavar="JOB", help="Only runs of this job, by its id or name.")
@click.option("--namespace", help="Only those of this namespace.")
@click.option("--status", type=click.Choice([*STATUSES]), multiple=True, help="Only those; can be repeated.")
@click.option("-l", "--label", multiple=True, metavar="NAME=VALUE", help="Only those with this label.")
@click.option("--since", type=When(), help="Only those made from then on: 2h (ago), or a moment.")
@click.option("--until", type=When(), help="Only those made up to then.")
@click.option("-n", "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@_json
@_quiet
@explained
def list_(
    *,
    reference: str | None,
    namespace: str | None,
    status: tuple[str, ...],
    label: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """List runs, the newest first."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    query: list[tuple[str, str]] = [("page_size", str(limit)), *(("label", one) for one in label)]
    if reference is not None:
        query.append(("job", str(find_job(client, reference, namespace)["id"])))
    if namespace is not None:
        query.append(("namespace", namespace))
    if status:
        query.append(("status", ",".join(STATUSES[one] for one in status)))
    if since is not None:
        query.append(("created_from", unix(since)))
    if until is not None:
        query.append(("created_to", unix(until)))
    found = client.request("GET", "/v1/execs", query=query).json()
    if as_json:
        show(found)
    elif quiet:
        click.echo("".join(f"{one['id']}\n" for one in found["results"]), nl=False)
    else:
        rows = [
            {
                "id": one["id"],
                "job": one["job_name"],
                "status": _WORDS[one["status"]],
                "made": local(one["created_at"]),
                "started": local(one["started_at"]),
                "took": _duration(one),
                "reason": one["waiting_for"] or one["error"],
            }
            for one in found["results"]
        ]
        click.echo(table(("id", "job", "status", "made", "started", "took", "reason"), rows))
        if found["next"] is not None:
            click.echo(f"There are more; -n {min(limit * 5, 1000)} or --since shows them.", err=True)


@exec_.command(name="show")
@click.argument("exec_id", metavar="EXEC")
@_json
@explained
def show_(exec_id: str, *, as_json: bool) -> None:
    """Show all that is known of a run. EXEC is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    one = find_exec(connect(), exec_id)
    if as_json:
        show(one)
        return
    width = max(map(len, one))
    for name, value in one.items():
        shown = f"{value['id']} ({value['name']})" if name == "job" else value
        text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
        click.echo(f"{name.ljust(width)}  {text}")


@exec_.command()
@click.argument("exec_id", metavar="EXEC")
@_json
@_quiet
@explained
def stop(exec_id: str, *, as_json: bool, quiet: bool) -> None:
    """Stop a run: SIGTERM, then SIGKILL after its grace period. EXEC is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    one = client.request("POST", exec_path(find_exec(client, exec_id)) + "/stop").json()
    if as_json:
        show(one)
    elif not quiet:
        click.echo(f"Run {one['id']} is asked to end.")


@exec_.command()
@click.argument("exec_id", metavar="EXEC")
@click.option("--force", is_flag=True, help="Stop it first if it has not ended.")
@_json
@_quiet
@explained
def delete(exec_id: str, *, force: bool, as_json: bool, quiet: bool) -> None:
    """Remove a run with its log. EXEC is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    one = find_exec(client, exec_id)
    client.request("DELETE", exec_path(one), query={"force": "true"} if force else None)
    if as_json:
        show({"deleted": one["id"]})
    elif not quiet:
        click.echo(f"Run {one['id']} is removed.")


def _duration(one: dict[str, Any]) -> str:
    took = one["duration"]
    if took is None:
        return ""
    return f"{took['hours']}:{took['minutes']:02d}:{took['seconds']:02d}"
