"""`timeball logs`: prints or follows the log of a run, a job or a namespace."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.following import Following
from api.cli.printing import print_line
from api.cli.references import When, find_job, find_run, is_run_id, run_path, unix
from api.cli.saving import check_place, save

if TYPE_CHECKING:
    from api.client import Client


@click.command()
@click.argument("reference", metavar="[JOB|RUN]", required=False, shell_complete=completing.jobs_and_runs)
@click.option(
    "-f", "--follow", "is_followed", is_flag=True, help="Keep printing new lines until the run ends."
)
@click.option("--since", type=When(), help="Only lines since then: 2h (ago), or a date and time.")
@click.option("--until", type=When(), help="Only lines until then.")
@click.option(
    "--stream", type=click.Choice(["stdout", "stderr", "system"]), help="Only lines of this stream."
)
@click.option("--grep", metavar="REGEX", help="Only lines that match this regular expression (RE2).")
@click.option("-i", "--ignore-case", is_flag=True, help="Ignore case in --grep.")
@click.option("-n", "--tail", type=click.IntRange(1, 10_000), help="Only this number of lines from the end.")
@click.option(
    "--strip", is_flag=True, help="Remove terminal sequences such as colors, before --grep as well."
)
@click.option("--raw", is_flag=True, help="Print lines unchanged, including terminal control sequences.")
@click.option("-t", "--times", is_flag=True, help="Print the time of each line.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the lines to a file, unchanged.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--namespace",
    help="The job's namespace; without JOB or RUN, print the lines of this namespace.",
    shell_complete=completing.namespaces,
)
@click.option("--json", "as_json", is_flag=True, help="Print each line as JSON, as the API returns it.")
@explained
def logs(
    reference: str | None,
    *,
    is_followed: bool,
    since: datetime | None,
    until: datetime | None,
    stream: str | None,
    grep: str | None,
    ignore_case: bool,
    tail: int | None,
    strip: bool,
    raw: bool,
    times: bool,
    output: Path | None,
    force: bool,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Print the log of a run, of all runs of a job, or of a namespace.

    RUN is a run's id. JOB is a job's id or name; with -f, its newest run is followed. Lines that the run wrote to
    standard error, and lines of the daemon, go to standard error. On a terminal, colors are kept and other control
    sequences are removed. Pipes, and terminals with NO_COLOR set, get plain text.
    """
    from api.client import UsageError, connect

    client = connect()
    flags = {"ignore_case": ignore_case and "true", "ansi": strip and "strip"}
    query = _query(since, until, stream, grep, tail) | {name: text for name, text in flags.items() if text}
    path, run = _log_of(client, reference, namespace)
    if reference is None and namespace is not None:
        query["namespace"] = namespace
    if output is not None:
        if is_followed:
            raise UsageError("--output and --follow cannot be combined. Use one of them.")
        if as_json:
            query["format"] = "ndjson"
        _export(client, path, query, output, force=force)
        return
    if is_followed:
        _follow(client, run, query, times=times, raw=raw, as_json=as_json)
        return
    with client.open("GET", path, query={**query, "format": "ndjson"}) as response:
        for text in response:
            _print(json.loads(text), times=times, run=True, raw=raw, as_json=as_json)


def _follow(
    client: Client,
    run: dict[str, Any] | None,
    query: dict[str, str],
    *,
    times: bool,
    raw: bool,
    as_json: bool,
) -> None:
    from api.client import UsageError

    if run is None:
        raise UsageError("There is no run to follow. Name a run, or a job that has at least one run.")
    for kind, data in Following(client, run_path(run) + "/logs", query).events():
        if kind == "line":
            _print(data, times=times, run=False, raw=raw, as_json=as_json)
        elif as_json:
            click.echo(json.dumps(data, ensure_ascii=False))


def _export(client: Client, path: str, query: dict[str, str], file: Path, *, force: bool) -> None:
    check_place(file, force=force)
    size, _ = save(
        client.open("GET", path + "/export", query=query), file, client.url, force=force, quiet=False
    )
    click.echo(f"{file}: {size} bytes", err=True)


def _log_of(
    client: Client, reference: str | None, namespace: str | None
) -> tuple[str, dict[str, Any] | None]:
    """The API path of the log, and the run to follow, if there is one."""
    if reference is None:
        return "/v1/logs", None
    if is_run_id(reference):
        run = find_run(client, reference)
        return run_path(run) + "/logs", run
    job = find_job(client, reference, namespace)
    last = job["last_exec"]
    return f"/v1/jobs/{job['id']}/logs", last and {"job": job["id"], **last}


def _query(
    since: datetime | None, until: datetime | None, stream: str | None, grep: str | None, tail: int | None
) -> dict[str, str]:
    given = {
        "start_time": since and unix(since),
        "end_time": until and unix(until),
        "stream": stream,
        "regex": grep,
        "tail": tail and str(tail),
    }
    return {name: value for name, value in given.items() if value}


def _print(line: dict[str, Any], *, times: bool, run: bool, raw: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(line, ensure_ascii=False))
    else:
        print_line(line, times=times, run=run, raw=raw)
