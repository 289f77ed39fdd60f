"""`timeball version`."""

from __future__ import annotations

import json
from importlib.metadata import version as version_of

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the version number.")
def version(*, as_json: bool, quiet: bool) -> None:
    """Print the version."""
    found = version_of("timeball")
    click.echo(json.dumps({"version": found}) if as_json else found if quiet else f"timeball {found}")
