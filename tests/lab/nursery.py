"""Daemons without the second that a new interpreter takes to load them: forked off one that has loaded it all.

For tests that start very many. What is forked runs `timeball serve` from its first line on, in a process of its
own that can be killed, stopped and waited for like any other. The nursery itself does nothing but fork.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

_NUMBER = struct.Struct("<i")
_REQUEST_BYTES = 1 << 16


class Child:
    """A forked daemon, with what tests use of `subprocess.Popen`.

    Attributes:
        pid: its process id.
        stdout: what it prints.
        returncode: its exit status once it was waited for; negative for the signal that ended it.
    """

    def __init__(self, stdout: IO[bytes], told: int) -> None:
        self.stdout: IO[bytes] | None = stdout
        self.returncode: int | None = None
        self._told = told
        self.pid = self._next()

    def _next(self) -> int:
        raw = os.read(self._told, _NUMBER.size)
        assert len(raw) == _NUMBER.size, "the nursery is gone"
        return int(_NUMBER.unpack(raw)[0])

    def poll(self) -> int | None:
        """Its exit status, if it has ended."""
        if self.returncode is None:
            os.set_blocking(self._told, False)
            with suppress(BlockingIOError):
                self.returncode = self._next()
                os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not ended within so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("timeball serve", timeout or 0.0)
            time.sleep(0.01)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Forks daemons; made once for many tests."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.lab.nursery", str(theirs.fileno())]
            root = Path(__file__).parents[2]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=root)

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Child:
        """Start ``timeball`` with these arguments and this environment; its last words go to `log`."""
        printed, prints = os.pipe()
        told, tells = os.pipe()
        request = json.dumps([list(arguments), dict(environment)]).encode()
        socket.send_fds(self._line, [request], [prints, log.fileno(), tells])
        os.close(prints)
        os.close(tells)
        return Child(os.fdopen(printed, "rb"), told)

    def close(self) -> None:
        """Fork no more."""
        self._line.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where daemons can be had quickly."""
    made = Nursery()
    yield made
    made.close()


def _serve_requests(line: socket.socket) -> None:
    """Fork a keeper for each request, until the other side is gone."""
    # Here, so that tests that import this module need not load what only the forked ones run.
    import api.cli.serve  # noqa: PLC0415
    import api.server.serve  # noqa: F401, PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are waited for by nobody
    while True:
        request, fds, _, _ = socket.recv_fds(line, _REQUEST_BYTES, 3)
        if not request:
            return
        if os.fork() == 0:
            line.close()
            _keep(request, *fds)
        for fd in fds:
            os.close(fd)


def _keep(request: bytes, prints: int, log: int, tells: int) -> None:
    """Be the parent of one daemon, and tell how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(tells)
        os.dup2(prints, 1)
        os.dup2(log, 2)
        arguments, environment = json.loads(request)
        os.environ.clear()
        os.environ.update(environment)
        _be(arguments)
    os.close(prints)
    os.write(tells, _NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        os.write(tells, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _be(arguments: list[str]) -> None:
    """Be ``timeball`` with these arguments."""
    from api.cli.main import main  # noqa: PLC0415 - as above

    status = 1
    try:
        main(arguments, prog_name="timeball")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve_requests(socket.socket(fileno=int(sys.argv[1])))
