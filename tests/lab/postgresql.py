"""A real PostgreSQL for the tests: a cluster of their own on a free port, gone when they are done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.ports import free_port

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


class PostgreSQL:
    """A cluster of the tests' own; stopped when made.

    Attributes:
        url: the SQLAlchemy URL of its maintenance database.
        socket: the unix socket that it listens on beside.
    """

    def __init__(self, name: str) -> None:
        binaries = _bin()
        assert binaries is not None
        self._home = Path("/tmp") / f"timeball-postgresql-{name}"  # noqa: S108 - the account must reach it
        self._home.mkdir(mode=0o755)
        if os.geteuid() == 0:
            shutil.chown(self._home, ACCOUNT)
        self._control = str(binaries / "pg_ctl")
        self._data = self._home / "data"
        subprocess.run(
            _as_account(
                [str(binaries / "initdb"), "-D", str(self._data), "-U", ACCOUNT, "-A", "trust", "-E", "UTF8"]
            ),
            check=True,
            capture_output=True,
            cwd="/",
        )
        self._port = free_port()
        self.url = f"postgresql+psycopg://{ACCOUNT}@127.0.0.1:{self._port}/postgres"
        self.socket = self._home / f".s.PGSQL.{self._port}"

    def start(self) -> None:
        """Start it, again too, and return when it answers."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1"
        options += f" -c unix_socket_directories={self._home} -c fsync=off"
        self._run("-w", "-o", options, "-l", str(self._home / "log"), "start")

    def stop(self) -> None:
        """End it at once, as a crash would."""
        self._run("-m", "immediate", "stop", check=False)

    def freeze(self) -> None:
        """Let all of it answer nothing."""
        for process in self._processes():
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        for process in self._processes():
            os.kill(process, signal.SIGCONT)

    def destroy(self) -> None:
        """Remove all of it."""
        self.thaw()
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _processes(self) -> list[int]:
        try:
            first = int((self._data / "postmaster.pid").read_text().split()[0])
        except FileNotFoundError:
            return []
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def _run(self, *what: str, check: bool = True) -> None:
        command = _as_account([self._control, "-D", str(self._data), *what])
        subprocess.run(command, check=check, stdout=subprocess.DEVNULL, cwd="/")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server that all tests share; none ends it."""
    yield from _running(PostgreSQL(str(os.getpid())))


@pytest.fixture
def private_postgresql() -> Iterator[PostgreSQL]:
    """A server that the test may do anything to."""
    yield from _running(PostgreSQL(uuid.uuid4().hex[:8]))


def _running(server: PostgreSQL) -> Iterator[PostgreSQL]:
    server.start()
    try:
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def postgresql_url(postgresql: PostgreSQL) -> str:
    """The SQLAlchemy URL of an empty server's maintenance database."""
    return postgresql.url
