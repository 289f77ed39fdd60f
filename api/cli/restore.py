"""`timeball restore FILE`: puts a backup in the place of a data directory's database."""

from __future__ import annotations

import json
from pathlib import Path

import click

from api.cli.failing import explained
from api.cli.references import local
from api.cli.saving import meter


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), help="Whose database.  [default: ~/.timeball]")
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="TIMEBALL_CONFIG", help="The daemon's settings file."
)
@click.option(
    "--force", is_flag=True, help="Replace the database that is there; it is kept beside the new one."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
@explained
def restore(
    file: Path, *, data_dir: Path | None, config: Path | None, force: bool, as_json: bool, quiet: bool
) -> None:
    """Make FILE, written by `timeball backup`, the database of a data directory that no daemon uses.

    The next start goes on from there: what fell due since follows each job's misfire policy, runs that had not ended
    are taken up if their containers are there and settled if not, and containers that the backup does not know are
    removed. Do not let the daemon that the backup is from go on elsewhere on the same engine.
    """
    # Loaded when the command runs.
    import sqlalchemy as sa  # noqa: PLC0415

    from api.client import ClientError, UsageError  # noqa: PLC0415
    from scheduler.domain.clock import SystemClock  # noqa: PLC0415
    from scheduler.domain.errors import SettingsError  # noqa: PLC0415
    from scheduler.keeping import restore as restoring  # noqa: PLC0415
    from scheduler.settings.settings import load_settings  # noqa: PLC0415

    try:
        settings = load_settings(config, data_dir=data_dir)
        url = sa.make_url(settings.resolved_database_url())
    except (SettingsError, sa.exc.ArgumentError) as error:
        raise UsageError(str(error)) from error
    if url.get_backend_name() != "sqlite" or not url.database:
        raise UsageError(
            "database_url names PostgreSQL, which has its own means: restore into an empty database with "
            "pg_restore --dbname=URL timeball.dump while no daemon uses it"
        )
    directory, database = settings.resolved_data_dir(), Path(url.database).absolute()
    try:
        facts = restoring.examine_backup(file)
        with meter("Restoring", file.stat().st_size, hidden=quiet) as bar:
            kept = restoring.restore(
                file, directory, database, now=SystemClock().now(), force=force, progress=bar.update
            )
    except restoring.NotForcedError as error:
        raise UsageError(str(error)) from error
    except restoring.RestoreError as error:
        raise ClientError(str(error)) from error
    works = restoring.token_works(directory, database)
    taken_at = None if facts.taken_at is None else facts.taken_at.isoformat()
    if as_json:
        done = {
            "database": str(database),
            "taken_at": taken_at,
            "installation": facts.installation,
            "jobs": facts.jobs,
            "execs": facts.execs,
            "open_execs": facts.open_execs,
            "earlier_database": None if kept is None else str(kept),
            "token_file_works": works,
        }
        click.echo(json.dumps(done))
        return
    if quiet:
        return
    click.echo(
        f"Restored {database} as of {local(taken_at) or 'an unknown time'}: {facts.jobs} jobs, {facts.execs} runs."
    )
    if facts.open_execs:
        click.echo(f"{facts.open_execs} runs had not ended; the next start takes them up or settles them.")
    if kept is not None:
        click.echo(f"The earlier database is kept as {kept}; remove it when you do not need it any more.")
    token_file = directory / "admin.token"
    click.echo(
        f"The token in {token_file} goes on working."
        if works
        else f"The next start puts an administrator's token that works into {token_file}; earlier ones of admin end."
    )
