"""Where deliveries may go: what is public, however it is spelt, and what an operator opens."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.notify.addresses import AddressPolicy, RefusedAddressError


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        *("0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254"),
        *("169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1"),
        *(
            "192.168.255.255",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
        ),
        *("255.255.255.255", "168.63.129.16", "100.100.100.200", "192.88.99.1"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::1", "64:ff9b::7f00:1"),
        *(
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
        ),
        *("fe80::1", "fec0::1", "ff02::1", "5f00::1"),
    ],
)
def test_no_inner_or_special_address_is_public(address: str) -> None:
    """As URLs and as what a name resolves to."""
    found = ipaddress.ip_address(address)
    with pytest.raises(RefusedAddressError):
        AddressPolicy().check_address(found, "some.example", 80)
    with pytest.raises(RefusedAddressError):
        AddressPolicy().check_url(f"http://[{address}]/" if found.version == 6 else f"http://{address}/")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_a_public_address_is_let_through(address: str) -> None:
    """Whatever the port."""
    AddressPolicy().check_address(ipaddress.ip_address(address), "some.example", 8443)


@given(st.integers(0, 2**32 - 1))
def test_what_python_calls_not_global_is_not_public_either(number: int) -> None:
    """Our ranges are no narrower than the standard library's."""
    address = ipaddress.IPv4Address(number)
    try:
        AddressPolicy().check_address(address, "some.example", 80)
    except RefusedAddressError:
        return
    assert address.is_global
    assert not address.is_multicast


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "localhost.localdomain", "ip6-localhost"]
)
def test_names_that_everybody_knows_to_be_this_machine_are_refused_at_once(host: str) -> None:
    """Before anything is resolved."""
    with pytest.raises(RefusedAddressError):
        AddressPolicy().check_url(f"http://{host}:8080/")
    AddressPolicy(allow_private=True).check_url(f"http://{host}:8080/")


@given(st.text(max_size=40))
def test_any_text_is_a_url_or_refused_as_one(text: str) -> None:
    """No other error comes out."""
    for url in (text, "http://" + text, "https://" + text + "/path"):
        try:
            target = AddressPolicy().check_url(url)
        except RefusedAddressError:
            continue
        assert target.scheme in {"http", "https"}
        assert target.host


def test_an_operator_opens_networks_addresses_and_names_one_by_one() -> None:
    """And ports of them."""
    policy = AddressPolicy(
        ["10.0.0.0/8", "192.168.1.7:9000", "[fd00::1]:80", "hooks.inner", "*.corp.example:8443"]
    )
    for url in (
        "http://10.9.9.9/",
        "http://192.168.1.7:9000/",
        "http://[fd00::1]/",
        "http://[::ffff:10.0.0.1]/",
    ):
        policy.check_url(url)
    for url in ("http://11.0.0.1:25/", "http://192.168.1.7/", "http://[fd00::1]:81/", "http://127.0.0.1/"):
        with pytest.raises(RefusedAddressError):
            policy.check_url(url)
    inner = ipaddress.ip_address("172.16.0.9")
    policy.check_address(inner, "hooks.inner", 80)
    policy.check_address(inner, "a.corp.example", 8443)
    for host, port in (("a.corp.example", 80), ("corp.example", 8443), ("other", 80), ("xhooks.inner", 80)):
        with pytest.raises(RefusedAddressError):
            policy.check_address(inner, host, port)


def test_opening_private_networks_leaves_metadata_and_special_addresses_closed() -> None:
    """A cloud's machine tells its secrets at a link-local address."""
    policy = AddressPolicy(allow_private=True)
    for url in ("http://127.0.0.1/", "http://10.0.0.1/", "http://[::1]/", "http://[fd12::1]/"):
        policy.check_url(url)
    for url in (
        "http://169.254.169.254/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://224.0.0.1/",
    ):
        with pytest.raises(RefusedAddressError):
            policy.check_url(url)


@pytest.mark.parametrize("entry", ["", "10.0.0.0/99", "http://a.example", "a b", "127.1", "host:port", "*"])
def test_an_entry_that_names_nothing_is_refused(entry: str) -> None:
    """Else it would be without effect."""
    with pytest.raises(ValueError, match="is not a network, address or name"):
        AddressPolicy([entry])
