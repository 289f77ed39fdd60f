"""`timeball exec …`: looks at runs, stops them and removes them, as a client of the API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import When, exec_path, find_exec, find_job, local, unix
from api.cli.replays import diff, replay
from api.cli.tables import show, show_each, show_fields, table

if TYPE_CHECKING:
    from api.client import Client

F = TypeVar("F", bound=Callable[..., Any])
STATUSES: Final = {"waiting": "W", "running": "R", "succeeded": "S", "failed": "F", "cancelled": "C"}
_WORDS: Final = {letter: word for word, letter in STATUSES.items()}
#: So many are removed with one request, so that one sees how it goes on.
BATCH: Final = 500
#: Seconds that the daemon may take for many.
PATIENCE: Final = 600.0

_json = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print ids alone, or nothing.")


def _filters(command: F) -> F:
    """The options that say which runs are meant."""
    options = [
        click.option(
            "--job",
            "reference",
            metavar="JOB",
            help="Only runs of this job, by its id or name.",
            shell_complete=completing.jobs,
        ),
        click.option(
            "--namespace", help="Only those of this namespace.", shell_complete=completing.namespaces
        ),
        click.option(
            "--status", type=click.Choice([*STATUSES]), multiple=True, help="Only those; can be repeated."
        ),
        click.option(
            "-l", "--label", multiple=True, metavar="NAME=VALUE", help="Only those with this label."
        ),
        click.option("--since", type=When(), help="Only those made from then on: 2h (ago), or a moment."),
        click.option("--until", type=When(), help="Only those made up to then."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _query_of(
    client: Client,
    *,
    reference: str | None,
    namespace: str | None,
    status: tuple[str, ...],
    label: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> list[tuple[str, str]]:
    """The filters as the API takes them."""
    query = [("label", one) for one in label]
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
    return query


@click.group(name="exec")
def exec_() -> None:
    """Look at runs, do them again, compare them, stop them, remove them."""


exec_.add_command(replay)
exec_.add_command(diff)


@exec_.command(name="list")
@_filters
@click.option("-n", "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@_json
@_quiet
@explained
def list_(*, limit: int, as_json: bool, quiet: bool, **wanted: Any) -> None:
    """List runs, the newest first."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    query = [("page_size", str(limit)), *_query_of(client, **wanted)]
    found = client.request("GET", "/v1/execs", query=query).json()
    if as_json:
        show(found)
    elif quiet:
        show_each(found["results"])
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
        click.echo(
            table(
                ("id", "job", "status", "made", "started", "took", "reason"),
                rows,
                spare=("started", "took", "reason"),
            )
        )
        if found["next"] is not None:
            click.echo(f"There are more; -n {min(limit * 5, 1000)} or --since shows them.", err=True)


