"""`timeball doctor`: checks everything that the daemon needs, and prints each problem with its fix."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.failing import explained

if TYPE_CHECKING:
    from scheduler.keeping.doctor.findings import Finding
    from scheduler.settings.settings import Settings

MARKS: Final = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command()
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="The daemon's data directory.  [default: ~/.timeball]"
)
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="TIMEBALL_CONFIG", help="The daemon's settings file."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print only problems and warnings.")
@explained
def doctor(*, data_dir: Path | None, config: Path | None, as_json: bool, quiet: bool) -> None:
    """Check engines, database, disk, clock, permissions, containers and the daemon, without changing anything.

    Works whether or not the daemon is running. Use the same --data-dir, --config and TIMEBALL_… variables as for
    'timeball serve'. Exits with 1 if there is a problem, but not for warnings.
    """
    import asyncio

    from api.client import UsageError
    from scheduler.domain.errors import SettingsError
    from scheduler.keeping.doctor.findings import FindingStatus, worst
    from scheduler.settings.settings import load_settings

    try:
        settings = load_settings(config, data_dir=data_dir)
    except SettingsError as error:
        raise UsageError(str(error)) from error
    findings = asyncio.run(_examine(settings))
    status = worst(findings)
    if as_json:
        found = [dataclasses.asdict(finding) | {"details": dict(finding.details)} for finding in findings]
        click.echo(json.dumps({"status": status, "findings": found}, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            if quiet and finding.status is FindingStatus.OK:
                continue
            _show(finding)
    raise click.exceptions.Exit(1 if status is FindingStatus.PROBLEM else 0)


def _show(finding: Finding) -> None:
    word, colour = MARKS[finding.status]
    click.echo(f"{click.style(word, fg=colour)}  {finding.check}: {finding.summary}")
    if finding.remedy is not None:
        click.echo(f"         → {finding.remedy}")


async def _examine(settings: Settings) -> list[Finding]:
    from sqlalchemy.exc import ArgumentError

    from scheduler.assembly.engines import docker_engine
    from scheduler.domain.clock import SystemClock
    from scheduler.domain.errors import UnavailableError
    from scheduler.keeping.doctor import machine
    from scheduler.keeping.doctor.databases import StoredView, check_database
    from scheduler.keeping.doctor.engines import check_engines
    from scheduler.keeping.doctor.findings import problem
    from scheduler.keeping.doctor.presence import check_daemon, is_locked

    data_dir = settings.resolved_data_dir()
    clock = SystemClock()
    is_served = is_locked(data_dir)
    about, unreachable = _ask(data_dir, is_served=is_served)
    try:
        stored = StoredView(settings.resolved_database_url())
    except ArgumentError as error:
        return [problem("database", f"database_url is not valid: {error}", "Fix database_url")]
    findings = check_daemon(
        data_dir, stored, clock, is_served=is_served, about=about, unreachable=unreachable,
        is_named="TIMEBALL_URL" in os.environ,
    )  # fmt: skip
    if data_dir.is_dir():
        findings += [*machine.check_permissions(data_dir), *machine.check_disk(data_dir)]
    findings += machine.check_clock()
    findings += check_database(stored)
    try:
        installation = stored.installation()
        open_execs: Callable[[list[str]], Collection[str]] = stored.open_execs
    except UnavailableError:
        installation, open_execs = None, set  # unknown, so not checked
    findings += await check_engines(
        settings.all_regions(), docker_engine, clock,
        installation=installation, open_execs=open_execs, is_served=is_served,
    )  # fmt: skip
    return findings


def _ask(data_dir: Path, *, is_served: bool) -> tuple[dict[str, Any] | None, str | None]:
    """What the daemon reports about itself, or why it cannot be asked."""
    from api.client import ClientError, UsageError, connect

    if not is_served and "TIMEBALL_URL" not in os.environ:
        return None, None
    try:
        found: dict[str, Any] = connect(data_dir).request("GET", "/v1/about", timeout=10).json()
    except UsageError as error:  # a directory without a token file: no daemon has used it yet
        return None, str(error) if is_served else None
    except (ClientError, ValueError) as error:
        return None, str(error)
    return found, None
