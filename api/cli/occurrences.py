"""`timeball occurrences`: shows the outcome of each due time of a job."""

from __future__ import annotations

from datetime import datetime

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import When, find_job, local
from api.cli.tables import limited, show, table

OUTCOMES = ("ran", "skipped", "missed", "expired")


@click.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@click.option("--since", type=When(), help="Only due times since then: 2h (ago), or a date and time.")
@click.option("--until", type=When(), help="Only due times until then.")
@click.option(
    "--outcome", type=click.Choice(OUTCOMES), multiple=True, help="Only this outcome. Can be repeated."
)
@limited("due times")
@click.option("--namespace", help="The job's namespace, if several namespaces have a job with this name.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@explained
def occurrences(
    reference: str,
    *,
    since: datetime | None,
    until: datetime | None,
    outcome: tuple[str, ...],
    limit: int,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Show the outcome of each due time of JOB, newest first: whether it ran, and if not, why."""
    from api.client import connect

    client = connect()
    query = {"page_size": str(limit)}
    if since is not None:
        query["from"] = since.isoformat()
    if until is not None:
        query["to"] = until.isoformat()
    if outcome:
        query["outcome"] = ",".join(outcome)
    job = find_job(client, reference, namespace)
    found = client.request("GET", f"/v1/jobs/{job['id']}/occurrences", query=query).json()
    if as_json:
        show(found)
        return
    rows = [
        {
            "due": local(occurrence["due_at"]),
            "outcome": occurrence["outcome"],
            "run": occurrence["exec"],
            "reason": occurrence["reason"],
        }
        for occurrence in found["results"]
    ]
    click.echo(table(("due", "outcome", "run", "reason"), rows))
    if found["next"] is not None:
        click.echo(
            f"There are {found['count']} due times in total. Use -n, --since, --until or --outcome to see others.",
            err=True,
        )
