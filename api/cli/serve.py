"""`timeball serve`: starts the daemon in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [default: 8601]"
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Where everything is kept.  [default: ~/.timeball]"
)
@click.option("--database-url", metavar="URL", help="Database; SQLite in the data directory if not given.")
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="TIMEBALL_CONFIG", help="A TOML file with settings."
)
def serve(
    host: str | None, port: int | None, data_dir: Path | None, database_url: str | None, config: Path | None
) -> None:
    """Start the daemon; Ctrl-C or SIGTERM stops it in order, and runs in progress go on.

    Every setting can also be given as TIMEBALL_… in the environment or in the file named with --config.
    """
    from scheduler.process import light_imports, memory  # noqa: PLC0415

    memory.keep_small()  # before what is loaded takes any
    light_imports.load()
    # Loaded here, so that other commands do not wait for it.
    import asyncio  # noqa: PLC0415

    from api.server.logging import configure_logging  # noqa: PLC0415
    from api.server.serve import serve as run  # noqa: PLC0415
    from scheduler.domain.errors import SettingsError  # noqa: PLC0415
    from scheduler.process import faults  # noqa: PLC0415
    from scheduler.settings.settings import load_settings  # noqa: PLC0415

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
