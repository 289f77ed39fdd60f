"""`timeball apply`: creates and updates jobs from files, as a client of the API."""

from __future__ import annotations

import sys

import click

from api.cli.failing import explained


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    metavar="FILE",
    help="A YAML or JSON file, a directory of such files, or - for standard input. Can be repeated.",
)
@click.option(
    "--namespace", help="The namespace of jobs that do not name one. Default: the caller's namespace."
)
@click.option("--prune", is_flag=True, help="Delete all other jobs in the namespaces that the files name.")
@click.option("--dry-run", is_flag=True, help="Show the changes without making them.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome of each job as JSON.")
@explained
def apply(
    files: tuple[str, ...], namespace: str | None, *, prune: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Create or update jobs from files.

    A file contains a list named 'jobs', with the fields of the API; 'timeball export' writes such files. Fields that
    are left out get their defaults. All files are checked before anything is changed.
    """
    from api.cli.applying import ApplyOptions, carry_out, refuse_all
    from api.cli.declaring.documents import DocumentError, decoded
    from api.cli.declaring.form import FileProblem, read_jobs
    from api.cli.files import STANDARD_INPUT, read_all
    from api.client import connect

    declared, problems = [], []
    for name, raw in read_all(files):
        try:
            jobs, errors = read_jobs(decoded(raw), name)
        except DocumentError as error:
            jobs, errors = [], [FileProblem(f"{name}:{error.line}: {error.message}")]
        declared += jobs
        problems += errors
    refuse_all(problems)
    options = ApplyOptions(
        namespace=namespace,
        prune=prune,
        is_dry=dry_run,
        yes=yes,
        can_ask=STANDARD_INPUT not in files and (sys.stdin.isatty() or not as_json),
        as_json=as_json,
    )
    carry_out(connect(), declared, options)
