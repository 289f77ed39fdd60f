"""The machine: room on the disk, who may read the files, whether the clock is kept right."""

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
#: Free bytes below which the daemon will stop working soon, and below which it is time to do something.
LEAST_FREE: Final = 256 * MIB
LITTLE_FREE: Final = 1024 * MIB
LEAST_INODES: Final = 1_000
LITTLE_INODES: Final = 10_000
#: Of many files, so many are named.
NAMED: Final = 5
#: Files in the data directory that are secrets; that others can read one is a problem.
SECRET_FILES: Final = ("admin.token", "timeball.db*", "backup-*", "secret.key")
#: Files there that the daemon writes to.
WRITTEN_FILES: Final = ("timeball.db", "timeball.db-wal", "timeball.db-shm", "daemon.lock")
#: `adjtimex(2)`: its answer, and the bit of its status, that say that nobody keeps the clock right.
_TIME_ERROR: Final = 5
_UNSYNCHRONISED: Final = 0x0040


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """What a file system has left; inodes of None are not counted there."""

    free: int
    total: int
    inodes: int | None


def look_at_room(path: Path) -> FreeSpace:
    """What is left where the path is.

    Raises:
        OSError: it cannot be found out.
    """
    found = os.statvfs(path)
    return FreeSpace(
        found.f_bavail * found.f_frsize,
        found.f_blocks * found.f_frsize,
        found.f_favail if found.f_files else None,
    )


def judge_room(path: Path, room: FreeSpace) -> list[Finding]:
    """Whether it will do."""
    said = f"{room.free // MIB} of {room.total // MIB} MiB are free where {path} is"
    details = {"path": str(path), "free_bytes": room.free, "total_bytes": room.total}
    remedy = "Make room, or have the jobs keep less (retention_days, retention_count, retention_log_bytes)"
    if room.free < LEAST_FREE:
        found = [
            problem(
                "disk space", f"{said}: runs and logs will soon not be stored any more", remedy, **details
            )
        ]
    elif room.free < LITTLE_FREE:
        found = [warning("disk space", said, remedy, **details)]
    else:
        found = [ok("disk space", said, **details)]
    if room.inodes is not None:
        said = f"{room.inodes} more files can be made there"
        if room.inodes < LEAST_INODES:
            found.append(problem("disk inodes", said, "Remove small files there", inodes=room.inodes))
        elif room.inodes < LITTLE_INODES:
            found.append(warning("disk inodes", said, "Remove small files there", inodes=room.inodes))
        else:
            found.append(ok("disk inodes", said, inodes=room.inodes))
    return found


def check_disk(data_dir: Path) -> list[Finding]:
    """Room for what the daemon stores."""
    try:
        return judge_room(data_dir, look_at_room(data_dir))
    except OSError as error:
        return [problem("disk space", f"{data_dir}: {error.strerror}", "Name the right one with --data-dir")]


def check_permissions(data_dir: Path) -> list[Finding]:
    """Whether the daemon's files are for their owner alone, and whether we may read and write them."""
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
                f"{data_dir} cannot be looked into: {error.strerror}",
                "Run this as the user of the daemon, or name the right directory with --data-dir",
            )
        ]
    if closed:
        shown = [str(file) for file in closed[:NAMED]]
        return [
            problem(
                check,
                f"This user cannot read or write {', '.join(shown)}",
                "Run this as the user of the daemon; if it is, give the files back to it "
                f"(chown -R USER {data_dir}), let it write them, and mount them for writing",
                files=shown,
            )
        ]
    if open_files:
        names = [str(file) for file in open_files[:NAMED]]
        return [
            problem(
                check,
                f"Others can read {', '.join(names)}",
                f"chmod 600 {' '.join(names)}; if others may have seen admin.token, remove it and restart the daemon",
                files=names,
            )
        ]
    if mode & OTHERS:
        return [
            warning(
                check,
                f"Others can look into {data_dir} (mode {mode:o})",
                f"chmod 700 {data_dir}",
                mode=f"{mode:o}",
            )
        ]
    return [ok(check, f"{data_dir} and what is in it are for their owner alone", mode=f"{mode:o}")]


class _Timex(ctypes.Structure):
    """`struct timex` of Linux with 64-bit longs, as far as it is needed, and room for the rest."""

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
    """Whether something keeps the machine's clock right; None if that cannot be found out."""
    if platform.system() != "Linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    asked = _Timex()  # modes 0: it is only read, which needs no privilege
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not asked.status & _UNSYNCHRONISED


def check_clock() -> list[Finding]:
    """Whether schedules can rely on it."""
    found = clock_is_synchronised()
    if found is None:
        return [ok("clock", "Whether the clock is kept right cannot be found out here", synchronised=None)]
    if found:
        return [ok("clock", "The clock is kept right by the network's time", synchronised=True)]
    return [
        warning(
            "clock",
            "Nothing keeps the clock right: schedules run by a clock that drifts",
            "Have chrony, systemd-timesyncd or ntpd run on this machine (in a container, on its host)",
            synchronised=False,
        )
    ]


def names_of(things: Iterable[str]) -> str:
    """Some of the names, and how many more there are."""
    listed = list(things)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
