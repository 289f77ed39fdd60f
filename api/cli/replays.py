"""`timeball exec replay` and `exec diff`: runs done again, and what differs between two of them."""

from __future__ import annotations

from typing import Any, Final

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import exec_path, find_exec, local
from api.cli.run import making_options, overrides_of
from api.cli.tables import readable, show, table
from api.cli.watching import say_made, watch

_STATUSES: Final = {"W": "waiting", "R": "running", "S": "succeeded", "F": "failed", "C": "cancelled"}


@click.command()
@click.argument("exec_id", metavar="EXEC", shell_complete=completing.runs)
@making_options
@explained
def replay(
    exec_id: str,
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
    """Do a run again: the same image, command, variables, size and options, whatever its job says by now.

    EXEC is its id. The image is the very one that it ran, although its tag may mean another by now; --tag takes what
    a tag means now. The new run is followed like one of 'timeball run'.
    """
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    body = overrides_of(env=env, command=command, tag=tag, size=size)
    client = connect()
    earlier = find_exec(client, exec_id)
    path = exec_path(earlier) + "/replay"
    one = client.request("POST", path, query={"force": "true"} if force else None, body=body).json()
    name = earlier["job"]["name"]
    if not is_followed:
        say_made(one, name, as_json=as_json, quiet=quiet)
        return
    watch(client, one, name, times=times, raw=raw, as_json=as_json, quiet=quiet)


@click.command()
@click.argument("first", metavar="A", shell_complete=completing.runs)
@click.argument("second", metavar="B", shell_complete=completing.runs)
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@click.option("-q", "--quiet", is_flag=True, help="Print the names of what differs alone.")
@explained
def diff(first: str, second: str, *, as_json: bool, quiet: bool) -> None:
    """Show in what the run B differs from the run A: what it was to do, and what came of it.

    A and B are ids of runs. Secrets are told by their names.
    """
    from urllib.parse import quote  # noqa: PLC0415 - loaded when the command runs

    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

    path = "/".join(quote(one, safe="") for one in (first, "diff", second))
    found = connect().request("GET", f"/v1/execs/{path}").json()
    if as_json:
        show(found)
    elif quiet:
        click.echo("".join(f"{_name(one)}\n" for one in found["differences"]), nl=False)
    elif found["is_same"]:
        click.echo(
            "Nothing differs: image, command, variables, size, options, outcome and duration are alike."
        )
    else:
        a, b = found["a"], found["b"]
        rows = [
            {"": "job", "A": f"{a['job_name']} ({a['job']})", "B": f"{b['job_name']} ({b['job']})"},
            {"": "run", "A": a["id"], "B": b["id"]},
            {"": "made", "A": local(a["created_at"]), "B": local(b["created_at"])},
        ]
        rows += [
            {"": _name(one), "A": _shown(one["field"], one["a"]), "B": _shown(one["field"], one["b"])}
            for one in found["differences"]
        ]
        click.echo(table(("", "A", "B"), rows))


def _name(one: dict[str, Any]) -> str:
    return str(one["field"]) if one["name"] is None else f"{one['field']}.{one['name']}"


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
