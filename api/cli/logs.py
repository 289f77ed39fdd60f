"""`timeball logs`: prints what a job or a run has written."""

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
from api.cli.references import When, exec_path, find_exec, find_job, is_exec_id, unix
from api.cli.saving import check_place, save

if TYPE_CHECKING:
    from api.client import Client


@click.command()
@click.argument("reference", metavar="[JOB|EXEC]", required=False, shell_complete=completing.jobs_and_runs)
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with what is written from now on.")
@click.option("--since", type=When(), help="Lines from then on: 2h (ago), or a moment.")
@click.option("--until", type=When(), help="Lines up to then.")
@click.option(
    "--stream", type=click.Choice(["stdout", "stderr", "system"]), help="Lines of this stream alone."
)
@click.option("--grep", metavar="REGEX", help="Lines in which this regular expression (RE2) matches.")
@click.option("-i", "--ignore-case", is_flag=True, help="Capital and small letters are the same for --grep.")
@click.option("-n", "--tail", type=click.IntRange(1, 10_000), help="The last so many lines.")
@click.option("--strip", is_flag=True, help="Without terminal sequences, such as colours, also for --grep.")
@click.option("--raw", is_flag=True, help="Print lines as they are, also what steers a terminal.")
@click.option("-t", "--times", is_flag=True, help="Print the time of each line.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the lines to a file, as they were printed.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--namespace",
    help="The namespace: of the job, or whose lines are wanted if none is named.",
    shell_complete=completing.namespaces,
)
@click.option("--json", "as_json", is_flag=True, help="Print each line as the API gives it, as JSON.")
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
    """Print the lines of a run, of all runs of a job, or of a namespace.

    EXEC is a run's id; JOB is an id or a name, and -f follows its newest run. Standard error and the daemon's own
    lines are printed on standard error. A terminal gets the colours of a line but nothing else that would steer it;
    pipes, and terminals with NO_COLOR, get plain text.
    """
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    flags = {"ignore_case": ignore_case and "true", "ansi": strip and "strip"}
    query = _query(since, until, stream, grep, tail) | {name: text for name, text in flags.items() if text}
    path, one = _log_of(client, reference, namespace)
    if reference is None and namespace is not None:
        query["namespace"] = namespace
    if output is not None:
        if is_followed:
            raise UsageError("--output writes what is there; give it or --follow, not both")
        if as_json:
            query["format"] = "ndjson"
        _export(client, path, query, output, force=force)
        return
    if is_followed:
        _follow(client, one, query, times=times, raw=raw, as_json=as_json)
        return
    with client.open("GET", path, query={**query, "format": "ndjson"}) as response:
        for text in response:
            _print(json.loads(text), times=times, run=True, raw=raw, as_json=as_json)


def _follow(
    client: Client,
    one: dict[str, Any] | None,
    query: dict[str, str],
    *,
    times: bool,
    raw: bool,
    as_json: bool,
) -> None:
    from api.client import UsageError  # noqa: PLC0415 - loaded already

    if one is None:
        raise UsageError("There is no run to follow: name a run, or a job that has been run")
    for kind, data in Following(client, exec_path(one) + "/logs", query).events():
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
    """Where the log is, and the run to follow, if there is one."""
    if reference is None:
        return "/v1/logs", None
    if is_exec_id(reference):
        one = find_exec(client, reference)
        return exec_path(one) + "/logs", one
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
