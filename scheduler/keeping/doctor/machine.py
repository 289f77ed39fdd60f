"""Checks the machine: disk space, file permissions and clock synchronization."""

from __future__ import annotations

import ctypes
import os
import platform
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scheduler.keeping.doctor.findings import Finding, ok, problem, warning
from scheduler.process.data_dir import OTHERS

MIB: Final = 1024 * 1024
#: Free bytes below which the daemon will soon stop working, and below which something should be done.
LEAST_FREE: Final = 256 * MIB
LITTLE_FREE: Final = 1024 * MIB
LEAST_INODES: Final = 1_000
LITTLE_INODES: Final = 10_000
#: Number of files that are named if there are many.
NAMED: Final = 5
#: Secret files in the data directory; it is a problem if others can read them.
SECRET_FILES: Final = ("admin.token", "timeball.db*", "backup-*", "secret.key")
#: Files in the data directory that the daemon writes to.
WRITTEN_FILES: Final = ("timeball.db", "timeball.db-wal", "timeball.db-shm", "daemon.lock")
#: The result of `adjtimex(2)` and the bit of its status that mean that the clock is not synchronized.
_TIME_ERROR: Final = 5
_UNSYNCHRONISED: Final = 0x0040


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free space on a file system; inodes are None if they are not limited there."""

    free: int
    total: int
    inodes: int | None


def look_at_room(path: Path) -> FreeSpace:
    """The free space at a path.

    Raises:
        OSError: it cannot be determined.
    """
    stats = os.statvfs(path)
    return FreeSpace(
        stats.f_bavail * stats.f_frsize,
        stats.f_blocks * stats.f_frsize,
        stats.f_favail if stats.f_files else None,
    )


def judge_room(path: Path, room: FreeSpace) -> list[Finding]:
    """Judge whether the free space is sufficient."""
    summary = f"{room.free // MIB} of {room.total // MIB} MiB are free at {path}"
    details = {"path": str(path), "free_bytes": room.free, "total_bytes": room.total}
    remedy = (
        "Free up disk space, or reduce the retention (retention_days, retention_count, retention_log_bytes)"
    )
    if room.free < LEAST_FREE:
        findings = [
            problem(
                "disk space",
                f"{summary}: the daemon will soon be unable to store runs and logs",
                remedy,
                **details,
            )
        ]
    elif room.free < LITTLE_FREE:
        findings = [warning("disk space", summary, remedy, **details)]
    else:
        findings = [ok("disk space", summary, **details)]
    if room.inodes is not None:
        summary = f"{room.inodes} more files can be created there"
        if room.inodes < LEAST_INODES:
            findings.append(problem("disk inodes", summary, "Delete small files there", inodes=room.inodes))
        elif room.inodes < LITTLE_INODES:
            findings.append(warning("disk inodes", summary, "Delete small files there", inodes=room.inodes))
        else:
            findings.append(ok("disk inodes", summary, inodes=room.inodes))
    return findings


def check_disk(data_dir: Path) -> list[Finding]:
    """Check the disk space for the daemon's data."""
    try:
        return judge_room(data_dir, look_at_room(data_dir))
    except OSError as error:
        return [
            problem(
                "disk space", f"{data_dir}: {error.strerror}", "Choose the right directory with --data-dir"
            )
        ]


def check_permissions(data_dir: Path) -> list[Finding]:
    """Check that the daemon's files are accessible only to their owner, and that we can read and write them."""
    check = "permissions"
    try:
        mode = stat.S_IMODE(data_dir.stat().st_mode)
        if not os.access(data_dir, os.R_OK | os.X_OK):
            raise PermissionError(13, "no permission to read it")
        files = [
            file for pattern in SECRET_FILES for file in sorted(data_dir.glob(pattern)) if file.is_file()
        ]
        open_files = [file for file in files if file.stat().st_mode & OTHERS]
        closed = [file for file in files if not os.access(file, os.R_OK)]
        written = [data_dir, *(file for name in WRITTEN_FILES if (file := data_dir / name).exists())]
        closed += [file for file in written if file not in closed and not os.access(file, os.W_OK)]
    except OSError as error:
        return [
            problem(
                check,
                f"{data_dir} cannot be examined: {error.strerror}",
                "Run this command as the daemon's user, or choose the right directory with --data-dir",
            )
        ]
    if closed:
        shown = [str(file) for file in closed[:NAMED]]
        return [
            problem(
                check,
                f"This user cannot read or write {', '.join(shown)}",
                "Run this command as the daemon's user. If you did, change the owner of the files "
                f"(chown -R USER {data_dir}), make them writable, and check that the file system is not read-only",
                files=shown,
            )
        ]
    if open_files:
        names = [str(file) for file in open_files[:NAMED]]
        return [
            problem(
                check,
                f"Other users can read {', '.join(names)}",
                f"chmod 600 {' '.join(names)}; if someone may have read admin.token, delete it and restart the "
                "daemon",
                files=names,
            )
        ]
    if mode & OTHERS:
        return [
            warning(
                check,
                f"Other users can access {data_dir} (mode {mode:o})",
                f"chmod 700 {data_dir}",
                mode=f"{mode:o}",
            )
        ]
    return [ok(check, f"{data_dir} and its files are accessible only to their owner", mode=f"{mode:o}")]


class _Timex(ctypes.Structure):
    """Linux's `struct timex` with 64-bit longs: the required fields, and space for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


def clock_is_synchronised() -> bool | None:
    """Whether the machine's clock is synchronized; None if that cannot be determined."""
    if platform.system() != "Linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timex = _Timex()  # modes 0: only reads, which requires no privilege
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not timex.status & _UNSYNCHRONISED


def check_clock() -> list[Finding]:
    """Check that schedules can rely on the clock."""
    synchronised = clock_is_synchronised()
    if synchronised is None:
        return [ok("clock", "Cannot determine whether the clock is synchronized", synchronised=None)]
    if synchronised:
        return [ok("clock", "The clock is synchronized", synchronised=True)]
    return [
        warning(
            "clock",
            "The clock is not synchronized, so schedules may drift",
            "Run chrony, systemd-timesyncd or ntpd on this machine (for a container: on its host)",
            synchronised=False,
        )
    ]


def names_of(things: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    listed = list(things)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
