"""`timeball serve`: starts the daemon in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("--host", metavar="ADDRESS", help="The address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 for any free port.  [default: 8601]",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="The data directory.  [default: ~/.timeball]"
)
@click.option(
    "--database-url", metavar="URL", help="The database. Default: an SQLite database in the data directory."
)
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="TIMEBALL_CONFIG", help="A TOML file with settings."
)
def serve(
    host: str | None, port: int | None, data_dir: Path | None, database_url: str | None, config: Path | None
) -> None:
    """Start the daemon in the foreground.

    Ctrl-C or SIGTERM shuts it down cleanly; containers keep running. Every setting can also be given as a TIMEBALL_…
    environment variable or in the file named with --config.
    """
    from scheduler.process import light_imports, memory

    memory.keep_small()  # before other imports allocate memory
    light_imports.load()
    import asyncio

    from api.server.logging import configure_logging
    from api.server.serve import serve as run
    from scheduler.domain.errors import SettingsError
    from scheduler.process import faults
    from scheduler.settings.settings import load_settings

    try:
        settings = load_settings(config, host=host, port=port, data_dir=data_dir, database_url=database_url)
        configure_logging(settings.log_level, settings.log_format)
        faults.arm_from(os.environ)
        status = asyncio.run(run(settings, _say_listening))
    except SettingsError as error:
        click.echo(f"timeball serve: {error}", err=True)
        sys.exit(2)
    sys.exit(status)


def _say_listening(url: str) -> None:
    click.echo(f"Timeball listens on {url}")
    sys.stdout.flush()
