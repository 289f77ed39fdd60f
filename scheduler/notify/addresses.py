"""Which addresses deliveries may go to, so that a webhook cannot reach what only the daemon's host can reach.

Pure. A URL is checked when the webhook is defined and on every redirect. An address is checked when a name has been
resolved, and again when the socket is created. The ranges are those of IANA's special-purpose registries (RFC 6890
and its updates), and the addresses of cloud metadata services.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from yarl import URL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL: Final = 2_000
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


#: Cloud metadata services, which hand out a machine's secrets; `allow_private` does not allow these.
METADATA: Final = _networks("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::/32")
#: Loopback and private networks, which `allow_private` allows.
PRIVATE: Final = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "::1/128", "fc00::/7"
)
#: Other addresses that are not public hosts: this network, protocol assignments, documentation, benchmarks, relays,
#: multicast, reserved.
SPECIAL: Final = _networks(
    *("0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    # Only 2000::/3 of IPv6 is public; it includes Teredo and similar protocols, documentation and 6to4.
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
PUBLIC_IPV6: Final = ipaddress.IPv6Network("2000::/3")
#: Ports of services other than HTTP that could misinterpret a request (the list of the Fetch standard).
BAD_PORTS: Final = frozenset(
    {
        0,
        1,
        7,
        9,
        11,
        13,
        15,
        17,
        19,
        20,
        21,
        22,
        23,
        25,
        37,
        42,
        43,
        53,
        69,
        77,
        79,
        87,
        95,
        101,
        102,
        103,
        104,
    }
    | {
        109,
        110,
        111,
        113,
        115,
        117,
        119,
        123,
        135,
        137,
        139,
        143,
        161,
        179,
        389,
        427,
        465,
        512,
        513,
        514,
        515,
    }
    | {526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049}
    | {3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
#: A last label that would be parsed as an IPv4 address in any notation (the URL standard, 'ends in a number').
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
_LOCAL_NAME: Final = re.compile(
    r"(.*\.)?(localhost|localhost\.localdomain|ip6-localhost|ip6-loopback)", re.ASCII
)
_ENTRY: Final = re.compile(r"(\[[^\]]+\]|[^:]+|[0-9a-fA-F:.]+(?:/\d+)?)(?::(\d{1,5}))?", re.ASCII)
_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?", re.ASCII)


class RefusedAddressError(Exception):
    """A delivery may not go to this address.

    Attributes:
        message: what is wrong, as a predicate.
        remedy: what to do.
    """

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}; {remedy}")


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL: scheme, host (lower case, without brackets or a final dot) and port."""

    url: URL
    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the allow-list: a network or a name, optionally limited to a port."""

    network: Network | None
    name: str
    port: int | None

    def covers(self, address: Address | None, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        if self.name.startswith("*."):
            return host.endswith(self.name[1:])
        return host == self.name


class AddressPolicy:
    """Which addresses deliveries may go to.

    Args:
        allow: networks (``10.0.0.0/8``), addresses and names (``hooks.example``, ``*.example``) that are allowed
            although they are not public, optionally with a port (``127.0.0.1:9000``).
        allow_private: whether loopback and private networks are allowed.

    Raises:
        ValueError: an entry is invalid.
    """

    def __init__(self, allow: Iterable[str] = (), *, allow_private: bool = False) -> None:
        self._entries = tuple(_entry(text) for text in allow)
        self._allow_private = allow_private

    def check_address(self, address: Address, host: str, port: int) -> None:
        """Check an address that a host name resolved to.

        Raises:
            RefusedAddressError: it is neither public nor allowed.
        """
        plain = _unwrapped(address)
        if any(entry.covers(plain, host, port) for entry in self._entries):
            return
        kind = _kind(plain)
        if kind is None or (kind == "private" and self._allow_private):
            return
        shown = str(address) if str(address) == host else f"{host} ({address})"
        raise RefusedAddressError(
            f"points to {shown}; deliveries to {_KINDS[kind]} are not allowed",
            "use a public host, or ask the operator to add this host to hooks.allow",
        )

    def check_url(self, text: str) -> Target:
        """Parse a URL and check it, as far as possible without resolving a name.

        Raises:
            RefusedAddressError: the URL is invalid, or deliveries may not go there.
        """
        target = _parse(text)
        labels = target.host.split(".")
        address = address_of(target.host)
        if address is None and (_NUMBER.fullmatch(labels[-1]) or not all(labels)):
            raise RefusedAddressError(
                f"has a host that is neither a name nor an address in the usual notation: '{target.host[:100]}'",
                "write an IPv4 address as four decimal numbers, or use a name",
            )
        if address is not None:
            self.check_address(address, target.host, target.port)
        elif _LOCAL_NAME.fullmatch(target.host):
            self.check_address(ipaddress.IPv4Address("127.0.0.1"), target.host, target.port)
        return target


_KINDS: Final = {
    "metadata": "link-local and metadata addresses",
    "private": "loopback and private networks",
    "special": "reserved and multicast addresses",
}


def address_of(host: str) -> Address | None:
    """The host as an address; None if it is a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address in an IPv4-mapped IPv6 address, which the kernel would connect to instead."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _kind(address: Address) -> str | None:
    """Why an address is not public; None if it is public."""
    if _is_in(address, METADATA):
        return "metadata"
    if _is_in(address, PRIVATE):
        return "private"
    if _is_in(address, SPECIAL) or (
        isinstance(address, ipaddress.IPv6Address) and address not in PUBLIC_IPV6
    ):
        return "special"
    return None


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _parse(text: str) -> Target:
    remedy = "write a URL such as https://hooks.example.com/timeball"
    if len(text) > LONGEST_URL:
        raise RefusedAddressError(f"is longer than {LONGEST_URL} characters", "use a shorter URL")
    if "\\" in text or any(character.isspace() or not character.isprintable() for character in text):
        raise RefusedAddressError(
            "contains a space, a control character or a backslash", "escape or remove it"
        )
    try:
        url = URL(text)
        port, host = url.port, (url.raw_host or "").lower().removesuffix(".")
    except ValueError as error:
        raise RefusedAddressError(f"is not a valid URL: {error}", remedy) from error
    if url.scheme not in DEFAULT_PORTS:
        shown = f"has the scheme '{url.scheme[:20]}'" if url.scheme else "has no scheme"
        raise RefusedAddressError(shown, f"use http:// or https://; {remedy}")
    if not host:
        raise RefusedAddressError("has no host", remedy)
    if url.raw_user is not None or url.raw_password is not None or "@" in url.raw_authority:
        raise RefusedAddressError(
            "contains a user name or password", "remove it; use a secret to sign deliveries"
        )
    if "%" in host:
        raise RefusedAddressError("contains a zone or an escape sequence in its host", "remove it")
    if port is None or port in BAD_PORTS:
        raise RefusedAddressError(f"uses port {port}, which is not allowed for HTTP", "use another port")
    return Target(url.with_fragment(None), url.scheme, host, port)


def _entry(text: str) -> _Entry:
    match = _ENTRY.fullmatch(text.strip().lower())
    if match is not None:
        host, port = match[1].strip("[]"), None if match[2] is None else int(match[2])
        try:
            return _Entry(ipaddress.ip_network(host, strict=False), "", port)
        except ValueError:
            if _NAME.fullmatch(host) and not _NUMBER.fullmatch(host.rpartition(".")[2]):
                return _Entry(None, host, port)
    msg = (
        f"'{text}' is not a network, address or name; write an entry such as 10.0.0.0/8, 192.168.1.7:9000 or "
        "*.example.com"
    )
    raise ValueError(msg)
