"""Which addresses a backend's name may resolve into, so that no tenant reaches the host behind the edge."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

_DENIED_V4 = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local; 169.254.169.254 and .170.2 give cloud credentials
    "100.100.100.200/32",  # metadata, Alibaba Cloud
    "168.63.129.16/32",  # metadata, Azure
    "192.0.0.192/32",  # metadata, Oracle Cloud
    "192.88.99.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
_DENIED_V6 = (
    "::/96",  # unspecified, loopback and IPv4-compatible
    "::ffff:0:0/96",  # IPv4-mapped: the same socket as the IPv4 address, past IPv4 rules
    "64:ff9b::/96",  # NAT64
    "64:ff9b:1::/48",
    "2001::/32",  # Teredo
    "2002::/16",  # 6to4
    "fe80::/10",
    "fec0::/10",
    "fd00:ec2::/32",  # metadata, AWS
    "fd20:ce::/64",  # metadata, Google Cloud
    "ff00::/8",
)
_DENIED = tuple(ipaddress.ip_network(n) for n in (*_DENIED_V4, *_DENIED_V6))


def permitted(address: str, allow_networks: Iterable[str] = ()) -> bool:
    """Tell whether a resolved IP address may be used as a backend.

    Loopback, link-local, metadata, multicast, reserved, IPv4-mapped and other ways to write an IPv4
    address in IPv6 are refused unless a network in ``allow_networks`` contains the address as it is
    written; private networks (RFC 1918, RFC 4193) are what edges forward to and are fine.
    A text that is no plain IP address (a scope such as ``fe80::1%eth0``) is refused.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if getattr(ip, "scope_id", None) is not None:
        return False
    if any(ip in network for network in _networks(tuple(allow_networks))):
        return True
    return not any(ip in network for network in _DENIED)


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
