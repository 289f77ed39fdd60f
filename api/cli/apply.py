"""`timeball apply`: has a daemon have the jobs that files declare, as a client of the API."""

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
    help="YAML or JSON, a directory of such files, or - for standard input; can be repeated.",
)
@click.option("--namespace", help="The namespace of jobs that name none; the caller's own if not given.")
@click.option("--prune", is_flag=True, help="Delete the other jobs of the namespaces that the files name.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be changed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before deleting.")
@click.option("--json", "as_json", is_flag=True, help="Print what is done with each job, for programs.")
@explained
def apply(
    files: tuple[str, ...], namespace: str | None, *, prune: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Create and change jobs so that they are as the files declare them.

    A file is a list 'jobs' of the API's fields; 'timeball export' writes it. Fields that are not named have their
    defaults. All files are checked before anything is changed.
    """
    # Loaded when the command runs.
    from api.cli.applying import How, carry_out, refuse_all  # noqa: PLC0415
    from api.cli.declaring.documents import DocumentError, decoded  # noqa: PLC0415
    from api.cli.declaring.form import FileProblem, read_jobs  # noqa: PLC0415
    from api.cli.files import STANDARD_INPUT, read_all  # noqa: PLC0415
    from api.client import connect  # noqa: PLC0415

    declared, problems = [], []
    for name, raw in read_all(files):
        try:
            jobs, wrong = read_jobs(decoded(raw), name)
        except DocumentError as error:
            jobs, wrong = [], [FileProblem(f"{name}:{error.line}: {error.message}")]
        declared += jobs
        problems += wrong
    refuse_all(problems)
    how = How(
        namespace=namespace,
        prune=prune,
        is_dry=dry_run,
        yes=yes,
        can_ask=STANDARD_INPUT not in files and (sys.stdin.isatty() or not as_json),
        as_json=as_json,
    )
    carry_out(connect(), declared, how)
