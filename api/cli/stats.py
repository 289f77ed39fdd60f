"""`timeball stats`: how runs have ended, and how long they took."""

from __future__ import annotations

from datetime import datetime

import click

from api.cli import completing
from api.cli.failing import explained
from api.cli.references import When, find_job, local
from api.cli.tables import show, table


@click.command()
@click.argument("reference", metavar="[JOB]", required=False, shell_complete=completing.jobs)
@click.option("--namespace", help="Only jobs of this namespace.")
@click.option(
    "--since", type=When(), help="Runs made from then on: 2h (ago), or a moment; else the last day."
)
@click.option("--until", type=When(), help="Runs made up to then.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="How many jobs."
)
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
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
    """Show how the runs of a window have ended, those of each job or of JOB alone, the busiest first."""
    from api.client import connect  # noqa: PLC0415 - loaded when the command runs

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
            "job": one["name"],
            "runs": one["total"],
            "succeeded": one["counts"]["S"],
            "failed": one["counts"]["F"],
            "stopped": one["counts"]["C"],
            "rate": "" if one["success_rate"] is None else f"{one['success_rate']:.1%}",
            "median": _seconds(one["durations"], "p50"),
            "p99": _seconds(one["durations"], "p99"),
        }
        for one in found["jobs"]
    ]
    runs = "1 run" if found["total"] == 1 else f"{found['total']} runs"
    click.echo(f"{runs} from {local(found['from'])} to {local(found['to'])}")
    click.echo(table(("job", "runs", "succeeded", "failed", "stopped", "rate", "median", "p99"), rows))


def _seconds(durations: dict[str, float] | None, name: str) -> str:
    return "" if durations is None else f"{durations[name]:.2f} s"
