"""`timeball backup FILE`: downloads a copy of the daemon's database while it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import click

from api.cli.failing import explained
from api.cli.references import local
from api.cli.saving import check_place, save

#: Seconds that the daemon may take to make the copy before it sends data. A large database takes long.
PATIENCE: Final = 3600.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="The directory of the daemon's token file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
@explained
def backup(file: Path, *, force: bool, data_dir: Path | None, as_json: bool, quiet: bool) -> None:
    """Write a backup of the daemon's database to FILE, for `timeball restore`.

    The daemon keeps running, and the backup is consistent. It contains the logs of runs and the variables of jobs, so
    only the owner can read FILE. Requires the token of an administrator.
    """
    from api.client import connect

    check_place(file, force=force)
    client = connect(data_dir)
    if sys.stderr.isatty() and not quiet:
        click.echo("Waiting for the daemon to create the backup…", err=True)
    opened = client.open("GET", "/v1/backup", timeout=PATIENCE)
    size, taken_at = save(opened, file, client.url, force=force, quiet=quiet)
    if as_json:
        click.echo(json.dumps({"file": str(file.absolute()), "bytes": size, "taken_at": taken_at}))
    elif not quiet:
        click.echo(f"{file}: {size} bytes, as of {local(taken_at or None) or 'an unknown time'}")
