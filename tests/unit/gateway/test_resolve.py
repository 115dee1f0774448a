"""Names must not resolve into the host behind the edge."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.gateway.resolve import permitted

DENIED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16",
    "224.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
    "fe80::1", "fd00:ec2::254", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", DENIED)
def test_addresses_of_the_host_and_of_clouds_are_refused(address: str) -> None:
    assert not permitted(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.4.10", "172.16.0.9", "8.8.8.8", "2001:db8::1", "fd12::1"]
)
def test_private_and_public_addresses_are_fine(address: str) -> None:
    assert permitted(address)


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "10.0.0.1\n", "010.0.0.1", "2130706433", "0x7f.1", "localhost", ""]
)
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert not permitted(text, ["0.0.0.0/0", "::/0"])


def test_an_allowed_network_allows_only_itself() -> None:
    assert permitted("127.0.0.1", ["127.0.0.0/8"])
    assert not permitted("::ffff:127.0.0.1", ["127.0.0.0/8"])
    assert permitted("::ffff:127.0.0.1", ["::ffff:127.0.0.0/104"])
    assert not permitted("169.254.169.254", ["127.0.0.0/8"])


@given(st.ip_addresses(v=4))
def test_writing_an_ipv4_address_in_ipv6_never_helps(address: ipaddress.IPv4Address) -> None:
    assert not permitted(f"::ffff:{address}")
    assert not permitted(f"::{address}")
    assert not permitted(str(ipaddress.IPv6Address(f"64:ff9b::{address}")))
