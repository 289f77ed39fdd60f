"""`timeball export`: writes jobs to a file that `timeball apply` reads, as a client of the API."""

from __future__ import annotations

from pathlib import Path

import click

from api.cli.failing import explained


@click.command()
@click.argument("references", nargs=-1, metavar="[JOB]...")
@click.option("--namespace", help="Only jobs in this namespace.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write. Default: standard output.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write JSON instead of YAML. 'timeball apply' reads both."
)
@explained
def export(references: tuple[str, ...], namespace: str | None, output: Path | None, *, as_json: bool) -> None:
    """Export the jobs with these ids or names, or all jobs, to a file that 'timeball apply' reads.

    Jobs are sorted and default values are left out, so that two exports differ only where the jobs differ.
    """
    from api.cli.declaring.writing import as_json as in_json
    from api.cli.declaring.writing import as_yaml, exported
    from api.cli.files import write_whole
    from api.cli.references import find_job
    from api.cli.tables import all_pages
    from api.client import connect

    client = connect()
    if references:
        found = [find_job(client, reference, namespace) for reference in references]
    else:
        found = all_pages(client, "/v1/jobs", {"namespace": namespace} if namespace else {})["results"]
    about = client.request("GET", "/v1/about").json()
    jobs = {
        (job["namespace"], job["name"]): exported(job, about["default_size"], about["default_region"])
        for job in found
    }
    text = (in_json if as_json else as_yaml)(jobs[key] for key in sorted(jobs))
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
    else:
        write_whole(output, text)
        click.echo(f"Exported {len(jobs)} job{'' if len(jobs) == 1 else 's'} to {output}.", err=True)
