"""`timeball version`."""

from __future__ import annotations

import json
from importlib.metadata import version as version_of

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def version(*, as_json: bool) -> None:
    """Print the version."""
    found = version_of("timeball")
    click.echo(json.dumps({"version": found}) if as_json else f"timeball {found}")
