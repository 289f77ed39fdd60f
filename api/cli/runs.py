"""`timeball runs …`: lists, shows, stops and deletes runs, as a client of the API. `timeball exec` is an alias."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import When, find_job, find_run, local, run_path, unix
from api.cli.replays import diff, replay
from api.cli.tables import limited, show, show_each, show_fields, table

if TYPE_CHECKING:
    from api.client import Client

F = TypeVar("F", bound=Callable[..., Any])
STATUSES: Final = {"waiting": "W", "running": "R", "succeeded": "S", "failed": "F", "cancelled": "C"}
_WORDS: Final = {letter: word for word, letter in STATUSES.items()}
#: The number of runs deleted with one request, so that progress can be shown.
BATCH: Final = 500
#: Seconds that the daemon may take to process many runs.
PATIENCE: Final = 600.0

_json = click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print only ids, or nothing.")


def _filters(command: F) -> F:
    """Add the options that select runs."""
    options = [
        click.option(
            "--job",
            "reference",
            metavar="JOB",
            help="Only runs of this job (id or name).",
            shell_complete=completing.jobs,
        ),
        click.option(
            "--namespace", help="Only runs in this namespace.", shell_complete=completing.namespaces
        ),
        click.option(
            "--status",
            type=click.Choice([*STATUSES]),
            multiple=True,
            help="Only runs with this status. Can be repeated.",
        ),
        click.option(
            "-l",
            "--label",
            multiple=True,
            metavar="NAME=VALUE",
            help="Only runs with this label. Can be repeated.",
        ),
        click.option(
            "--since", type=When(), help="Only runs created since then: 2h (ago), or a date and time."
        ),
        click.option("--until", type=When(), help="Only runs created until then."),
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
    """The filters as query parameters of the API."""
    query = [("label", text) for text in label]
    if reference is not None:
        query.append(("job", str(find_job(client, reference, namespace)["id"])))
    if namespace is not None:
        query.append(("namespace", namespace))
    if status:
        query.append(("status", ",".join(STATUSES[word] for word in status)))
    if since is not None:
        query.append(("created_from", unix(since)))
    if until is not None:
        query.append(("created_to", unix(until)))
    return query


@click.group(name="runs")
def runs() -> None:
    """List, show, stop, delete, replay and compare runs."""


runs.add_command(replay)
runs.add_command(diff)


@runs.command(name="list")
@_filters
@limited("runs")
@_json
@_quiet
@explained
def list_(*, limit: int, as_json: bool, quiet: bool, **wanted: Any) -> None:
    """List runs, newest first."""
    from api.client import connect

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
                "id": run["id"],
                "job": run["job_name"],
                "status": _WORDS[run["status"]],
                "created": local(run["created_at"]),
                "started": local(run["started_at"]),
                "duration": _duration(run),
                "reason": run["waiting_for"] or run["error"],
            }
            for run in found["results"]
        ]
        click.echo(
            table(
                ("id", "job", "status", "created", "started", "duration", "reason"),
                rows,
                spare=("started", "duration", "reason"),
            )
        )
        if found["next"] is not None:
            click.echo(
                f"There are more runs. Use -n {min(limit * 5, 1000)} or --since to see them.", err=True
            )


@runs.command(name="show")
@click.argument("run_id", metavar="RUN", shell_complete=completing.runs)
@_json
@explained
def show_(run_id: str, *, as_json: bool) -> None:
    """Show a run. RUN is its id."""
    from api.client import connect

    run = find_run(connect(), run_id)
    if as_json:
        show(run)
        return
    run["job"] = f"{run['job']['id']} ({run['job']['name']})"
    shown = {**run, "status": _WORDS[run["status"]], "duration": _duration(run)}
    first = ("id", "job", "status", "exit_code", "fail_reason", "error", "waiting_for", "trigger_mode")
    times = ("scheduled_for", "created_by", "created_at", "started_at", "ended_at", "duration")
    show_fields(shown, first=first + times)


@runs.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=completing.open_runs)
@_filters
@click.option("--all", "everything", is_flag=True, help="All runs that you are allowed to stop.")
@click.option("--dry-run", is_flag=True, help="List the runs without stopping them.")
@click.option("-y", "--yes", is_flag=True, help="Stop several runs without asking.")
@_json
@_quiet
@explained
def stop(
    run_id: str | None,
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Stop a run, or all runs that the options select.

    RUN is an id. Containers get SIGTERM, and SIGKILL after the grace period.
    """
    from api.client import connect

    client = connect()
    if _is_single(run_id, wanted, everything=everything, dry_run=dry_run):
        run = client.request("POST", run_path(find_run(client, run_id or "")) + "/stop").json()
        if as_json:
            show(run)
        elif not quiet:
            click.echo(f"Stopping run {run['id']}.")
        return
    query = [*_query_of(client, **wanted), *([("all", "true")] if everything else [])]
    path = "/v1/execs/stop"
    if not dry_run and not yes:
        found = client.request("POST", path, query=[*query, ("dry_run", "true")]).json()
        _confirm(f"Stop {_counted(found)}?", found["matched"])
    query += [("dry_run", "true")] if dry_run else []
    found = client.request("POST", path, query=query, timeout=PATIENCE).json()
    if not as_json and not quiet and not dry_run:
        click.echo(f"Stopping {_counted(found)}.")
    else:
        _print_matches(found, as_json=as_json)


