"""Slows down guessing: after a number of failures, a client must wait before it tries again.

Pure, except for the clock it is given. Remembers a limited number of keys, those with the latest failures.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from scheduler.domain.clock import SystemClock
from scheduler.domain.errors import TooManyError

#: Number of keys remembered; beyond that, the key whose last failure is oldest is forgotten.
REMEMBERED: Final = 10_000
#: Providers assign IPv6 networks of at least this size, so a single address identifies nobody.
_IPV6_NETWORK: Final = 64


class Throttle:
    """Counts failures by key: `limit` are allowed at once, then one more each `seconds` / `limit`.

    Args:
        limit: number of failures allowed at once.
        seconds: time after which all failures are forgotten.
        clock: steady time in seconds; by default, the machine's.
    """

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] | None = None) -> None:
        self._limit = limit
        self._pace = seconds / limit
        self._clock = clock or SystemClock().steady
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: (failures, when)

    def check(self, key: str) -> None:
        """Check that a key may try again.

        Raises:
            TooManyError: the key had too many failures and must wait.
        """
        excess = self._level(key) - self._limit + 1
        if excess > 0:
            seconds = max(1, math.ceil(excess * self._pace))
            raise TooManyError(
                f"Too many failed attempts; try again in {seconds} seconds", retry_after=seconds
            )

    def fail(self, key: str) -> None:
        """Count a failure."""
        self._seen[key] = (min(self._level(key) + 1, self._limit), self._clock())
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget the failures of a key that has authenticated."""
        self._seen.pop(key, None)

    def _level(self, key: str) -> float:
        failures, when = self._seen.get(key, (0.0, 0.0))
        return max(0.0, failures - (self._clock() - when) / self._pace)


def network_of(address: str) -> str:
    """The key under which an address is throttled: the address itself, or its network for IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))
    return str(parsed)
