"""`timeball doctor`: looks at everything a daemon needs, and says what is wrong and what to do."""

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
    "--data-dir", type=click.Path(path_type=Path), help="The daemon's directory.  [default: ~/.timeball]"
)
@click.option(
    "--config", type=click.Path(path_type=Path), envvar="TIMEBALL_CONFIG", help="The daemon's settings file."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print problems and warnings alone.")
@explained
def doctor(*, data_dir: Path | None, config: Path | None, as_json: bool, quiet: bool) -> None:
    """Examine engines, database, disk, clock, permissions, containers and the daemon; changes nothing.

    Works while the daemon is up and while it is down; give the same --data-dir, --config and TIMEBALL_… variables
    as to 'timeball serve'. Ends with status 1 if there is a problem; warnings are none.
    """
    # Loaded when the command runs.
    import asyncio  # noqa: PLC0415

    from api.client import UsageError  # noqa: PLC0415
    from scheduler.domain.errors import SettingsError  # noqa: PLC0415
    from scheduler.keeping.doctor.findings import FindingStatus, worst  # noqa: PLC0415
    from scheduler.settings.settings import load_settings  # noqa: PLC0415

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
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    from scheduler.assembly.engines import docker_engine  # noqa: PLC0415
    from scheduler.domain.clock import SystemClock  # noqa: PLC0415
    from scheduler.domain.errors import UnavailableError  # noqa: PLC0415
    from scheduler.keeping.doctor import machine  # noqa: PLC0415
    from scheduler.keeping.doctor.databases import StoredView, check_database  # noqa: PLC0415
    from scheduler.keeping.doctor.engines import check_engines  # noqa: PLC0415
    from scheduler.keeping.doctor.findings import problem  # noqa: PLC0415
    from scheduler.keeping.doctor.presence import check_daemon, is_locked  # noqa: PLC0415

    data_dir = settings.resolved_data_dir()
    clock = SystemClock()
    is_served = is_locked(data_dir)
    about, unreachable = _ask(data_dir, is_served=is_served)
    try:
        stored = StoredView(settings.resolved_database_url())
    except ArgumentError as error:
        return [problem("database", f"database_url is none: {error}", "Correct database_url")]
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
        installation, open_execs = None, set  # what cannot be known is not judged
    findings += await check_engines(
        settings.all_regions(), docker_engine, clock,
        installation=installation, open_execs=open_execs, is_served=is_served,
    )  # fmt: skip
    return findings


def _ask(data_dir: Path, *, is_served: bool) -> tuple[dict[str, Any] | None, str | None]:
    """What the daemon at the usual address tells about itself, or why it does not."""
    from api.client import ClientError, UsageError, connect  # noqa: PLC0415

    if not is_served and "TIMEBALL_URL" not in os.environ:
        return None, None
    try:
        found: dict[str, Any] = connect(data_dir).request("GET", "/v1/about", timeout=10).json()
    except UsageError as error:  # a directory without a token file: no daemon has been started on it yet
        return None, str(error) if is_served else None
    except (ClientError, ValueError) as error:
        return None, str(error)
    return found, None
