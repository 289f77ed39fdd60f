"""`timeball import`: takes over jobs of other schedulers, in the form of `timeball apply`.

Reads a file, and prints the jobs; on standard error stands, line by line, what cannot be carried over. With `--apply`
it is a client of the API.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.cli.failing import explained

if TYPE_CHECKING:
    from api.cli.importing.result import Imported

_FORMATS = ("crontab", "chronos", "cronjob", "ofelia")


@click.command(name="import")
@click.argument("file")
@click.option("--from", "form", type=click.Choice(_FORMATS), help="What FILE is; found out if not given.")
@click.option("--namespace", help="The namespace of jobs whose file names none.")
@click.option(
    "--timezone", metavar="ZONE", help="The zone of schedules whose file names none, such as Europe/Berlin."
)
@click.option("--size", help="The resource size of jobs of whose needs the file says nothing.")
@click.option("--inactive", is_flag=True, help="Leave all schedules switched off.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to; else standard output.")
@click.option("--apply", "is_applied", is_flag=True, help="Create and change the jobs right away.")
@click.option("--dry-run", is_flag=True, help="With --apply: change nothing; show what would be changed.")
@click.option("--json", "as_json", is_flag=True, help="Print jobs and notes, for programs.")
@explained
def import_(
    file: str, form: str | None, namespace: str | None, output: Path | None, *,
    is_applied: bool, dry_run: bool, as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """Take over jobs of other schedulers, out of FILE or standard input (-).

    FILE is a crontab whose lines are 'docker run', Chronos' JSON, CronJobs of Kubernetes, or Ofelia's INI, Compose
    file or 'docker inspect'. Prints the jobs in the form that 'timeball apply' reads, and on standard error what
    cannot be carried over.
    """
    # Loaded when the command runs.
    from api.cli.declaring.documents import DocumentError, decoded  # noqa: PLC0415
    from api.cli.files import read_all, write_whole  # noqa: PLC0415
    from api.cli.importing.detect import Format, read  # noqa: PLC0415
    from api.cli.importing.finish import Choices, finish  # noqa: PLC0415
    from api.cli.importing.result import FormatError  # noqa: PLC0415
    from api.client import UsageError  # noqa: PLC0415

    if dry_run and not is_applied:
        raise UsageError("--dry-run is for --apply: without it, nothing is changed anyway")
    if is_applied and output is not None:
        raise UsageError(
            "--apply and --output exclude each other: write the file, then 'timeball apply -f' it"
        )
    if Path(file).is_dir():
        raise UsageError(f"{file} is a directory: name one file")
    [(name, raw)] = read_all([file])
    try:
        text = decoded(raw)
        found, result = read(text, name, Format(form) if form else None)
    except (DocumentError, FormatError) as error:
        where = f"{name}:{error.line}" if error.line is not None else name
        raise _refusal(f"{where}: {error}") from error
    jobs = finish(result, name, Choices(namespace=namespace, **choices))
    if not as_json or is_applied:
        _tell(result, name, found.value, len(jobs))
    if not jobs and not as_json:
        raise _refusal(f"{name}: nothing in it could be carried over")
    if is_applied:
        from api.cli.applying import How, carry_out  # noqa: PLC0415
        from api.client import connect  # noqa: PLC0415

        carry_out(connect(), jobs, How(namespace=namespace, is_dry=dry_run, as_json=as_json))
        return
    written = _written(
        result,
        [{"name": job.name, **_namespace(job.namespace), **job.fields} for job in jobs],
        as_json=as_json,
    )
    if output is None or str(output) == "-":
        click.echo(written, nl=False)
    else:
        write_whole(output, written)
    if not jobs:
        raise click.exceptions.Exit(1)


def _refusal(text: str) -> Exception:
    from api.client import ClientError  # noqa: PLC0415 - loaded when the command runs

    return ClientError(text)


def _namespace(name: str | None) -> dict[str, str]:
    return {} if name is None else {"namespace": name}


def _written(result: Imported, jobs: list[dict[str, Any]], *, as_json: bool) -> str:
    import json  # noqa: PLC0415 - loaded when the command runs

    from api.cli.declaring.writing import as_yaml, in_order  # noqa: PLC0415

    if not as_json:
        return as_yaml(jobs)
    notes = [{"line": note.line, "text": note.text, "lost": note.lost} for note in result.notes]
    found = {"jobs": [in_order(job) for job in jobs], "notes": notes}
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _tell(result: Imported, name: str, found: str, number: int) -> None:
    """Say on standard error what is not as it was, and how much of what there is."""
    for note in result.notes:
        where = name if note.line is None else f"{name}:{note.line}"
        text = "".join(one if one.isprintable() else "�" for one in note.text)
        click.echo(click.style(f"{where}: {text}", fg="red" if note.lost else "yellow"), err=True)
    lost = sum(note.lost for note in result.notes)
    counts = [_number(number, "job"), _number(len(result.notes), "note")]
    if lost:
        counts.append(f"{_number(lost, 'entry', 'entries')} left out")
    click.echo(f"{name} ({found}): {', '.join(counts)}.", err=True)


def _number(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or f'{one}s'}"
