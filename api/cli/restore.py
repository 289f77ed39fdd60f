"""`timeball restore FILE`: replaces the database in a data directory with a backup."""

from __future__ import annotations

import json
from pathlib import Path

import click

from api.cli.failing import explained
from api.cli.references import local
from api.cli.saving import meter


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="The daemon's data directory.  [default: ~/.timeball]"
)
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="TIMEBALL_CONFIG", help="The daemon's settings file."
)
@click.option("--force", is_flag=True, help="Replace an existing database. It is kept next to the new one.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
@explained
def restore(
    file: Path, *, data_dir: Path | None, config: Path | None, force: bool, as_json: bool, quiet: bool
) -> None:
    """Restore FILE, a backup from `timeball backup`, to a data directory that no daemon is using.

    At its next start, the daemon continues from the backup. Due times since then follow each job's misfire policy.
    Runs that had not ended are resumed if their containers still exist, and marked as ended otherwise. Containers
    of runs that are not in the backup are removed. Do not keep the original daemon running on the same engine.
    """
    import sqlalchemy as sa

    from api.client import ClientError, UsageError
    from scheduler.domain.clock import SystemClock
    from scheduler.domain.errors import SettingsError
    from scheduler.keeping import restore as restoring
    from scheduler.settings.settings import load_settings

    try:
        settings = load_settings(config, data_dir=data_dir)
        url = sa.make_url(settings.resolved_database_url())
    except (SettingsError, sa.exc.ArgumentError) as error:
        raise UsageError(str(error)) from error
    if url.get_backend_name() != "sqlite" or not url.database:
        raise UsageError(
            "database_url refers to PostgreSQL, which this command cannot restore. Restore into an empty database "
            "with 'pg_restore --dbname=URL timeball.dump' while no daemon is using it."
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
        click.echo(
            f"{facts.open_execs} runs had not ended. The daemon resumes or ends them at its next start."
        )
    if kept is not None:
        click.echo(f"The previous database is kept as {kept}. Delete it when you no longer need it.")
    token_file = directory / "admin.token"
    click.echo(
        f"The token in {token_file} is still valid."
        if works
        else f"At its next start, the daemon writes a new administrator token to {token_file} and revokes the others."
    )
