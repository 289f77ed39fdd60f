"""`timeball stats`: shows how runs ended and how long they took."""

from __future__ import annotations

from datetime import datetime

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import When, find_job, local
from api.cli.tables import limited, show, table


@click.command()
@click.argument("reference", metavar="[JOB]", required=False, shell_complete=completing.jobs)
@click.option("--namespace", help="Only jobs in this namespace.")
@click.option(
    "--since",
    type=When(),
    help="Only runs created since then: 2h (ago), or a date and time. Default: the last day.",
)
@click.option("--until", type=When(), help="Only runs created until then.")
@limited("jobs")
@click.option("--json", "as_json", is_flag=True, help="Print the API's response as JSON.")
@explained
def stats(
    reference: str | None,
    *,
    namespace: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show run counts, success rates and durations, by job or for JOB only.

    The jobs with the most runs come first.
    """
    from api.client import connect

    client = connect()
    query = {"limit": str(limit)}
    if namespace is not None:
        query["namespace"] = namespace
    if reference is not None:
        query["job"] = str(find_job(client, reference, namespace)["id"])
    if since is not None:
        query["from"] = since.isoformat()
    if until is not None:
        query["to"] = until.isoformat()
    found = client.request("GET", "/v1/stats", query=query).json()
    if as_json:
        show(found)
        return
    rows = [
        {
            "job": job["name"],
            "runs": job["total"],
            "succeeded": job["counts"]["S"],
            "failed": job["counts"]["F"],
            "stopped": job["counts"]["C"],
            "rate": "" if job["success_rate"] is None else f"{job['success_rate']:.1%}",
            "median": _seconds(job["durations"], "p50"),
            "p99": _seconds(job["durations"], "p99"),
        }
        for job in found["jobs"]
    ]
    runs = "1 run" if found["total"] == 1 else f"{found['total']} runs"
    click.echo(f"{runs} from {local(found['from'])} to {local(found['to'])}")
    click.echo(table(("job", "runs", "succeeded", "failed", "stopped", "rate", "median", "p99"), rows))


def _seconds(durations: dict[str, float] | None, name: str) -> str:
    return "" if durations is None else f"{durations[name]:.2f} s"
