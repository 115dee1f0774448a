"""Addresses of subnets: what they are taken from, and which is the next free one."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator

from edgeward.vpn.openstack.networks import Pool, Router, Subnet
from edgeward.vpn.openstack.view import Ref, View


def pools(subnet: Subnet) -> tuple[Pool, ...]:
    """Give what addresses are taken from: what was said, else all but the gateway's."""
    if subnet.pools:
        return subnet.pools
    network = ipaddress.ip_network(subnet.cidr)
    first, last = int(network.network_address) + 1, int(network.broadcast_address)
    if network.version == 4 and network.prefixlen < 31:
        last -= 1
    make = type(network.network_address)
    parts = [(first, last)]
    if subnet.gateway_ip is not None:
        gateway = int(ipaddress.ip_address(subnet.gateway_ip))
        parts = [(first, min(gateway - 1, last)), (max(gateway + 1, first), last)]
    return tuple(Pool(start=str(make(start)), end=str(make(end))) for start, end in parts if start <= end)


def first(subnet: str) -> str:
    """Give the first address of a network, as its router has it where nobody says otherwise."""
    network = ipaddress.ip_network(subnet)
    offset = 0 if network.num_addresses == 1 else 1
    return str(network.network_address + offset)


def free(subnet: Subnet, taken: Collection[str]) -> str | None:
    """Give the first address of the pools that nobody has; None where all are taken."""
    for pool in pools(subnet):
        address, end = ipaddress.ip_address(pool.start), ipaddress.ip_address(pool.end)
        while int(address) <= int(end):
            if str(address) not in taken and str(address) != subnet.gateway_ip:
                return str(address)
            address += 1
    return None


def taken(view: View, network: Ref, subnet: str) -> frozenset[str]:
    """Give the addresses of a subnet that routers have, on the outside and on the inside."""
    routers = {*view.meaning(network), *view.meaning(("subnets", network[1], subnet))}
    return frozenset(address for ref in routers for address in _of(view, ref, subnet))


def _of(view: View, ref: Ref, subnet: str) -> Iterator[str]:
    router = view.declared(ref)
    if isinstance(router, Router):
        places = (*router.interfaces, *(router.gateway.addresses if router.gateway is not None else ()))
        yield from (fixed.address for fixed in places if fixed.subnet == subnet)
