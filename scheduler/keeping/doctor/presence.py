"""Checks the daemon: whether it runs on the data directory, answers, is the right one, and renews its lease."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

from scheduler.domain.clock import Clock
from scheduler.domain.errors import UnavailableError
from scheduler.keeping.doctor.databases import StoredView
from scheduler.keeping.doctor.findings import Finding, ok, problem, warning
from scheduler.process.data_dir import INSTANCE_FILE, LOCK_FILE

#: Seconds by which the clock may have been set since the daemon started without a warning.
JUMP: Final = 2.0


def is_locked(data_dir: Path) -> bool:
    """Whether a daemon has locked the directory."""
    try:
        with (data_dir / LOCK_FILE).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    except OSError:
        return False
    return False


def check_daemon(
    data_dir: Path,
    stored: StoredView,
    clock: Clock,
    *,
    is_served: bool,
    about: Mapping[str, Any] | None,
    unreachable: str | None,
    is_named: bool,
) -> list[Finding]:
    """Combine the lock, the lease and the daemon's own answer.

    Args:
        data_dir: the daemon's data directory.
        stored: the database.
        clock: our clock.
        is_served: whether a daemon has locked the data directory.
        about: the answer of the daemon at the address.
        unreachable: why there is no answer; None if the daemon was not asked.
        is_named: whether the address was specified, rather than the default.
    """
    ours = version_of("timeball")
    if not is_served and about is None:
        if unreachable is not None:
            remedy = "Check that the daemon is running and that TIMEBALL_URL and TIMEBALL_TOKEN are correct"
            return [problem("daemon", unreachable, remedy, running=False)]
        return [
            warning(
                "daemon",
                f"No daemon is using {data_dir}",
                "Start one with 'timeball serve'",
                running=False,
            )
        ]
    if about is None:
        make = problem if is_named else warning
        return [
            make(
                "daemon",
                f"A daemon is using {data_dir}, but it cannot be reached: {unreachable}",
                "Set its address with TIMEBALL_URL; if it is correct, check the daemon's log",
                running=True,
            )
        ]
    findings = [_version(about, ours)]
    instance = _instance(data_dir)
    if is_served and instance is not None and about.get("instance") != instance:
        findings.append(
            warning(
                "daemon address",
                "The daemon that answers is not the one that is using this data directory",
                "Set the right address with TIMEBALL_URL, or the right directory with --data-dir",
            )
        )
    jumped = float(about.get("clock_jumped_seconds", 0.0))
    if abs(jumped) > JUMP:
        findings.append(
            warning(
                "daemon clock",
                f"The clock has jumped by {jumped} s since the daemon started",
                "Due times in between were treated as missed; keep the clock synchronized",
                clock_jumped_seconds=jumped,
            )
        )
    if is_served and instance is not None:
        findings += _lease(stored, clock, instance)
    return findings


def _version(about: Mapping[str, Any], ours: str) -> Finding:
    theirs = about.get("version")
    details = {"running": True, "version": theirs, "ours": ours, "instance": about.get("instance")}
    if theirs != ours:
        return warning(
            "daemon",
            f"The daemon is Timeball {theirs}, this command is {ours}",
            "Restart the daemon",
            **details,
        )
    return ok("daemon", f"Timeball {theirs} has been running since {about.get('started_at')}", **details)


def _lease(stored: StoredView, clock: Clock, instance: str) -> list[Finding]:
    try:
        live = stored.live_instances(clock.now())
    except UnavailableError:
        return []  # reported by the check of the database
    if instance in live:
        return [ok("daemon lease", "The daemon renews its lease", instances=sorted(live))]
    return [
        problem(
            "daemon lease",
            "The daemon has not renewed its lease: it hangs, or cannot write to its database",
            "Check the daemon's log and restart it",
            instances=sorted(live),
        )
    ]


def _instance(data_dir: Path) -> str | None:
    try:
        return (data_dir / INSTANCE_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