@runs.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=completing.runs)
@_filters
@click.option("--all", "everything", is_flag=True, help="All ended runs that you are allowed to delete.")
@click.option("--dry-run", is_flag=True, help="List the runs without deleting them.")
@click.option("-y", "--yes", is_flag=True, help="Delete several runs without asking.")
@click.option("--force", is_flag=True, help="Stop RUN first if it has not ended.")
@_json
@_quiet
@explained
def delete(
    run_id: str | None,
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Delete a run and its log, or all ended runs that the options select. RUN is an id."""
    from api.client import UsageError, connect

    client = connect()
    if _is_single(run_id, wanted, everything=everything, dry_run=dry_run):
        run = find_run(client, run_id or "")
        client.request("DELETE", run_path(run), query={"force": "true"} if force else None)
        if as_json:
            show({"deleted": run["id"]})
        elif not quiet:
            click.echo(f"Deleted run {run['id']}.")
        return
    if force:
        raise UsageError(
            "--force works only with a single run. To delete several, stop them first with 'timeball runs stop'."
        )
    query = [*_query_of(client, **wanted), *([("all", "true")] if everything else [])]
    found = client.request("DELETE", "/v1/execs", query=[*query, ("dry_run", "true")]).json()
    if not dry_run:
        if not yes:
            _confirm(f"Delete {_counted(found)} with all logs?", found["matched"])
        found = _delete_many(client, query, found, hidden=as_json or quiet)
    if not as_json and not quiet and not dry_run:
        click.echo(f"Deleted {_counted(found)}.")
    else:
        _print_matches(found, as_json=as_json)


def _delete_many(
    client: Client, query: list[tuple[str, str]], found: dict[str, Any], *, hidden: bool
) -> dict[str, Any]:
    """Delete runs in batches; returns what a single request for all of them would return."""
    deleted: list[str] = []
    bar = click.progressbar(
        length=found["matched"], label="Deleting", file=sys.stderr, hidden=hidden or not sys.stderr.isatty()
    )
    query = [*query, ("limit", str(BATCH))]
    with bar:
        while True:
            batch = client.request("DELETE", "/v1/execs", query=query, timeout=PATIENCE).json()
            deleted += batch["execs"]
            bar.update(batch["matched"])
            if not batch["has_more"] or not batch["matched"]:
                return {**batch, "matched": len(deleted), "execs": deleted}


def _is_single(run_id: str | None, wanted: dict[str, Any], *, everything: bool, dry_run: bool) -> bool:
    """Whether a single run is named, rather than several selected by options.

    Raises:
        UsageError: both or neither.
    """
    from api.client import UsageError

    are_many = everything or any(wanted.values())
    if run_id is not None and (are_many or dry_run):
        raise UsageError("Name a single run or select runs with options, not both.")
    if run_id is None and not are_many:
        raise UsageError("No run is selected. Give an id, or select runs with --job, --status, … or --all.")
    return run_id is not None


def _confirm(question: str, matched: int) -> None:
    if matched:
        click.confirm(question, abort=True, err=True)


def _counted(found: dict[str, Any]) -> str:
    count = "1 run" if found["matched"] == 1 else f"{found['matched']} runs"
    return count + (" and more" if found["has_more"] else "")


def _print_matches(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show(found)
    else:
        click.echo("".join(f"{run_id}\n" for run_id in found["execs"]), nl=False)
        if found["has_more"]:
            click.echo("There are more runs.", err=True)


def _duration(run: dict[str, Any]) -> str:
    duration = run["duration"]
    if duration is None:
        return ""
    return f"{duration['hours']}:{duration['minutes']:02d}:{duration['seconds']:02d}"
