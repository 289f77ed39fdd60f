"""Ports for servers that are started by number: below those that the kernel gives away by itself."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence

#: From 32768 on, any connection that is opened meanwhile can be given the port.
_FIRST, _LAST = 20_000, 32_000
_dice = random.SystemRandom()


def free_port() -> int:
    """One on which nothing listens now, and which nobody is given who does not ask for it."""
    return _free_one(range(_FIRST, _LAST))


def registry_port() -> int:
    """Such a port for an image registry: with Podman, one that it accepts without TLS (deploy/podman.sh)."""
    listed = os.environ.get("TIMEBALL_TEST_REGISTRY_PORTS", "").split()
    return _free_one([int(port) for port in listed] or range(_FIRST, _LAST))


def _free_one(ports: Sequence[int]) -> int:
    while True:
        port = _dice.choice(ports)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
