"""Ports for servers that are started by number: below those that the kernel gives away by itself."""

from __future__ import annotations

import random
import socket

#: From 32768 on, any connection that is opened meanwhile can be given the port.
_FIRST, _LAST = 20_000, 32_000
_dice = random.SystemRandom()


def free_port() -> int:
    """One on which nothing listens now, and which nobody is given who does not ask for it."""
    while True:
        port = _dice.randrange(_FIRST, _LAST)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
