"""The host names that the daemon answers for, and the proxies that it trusts. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Trust:
    """The accepted hosts and the trusted proxies.

    Attributes:
        hosts: accepted names in lower case; None for any.
        proxies: networks of trusted proxies.
    """

    hosts: frozenset[str] | None = None
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    def is_proxy(self, address: str | None) -> bool:
        """Whether the address belongs to a trusted proxy."""
        try:
            parsed = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        return any(parsed in network for network in self.proxies)

    def answers_for(self, host: str) -> bool:
        """Whether the host of a `Host` header is accepted."""
        match = HOST.fullmatch(host)
        return self.hosts is None or (match is not None and match[1].lower().rstrip(".") in self.hosts)


def trust_of(
    listening_on: str, allowed: Collection[str], proxies: Sequence[IPv4Network | IPv6Network]
) -> Trust:
    """The hosts and proxies that follow from the settings.

    On a loopback address, only its own names and the configured ones are accepted: a web page whose name was made to
    point to 127.0.0.1 (DNS rebinding) must not be able to access the daemon.

    Args:
        listening_on: the address that the daemon listens on.
        allowed: additional names; ``*`` for any.
        proxies: networks of trusted proxies.
    """
    names = {name.lower() for name in allowed}
    if "*" in names or not (is_loopback(listening_on) or names):
        return Trust(None, tuple(proxies))
    return Trust(frozenset({*LOOPBACK_NAMES, listening_on.lower(), *names}), tuple(proxies))


def is_loopback(host: str) -> bool:
    """Whether the address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
