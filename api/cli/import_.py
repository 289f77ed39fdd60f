"""`timeball import`: converts jobs of other schedulers to files for `timeball apply`.

Reads a file and prints the jobs. What cannot be imported is listed on standard error, line by line. With `--apply`,
the command is a client of the API.
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
@click.option(
    "--from",
    "form",
    type=click.Choice(_FORMATS),
    help="The format of FILE. Default: detected from its contents.",
)
@click.option("--namespace", help="The namespace of jobs for which the file does not name one.")
@click.option(
    "--timezone",
    metavar="ZONE",
    help="The time zone of schedules for which the file does not name one, such as Europe/Berlin.",
)
@click.option("--size", help="The resource size of jobs for which the file sets no CPU or memory limits.")
@click.option("--inactive", is_flag=True, help="Leave all schedules switched off.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file to write. Default: standard output."
)
@click.option("--apply", "is_applied", is_flag=True, help="Create or update the jobs right away.")
@click.option("--dry-run", is_flag=True, help="With --apply: show the changes without making them.")
@click.option("--json", "as_json", is_flag=True, help="Print the jobs and notes as JSON.")
@explained
def import_(
    file: str, form: str | None, namespace: str | None, output: Path | None, *,
    is_applied: bool, dry_run: bool, as_json: bool, **choices: Any,
) -> None:  # fmt: skip
    """Import jobs of another scheduler from FILE or standard input (-).

    FILE is a crontab with 'docker run' lines, the JSON of Chronos, Kubernetes CronJobs, or Ofelia's INI file, Compose
    file or 'docker inspect' output. The jobs are printed as a file for 'timeball apply'; what cannot be imported is
    listed on standard error.
    """
    from api.cli.declaring.documents import DocumentError, decoded
    from api.cli.files import read_all, write_whole
    from api.cli.importing.detect import Format, read
    from api.cli.importing.finish import Choices, finish
    from api.cli.importing.result import FormatError
    from api.client import UsageError

    if dry_run and not is_applied:
        raise UsageError("--dry-run works only with --apply. Without --apply, nothing is changed.")
    if is_applied and output is not None:
        raise UsageError(
            "--apply and --output cannot be combined. Write the file first, then run 'timeball apply -f FILE'."
        )
    if Path(file).is_dir():
        raise UsageError(f"{file} is a directory. Name a file.")
    [(name, raw)] = read_all([file])
    try:
        text = decoded(raw)
        found, result = read(text, name, Format(form) if form else None)
    except (DocumentError, FormatError) as error:
        where = f"{name}:{error.line}" if error.line is not None else name
        raise _refusal(f"{where}: {error}") from error
    jobs = finish(result, name, Choices(namespace=namespace, **choices))
    if not as_json or is_applied:
        _print_notes(result, name, found.value, len(jobs))
    if not jobs and not as_json:
        raise _refusal(f"{name}: no jobs could be imported.")
    if is_applied:
        from api.cli.applying import ApplyOptions, carry_out
        from api.client import connect

        carry_out(connect(), jobs, ApplyOptions(namespace=namespace, is_dry=dry_run, as_json=as_json))
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
    from api.client import ClientError

    return ClientError(text)


def _namespace(name: str | None) -> dict[str, str]:
    return {} if name is None else {"namespace": name}


def _written(result: Imported, jobs: list[dict[str, Any]], *, as_json: bool) -> str:
    import json

    from api.cli.declaring.writing import as_yaml, in_order

    if not as_json:
        return as_yaml(jobs)
    notes = [{"line": note.line, "text": note.text, "lost": note.lost} for note in result.notes]
    found = {"jobs": [in_order(job) for job in jobs], "notes": notes}
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _print_notes(result: Imported, name: str, form: str, number: int) -> None:
    """Print the notes and a summary on standard error."""
    for note in result.notes:
        where = name if note.line is None else f"{name}:{note.line}"
        text = "".join(character if character.isprintable() else "�" for character in note.text)
        click.echo(click.style(f"{where}: {text}", fg="red" if note.lost else "yellow"), err=True)
    lost = sum(note.lost for note in result.notes)
    counts = [_counted(number, "job"), _counted(len(result.notes), "note")]
    if lost:
        counts.append(f"{_counted(lost, 'entry', 'entries')} skipped")
    click.echo(f"{name} ({form}): {', '.join(counts)}.", err=True)


def _counted(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or f'{singular}s'}"
