"""`timeball occurrences`: what became of each due time of a job."""

from __future__ import annotations

from datetime import datetime

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import When, find_job, local
from api.cli.tables import show, table

OUTCOMES = ("ran", "skipped", "missed", "expired")


@click.command()
@click.argument("reference", metavar="JOB", shell_complete=completing.jobs)
@click.option("--since", type=When(), help="Due times from then on: 2h (ago), or a moment.")
@click.option("--until", type=When(), help="Due times up to then.")
@click.option("--outcome", type=click.Choice(OUTCOMES), multiple=True, help="Only these; can be repeated.")
@click.option("-n", "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many.")
@click.option("--namespace", help="The job's namespace, where its name alone is not clear.")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
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
    """Show what became of each due time of JOB, the newest first: did it run, and if not, why not?"""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
            "due": local(one["due_at"]),
            "outcome": one["outcome"],
            "run": one["exec"],
            "reason": one["reason"],
        }
        for one in found["results"]
    ]
    click.echo(table(("due", "outcome", "run", "reason"), rows))
    if found["next"] is not None:
        click.echo(
            f"There are {found['count']} in all; -n, --since or --outcome choose among them.", err=True
        )