@exec_.command(name="show")
@click.argument("exec_id", metavar="EXEC", shell_complete=completing.runs)
@_json
@explained
def show_(exec_id: str, *, as_json: bool) -> None:
    """Show all that is known of a run. EXEC is its id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    one = find_exec(connect(), exec_id)
    if as_json:
        show(one)
        return
    one["job"] = f"{one['job']['id']} ({one['job']['name']})"
    shown = {**one, "status": _WORDS[one["status"]], "duration": _duration(one)}
    first = ("id", "job", "status", "exit_code", "fail_reason", "error", "waiting_for", "trigger_mode")
    times = ("scheduled_for", "created_by", "created_at", "started_at", "ended_at", "duration")
    show_fields(shown, first=first + times)


@exec_.command()
@click.argument("exec_id", metavar="[EXEC]", required=False, shell_complete=completing.open_runs)
@_filters
@click.option("--all", "everything", is_flag=True, help="All that you may stop.")
@click.option("--dry-run", is_flag=True, help="Only say which they are.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before many are stopped.")
@_json
@_quiet
@explained
def stop(
    exec_id: str | None,
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Stop a run, or all that the options choose: SIGTERM, then SIGKILL after the grace period. EXEC is an id."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    if _is_one(exec_id, wanted, everything=everything, dry_run=dry_run):
        one = client.request("POST", exec_path(find_exec(client, exec_id or "")) + "/stop").json()
        if as_json:
            show(one)
        elif not quiet:
            click.echo(f"Run {one['id']} is asked to end.")
        return
    query = [*_query_of(client, **wanted), *([("all", "true")] if everything else [])]
    path = "/v1/execs/stop"
    if not dry_run and not yes:
        found = client.request("POST", path, query=[*query, ("dry_run", "true")]).json()
        _confirm(f"Stop {_some(found)}?", found["matched"])
    query += [("dry_run", "true")] if dry_run else []
    found = client.request("POST", path, query=query, timeout=PATIENCE).json()
    if not as_json and not quiet and not dry_run:
        click.echo(f"Asked {_some(found)} to end.")
    else:
        _print_many(found, as_json=as_json)


@exec_.command()
@click.argument("exec_id", metavar="[EXEC]", required=False, shell_complete=completing.runs)
@_filters
@click.option("--all", "everything", is_flag=True, help="All that have ended and that you may remove.")
@click.option("--dry-run", is_flag=True, help="Only say which they are.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before many are removed.")
@click.option("--force", is_flag=True, help="Stop EXEC first if it has not ended.")
@_json
@_quiet
@explained
def delete(
    exec_id: str | None,
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Remove a run with its log, or all that have ended and that the options choose. EXEC is an id."""
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    if _is_one(exec_id, wanted, everything=everything, dry_run=dry_run):
        one = find_exec(client, exec_id or "")
        client.request("DELETE", exec_path(one), query={"force": "true"} if force else None)
        if as_json:
            show({"deleted": one["id"]})
        elif not quiet:
            click.echo(f"Run {one['id']} is removed.")
        return
    if force:
        raise UsageError("--force is for one run; stop others first: timeball exec stop")
    query = [*_query_of(client, **wanted), *([("all", "true")] if everything else [])]
    found = client.request("DELETE", "/v1/execs", query=[*query, ("dry_run", "true")]).json()
    if not dry_run:
        if not yes:
            _confirm(f"Remove {_some(found)} with all logs?", found["matched"])
        found = _delete_many(client, query, found, hidden=as_json or quiet)
    if not as_json and not quiet and not dry_run:
        click.echo(f"Removed {_some(found)}.")
    else:
        _print_many(found, as_json=as_json)


def _delete_many(
    client: Client, query: list[tuple[str, str]], found: dict[str, Any], *, hidden: bool
) -> dict[str, Any]:
    """Remove them part by part; answers as one request for all of them would."""
    gone: list[str] = []
    bar = click.progressbar(
        length=found["matched"], label="Removing", file=sys.stderr, hidden=hidden or not sys.stderr.isatty()
    )
    asked = [*query, ("limit", str(BATCH))]
    with bar:
        while True:
            some = client.request("DELETE", "/v1/execs", query=asked, timeout=PATIENCE).json()
            gone += some["execs"]
            bar.update(some["matched"])
            if not some["has_more"] or not some["matched"]:
                return {**some, "matched": len(gone), "execs": gone}


def _is_one(exec_id: str | None, wanted: dict[str, Any], *, everything: bool, dry_run: bool) -> bool:
    """Whether one run is meant, and not all that the options choose.

    Raises:
        UsageError: both are, or neither.
    """
    from api.client import UsageError  # noqa: PLC0415 - loaded when the command runs

    are_many = everything or any(wanted.values())
    if exec_id is not None and (are_many or dry_run):
        raise UsageError("Name a run, or choose runs with options; not both")
    if exec_id is None and not are_many:
        raise UsageError(
            "No run is named: give the id of one, or choose them with --job, --status, … or --all"
        )
    return exec_id is not None


def _confirm(question: str, matched: int) -> None:
    if matched:
        click.confirm(question, abort=True, err=True)


def _some(found: dict[str, Any]) -> str:
    many = "1 run" if found["matched"] == 1 else f"{found['matched']} runs"
    return many + (" and more" if found["has_more"] else "")


def _print_many(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show(found)
    else:
        click.echo("".join(f"{one}\n" for one in found["execs"]), nl=False)
        if found["has_more"]:
            click.echo("There are more.", err=True)


def _duration(one: dict[str, Any]) -> str:
    took = one["duration"]
    if took is None:
        return ""
    return f"{took['hours']}:{took['minutes']:02d}:{took['seconds']:02d}"
