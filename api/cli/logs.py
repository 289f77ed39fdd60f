"""`timeball logs`: prints what a job or a run has written."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from api.cli.failing import explained
from api.cli.following import Following
from api.cli.printing import print_line
from api.cli.references import When, exec_path, find_exec, find_job, is_exec_id, unix
from api.cli.tables import show

if TYPE_CHECKING:
    from api.client import Client


@click.command()
@click.argument("reference", metavar="[JOB|EXEC]", required=False)
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on with what is written from now on.")
@click.option("--since", type=When(), help="Lines from then on: 2h (ago), or a moment.")
@click.option("--until", type=When(), help="Lines up to then.")
@click.option(
    "--stream", type=click.Choice(["stdout", "stderr", "system"]), help="Lines of this stream alone."
)
@click.option("--grep", metavar="REGEX", help="Lines in which this regular expression (RE2) matches.")
@click.option("-i", "--ignore-case", is_flag=True, help="Capital and small letters are the same for --grep.")
@click.option("-n", "--tail", type=click.IntRange(1, 10_000), help="The last so many lines.")
@click.option("--strip", is_flag=True, help="Without terminal sequences, such as colours.")
@click.option("-t", "--times", is_flag=True, help="Print the time of each line.")
@click.option("--namespace", help="The namespace: of the job, or whose lines are wanted if none is named.")
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
    times: bool,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Print the lines of a run, of all runs of a job, or of a namespace.

    EXEC is a run's id; JOB is an id or a name, and -f follows its newest run. Standard error and the daemon's own
    lines are printed on standard error.
    """
    from api.client import UsageError, connect  # noqa: PLC0415 - loaded when the command runs

    client = connect()
    flags = {"ignore_case": ignore_case and "true", "ansi": strip and "strip"}
    query = _query(since, until, stream, grep, tail) | {name: text for name, text in flags.items() if text}
    path, one = _log_of(client, reference, namespace)
    if reference is None and namespace is not None:
        query["namespace"] = namespace
    if not is_followed:
        with client.open("GET", path, query={**query, "format": "ndjson"}) as response:
            for raw in response:
                _print(json.loads(raw), times=times, run=True, as_json=as_json)
        return
    if one is None:
        raise UsageError("There is no run to follow: name a run, or a job that has been run")
    for kind, data in Following(client, exec_path(one) + "/logs", query).events():
        if kind == "line":
            _print(data, times=times, run=False, as_json=as_json)
        elif as_json:
            show(data)


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


def _print(line: dict[str, Any], *, times: bool, run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(line, ensure_ascii=False))
    else:
        print_line(line, times=times, run=run)
