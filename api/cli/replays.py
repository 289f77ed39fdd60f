"""`timeball runs replay` and `runs diff`: repeats a run, and compares two runs."""

from __future__ import annotations

from typing import Any, Final

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import find_run, local, run_path
from api.cli.run import overrides_of, run_options
from api.cli.tables import readable, show, table
from api.cli.watching import print_created, watch

_STATUSES: Final = {"W": "waiting", "R": "running", "S": "succeeded", "F": "failed", "C": "cancelled"}


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=completing.runs)
@run_options
@explained
def replay(
    run_id: str,
    *,
    is_followed: bool,
    env: tuple[str, ...],
    command: str | None,
    tag: str | None,
    size: str | None,
    force: bool,
    times: bool,
    raw: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Repeat a run with its original image, command, variables, size and options. RUN is its id.

    Later changes to the job have no effect. The replay uses the exact image of the original run, even if its tag has
    moved since; with --tag, the tag is resolved again. The new run is followed as with 'timeball run'.
    """
    from api.client import connect

    body = overrides_of(env=env, command=command, tag=tag, size=size)
    client = connect()
    original = find_run(client, run_id)
    path = run_path(original) + "/replay"
    run = client.request("POST", path, query={"force": "true"} if force else None, body=body).json()
    name = original["job"]["name"]
    if not is_followed:
        print_created(run, name, as_json=as_json, quiet=quiet)
        return
    watch(client, run, name, times=times, raw=raw, as_json=as_json, quiet=quiet)


@click.command()
@click.argument("first", metavar="A", shell_complete=completing.runs)
@click.argument("second", metavar="B", shell_complete=completing.runs)
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the names of the fields that differ.")
@explained
def diff(first: str, second: str, *, as_json: bool, quiet: bool) -> None:
    """Compare the runs A and B: their definitions and their outcomes.

    A and B are run ids. Secrets are compared by name.
    """
    from urllib.parse import quote

    from api.client import connect

    path = "/".join(quote(part, safe="") for part in (first, "diff", second))
    found = connect().request("GET", f"/v1/execs/{path}").json()
    if as_json:
        show(found)
    elif quiet:
        click.echo("".join(f"{_name(difference)}\n" for difference in found["differences"]), nl=False)
    elif found["is_same"]:
        click.echo(
            "No differences: image, command, variables, size, options, outcome and duration are the same."
        )
    else:
        a, b = found["a"], found["b"]
        rows = [
            {"": "job", "A": f"{a['job_name']} ({a['job']})", "B": f"{b['job_name']} ({b['job']})"},
            {"": "run", "A": a["id"], "B": b["id"]},
            {"": "created", "A": local(a["created_at"]), "B": local(b["created_at"])},
        ]
        rows += [
            {
                "": _name(difference),
                "A": _shown(difference["field"], difference["a"]),
                "B": _shown(difference["field"], difference["b"]),
            }
            for difference in found["differences"]
        ]
        click.echo(table(("", "A", "B"), rows))


def _name(difference: dict[str, Any]) -> str:
    field, name = difference["field"], difference["name"]
    return str(field) if name is None else f"{field}.{name}"


def _shown(field: str, value: Any) -> str:
    if field == "status":
        return _STATUSES.get(value, str(value))
    if field == "duration" and value is not None:
        return f"{value // 3600}:{value // 60 % 60:02d}:{value % 60:02d}"
    if field == "memory_bytes" and value is not None:
        return f"{value >> 20} MiB"
    if isinstance(value, dict) and set(value) == {"secret"}:
        return f"secret {value['secret']}"
    return '""' if value == "" else readable(value)
