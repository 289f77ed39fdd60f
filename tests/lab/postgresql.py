"""A real PostgreSQL for the tests: a cluster of their own on a free port, gone when they are done."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Who runs the server where the tests run as root; PostgreSQL refuses to be root.
ACCOUNT = "postgres"


def _bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


def why_no_postgresql() -> str | None:
    """Why there is no PostgreSQL for the tests, or None if there is one."""
    return None if _bin() else "no PostgreSQL server is installed (Debian: apt-get install postgresql)"


def _as_account(command: list[str]) -> list[str]:
    return ["runuser", "-u", ACCOUNT, "--", *command] if os.geteuid() == 0 else command


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The SQLAlchemy URL of an empty server's maintenance database."""
    binaries = _bin()
    assert binaries is not None
    home = Path("/tmp") / f"timeball-postgresql-{os.getpid()}"  # noqa: S108 - the account must reach it
    home.mkdir(mode=0o755)
    if os.geteuid() == 0:
        shutil.chown(home, ACCOUNT)
    data = home / "data"
    subprocess.run(
        _as_account([str(binaries / "initdb"), "-D", str(data), "-U", ACCOUNT, "-A", "trust", "-E", "UTF8"]),
        check=True,
        capture_output=True,
        cwd="/",
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    control = str(binaries / "pg_ctl")
    start = [control, "-D", str(data), "-w", "-o", options, "-l", str(home / "log"), "start"]
    subprocess.run(_as_account(start), check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        yield f"postgresql+psycopg://{ACCOUNT}@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            _as_account([control, "-D", str(data), "-m", "immediate", "stop"]), check=False, cwd="/"
        )
        shutil.rmtree(home, ignore_errors=True)
