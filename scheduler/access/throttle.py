"""Slows down whoever guesses: after some failures, further attempts have to wait.

Pure but for the clock it is given. Remembers a bounded number of keys, the ones that failed last.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from scheduler.domain.errors import TooManyError

#: Keys remembered; beyond that the one is forgotten that failed longest ago.
REMEMBERED: Final = 10_000
#: An IPv6 customer is given a network of this size at least, so a single address means nothing.
_IPV6_NETWORK: Final = 64


class Throttle:
    """Failures by key: `limit` may come at once, and one more each time that `seconds` / `limit` have passed.

    Args:
        limit: how many failures are free.
        seconds: after which all of them are forgotten.
        clock: tells seconds, monotonic.
    """

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._pace = seconds / limit
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: (failures, when)

    def check(self, key: str) -> None:
        """Let pass a key with few failures.

        Raises:
            TooManyError: it has to wait.
        """
        excess = self._level(key) - self._limit + 1
        if excess > 0:
            seconds = max(1, math.ceil(excess * self._pace))
            raise TooManyError(
                f"Too many attempts have failed; try again in {seconds} seconds", retry_after=seconds
            )

    def fail(self, key: str) -> None:
        """Count a failure."""
        self._seen[key] = (min(self._level(key) + 1, self._limit), self._clock())
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def forget(self, key: str) -> None:
        """Start anew with a key that has proved itself."""
        self._seen.pop(key, None)

    def _level(self, key: str) -> float:
        failures, when = self._seen.get(key, (0.0, 0.0))
        return max(0.0, failures - (self._clock() - when) / self._pace)


def network_of(address: str) -> str:
    """What an address is throttled as: itself, or the network of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)
