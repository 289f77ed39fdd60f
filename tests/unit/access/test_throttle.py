"""Failures are slowed down: by key, for a while, in bounded memory."""

from __future__ import annotations

import pytest

from scheduler.access import throttle
from scheduler.access.throttle import Throttle, network_of
from scheduler.domain.errors import TooManyError


class Clock:
    """Seconds that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        """The seconds."""
        return self.now


def test_some_failures_are_free_and_then_each_has_to_wait():
    """After five, one more each twelve seconds; the error says how long to wait."""
    clock = Clock()
    guesses = Throttle(5, 60, clock)
    for _ in range(5):
        guesses.check("ann")
        guesses.fail("ann")
    with pytest.raises(TooManyError, match="in 12 seconds") as caught:
        guesses.check("ann")
    assert caught.value.retry_after == 12
    guesses.check("bob")
    clock.now += 12
    guesses.check("ann")
    guesses.fail("ann")
    with pytest.raises(TooManyError):
        guesses.check("ann")
    clock.now += 60
    for _ in range(5):
        guesses.check("ann")
        guesses.fail("ann")


def test_who_has_proved_itself_starts_anew():
    """A success forgets what failed before."""
    guesses = Throttle(1, 60, Clock())
    guesses.fail("ann")
    guesses.forget("ann")
    guesses.check("ann")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch):
    """The key that failed longest ago is forgotten first."""
    monkeypatch.setattr(throttle, "REMEMBERED", 2)
    guesses = Throttle(1, 60, Clock())
    for key in ("a", "b", "a", "c"):
        guesses.fail(key)
    guesses.check("b")
    for key in ("a", "c"):
        with pytest.raises(TooManyError):
            guesses.check(key)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_counts_as_what_one_customer_is_given(address: str, network: str):
    """A whole /64 of IPv6, a single address of IPv4."""
    assert network_of(address) == network
