"""The container's health check sees a daemon with and without TLS, and its absence."""

from __future__ import annotations

import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.certificates import self_signed
from tests.lab.ports import free_port

PROGRAM = Path(__file__).parents[3] / "deploy" / "healthcheck.py"


class Healthy(http.server.BaseHTTPRequestHandler):
    """Answers what the daemon's `/healthz` answers."""

    def do_GET(self) -> None:
        """Answer only that path."""
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def listening(certificate: tuple[Path, Path] | None) -> Iterator[int]:
    """A server on a free port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Healthy)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client of the wrong scheme
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def checked(port: int) -> int:
    """The exit status of the check."""
    environment = os.environ | {"TIMEBALL_PORT": str(port)}
    return subprocess.run([sys.executable, "-I", PROGRAM], env=environment, check=False).returncode


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_daemon_that_answers_is_healthy(scheme: str, tmp_path: Path) -> None:
    """With a certificate for another name as well."""
    with listening(self_signed(tmp_path, "server") if scheme == "https" else None) as port:
        assert checked(port) == 0


def test_a_port_where_nothing_listens_is_not_healthy() -> None:
    """The engine then shows it, and may restart the container."""
    assert checked(free_port()) == 1
